"""A server of ours in a process of its own, for as long as it is asked."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import IO

from alexnet_fast.errors import UserError

# Between two looks at what it has said.
_PAUSE_S = 0.05
# Bytes of it that are read: the line that says where it listens comes early.
_MOST = 1 << 20


@contextlib.contextmanager
def own_server(command: Sequence[str], seconds: float = 120) -> Iterator[str]:
    """Starts a server, yields its address once it listens, and ends it afterwards.

    Args:
        command: `alexnet-fast serve` with its options.
        seconds: That it may take to start.

    Raises:
        UserError: It ended before it listened, or took longer.
    """
    # A file, because nobody reads on: a full pipe would stop a server that has much to complain about.
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(command, stderr=said, stdout=subprocess.DEVNULL) as process,
    ):
        try:
            yield _address(process, said, time.monotonic() + seconds)
        finally:
            process.terminate()


def _address(process: subprocess.Popen[bytes], said: IO[bytes], until: float) -> str:
    """Waits for the line that says where a server listens."""
    while True:
        ended = process.poll() is not None
        # The server writes where this file stands: it is read without moving there.
        lines = os.pread(said.fileno(), _MOST, 0).decode(errors="replace").split("\n")
        # What stands behind the last line's end may not be there as a whole yet.
        for line in lines[:-1]:
            if line.startswith("{") and (event := json.loads(line))["event"] == "ready":
                return str(event["http"])
        if ended or time.monotonic() > until:
            last = [line.strip() for line in lines if line.strip()][-1:] or ["it says nothing"]
            mend = "start it by hand: alexnet-fast serve MODEL"
            raise UserError(f"the server did not start: {last[0]}", mend)
        time.sleep(_PAUSE_S)
