"""The `alexnet-fast` command; it runs before everything else, so it imports next to nothing."""

from __future__ import annotations

# The built-in part of `signal`: during the import of `signal` itself, Ctrl-C would end in a traceback.
import _signal as signal  # type: ignore[import-not-found, unused-ignore]
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def __getattr__(name: str) -> Any:
    """Imports the commands on their first use (PEP 562)."""
    if name != "commands":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from alexnet_fast.cli.commands import commands

    return commands


def main() -> None:
    """Runs the command line; a wrong option ends in one line on stderr and exit code 2."""
    # During imports there is nothing to clean up: Ctrl-C ends the process without a traceback.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from alexnet_fast.cli.running import run_process

    sys.exit(run_process())
