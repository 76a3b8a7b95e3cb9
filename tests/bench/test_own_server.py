"""The server that `bench serve` starts: it may complain as much as it likes, and says where it listens."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from alexnet_fast.bench.serve import own_server
from alexnet_fast.errors import UserError

READY = 'print(\'{"event": "ready", "http": "http://127.0.0.1:1"}\', file=sys.stderr, flush=True)'


def server(*lines: str) -> list[str]:
    """Returns the command of a program that stands for a server."""
    return [sys.executable, "-c", "\n".join(["import sys, time, pathlib", *lines])]


def test_a_server_with_much_output_is_not_blocked(tmp_path: Path) -> None:
    """A pipe that nobody reads holds 64 KiB."""
    done = tmp_path / "done"
    words = server(
        'print(\'{"event": "log"}\', file=sys.stderr)',
        READY,
        "sys.stderr.write('x' * 1_000_000)",
        f"pathlib.Path({str(done)!r}).touch()",
        "time.sleep(300)",
    )
    with own_server(words) as url:
        assert url == "http://127.0.0.1:1"
        for _ in range(600):
            if done.exists():
                break
            time.sleep(0.05)
        assert done.exists()


def test_a_server_that_ends_is_quoted_and_a_silent_one_times_out() -> None:
    suffix, silent = server("sys.stderr.write('no model')"), server("time.sleep(300)")
    with pytest.raises(UserError, match="did not start: no model; start it"), own_server(suffix):
        pass
    with pytest.raises(UserError, match="did not start: it printed nothing"), own_server(silent, seconds=1):
        pass
