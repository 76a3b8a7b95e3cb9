"""`python -m alexnet_fast`: the command line."""

from __future__ import annotations

from alexnet_fast.cli.main import main

main()
