"""Files get the mode that the user's mask gives them, whoever else writes at that moment."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from alexnet_fast.utils.atomic import write_atomically


@pytest.fixture
def private() -> Iterator[None]:
    """Makes new files of this process private."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.usefixtures("private")
def test_threads_that_write_at_once_leave_the_mask_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint's thread and the main one; the mask can only be read by setting it for a moment."""
    setting, met = os.umask, threading.Barrier(2)

    def slow(mask: int) -> int:
        before = setting(mask)
        if mask == 0o022:
            try:
                met.wait(timeout=0.5)  # two threads get here at once only where nothing keeps them apart
            except threading.BrokenBarrierError:
                met.reset()
        return before

    monkeypatch.setattr(os, "umask", slow)
    threads = [threading.Thread(target=write_atomically, args=(tmp_path / name, b"x")) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    mask = setting(0o077)
    assert oct(mask) == oct(0o077)
    assert {oct(file.stat().st_mode & 0o777) for file in tmp_path.iterdir()} == {oct(0o600)}
