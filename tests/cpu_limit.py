"""Fails a test of the fast stage that takes more than `LIMIT` seconds of a quiet processor.

Time of the processor, of this process and of the commands that it ran, because the clock on the wall also
counts what else the machine does. Fixtures that tests share aren't counted.
"""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Generator

import pytest

import warm_commands

LIMIT = 5.0
# Two runs of one test differ by as much on a machine that others use.
SLACK = 1.6
# What the work of `_slowness` takes on a quiet core of an AMD EPYC with AVX2 alone, in seconds.
QUIET = 0.2


class CpuLimit:
    """The plugin of pytest."""

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, pytest.CallOutcome[None], None]:
        before = _used()
        outcome = yield
        seconds = _used() - before
        item.user_properties.append(("cpu_seconds", round(seconds, 2)))
        if outcome.excinfo is not None or item.get_closest_marker("slow") or item.get_closest_marker("soak"):
            return
        if seconds > LIMIT * SLACK and seconds > LIMIT * SLACK * _slowness():
            said = (
                f"took {seconds:.1f} s of the processor; a test of the fast stage has {LIMIT:g} on a quiet"
                " machine: make it smaller, or mark it slow"
            )
            outcome.force_exception(pytest.fail.Exception(said, pytrace=False))


def _used() -> float:
    """Returns processor seconds of this process and of all that it has started and waited for."""
    return sum(os.times()[:4]) + warm_commands.cpu_seconds()


def _slowness() -> float:
    """Returns how many times as long as on a quiet core a piece of work takes here and now; at least 1."""
    before = time.process_time()
    for _ in range(320):
        zlib.crc32(bytes(1 << 20))
        sum(range(20_000))
    return max(1.0, (time.process_time() - before) / QUIET)
