"""The order in which TensorBoard reads the event files of a run."""

from __future__ import annotations

import time
from pathlib import Path

from alexnet_fast.training.tensorboard import rename_future_events

NAME = "events.out.tfevents.{:010d}.host.7.0"


def test_files_of_the_future_become_files_of_the_past_in_their_order(tmp_path: Path) -> None:
    now = int(time.time())
    for number, second in enumerate((now - 500, now, now + 80_000, now + 90_000)):
        (tmp_path / NAME.format(second)).write_text(str(number))
    rename_future_events(tmp_path)
    files = sorted(tmp_path.iterdir())
    assert [file.read_text() for file in files] == ["0", "1", "2", "3"]
    assert files[0].name == NAME.format(now - 500)
    assert files[-1].name < NAME.format(now)
    before = [file.name for file in files]
    rename_future_events(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == before


def test_other_files_and_no_files_are_left(tmp_path: Path) -> None:
    rename_future_events(tmp_path / "none")
    (tmp_path / "events.out.tfevents.x").write_text("")
    rename_future_events(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["events.out.tfevents.x"]
