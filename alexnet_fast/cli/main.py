"""The `alexnet-fast` command: what comes before everything else, so that next to nothing is imported here."""

from __future__ import annotations

# What `signal` is made of, built into Python: until its import is over, Ctrl-C ends in a traceback.
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
    # While modules are imported there is nothing to put away: Ctrl-C ends the process, without a traceback.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from alexnet_fast.cli.running import run_process

    sys.exit(run_process())
