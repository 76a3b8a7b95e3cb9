"""The progress line takes whatever it is told, in any order."""

from __future__ import annotations

import pytest

from alexnet_fast.training.epoch_line import EpochLine
from alexnet_fast.training.meter import Score
from alexnet_fast.training.progress import Progress


def at(epoch: int, step: int) -> Progress:
    """Makes the state of an epoch of ten steps."""
    score = Score(loss=0.5, top1=0.75, top5=1.0, images=step * 8)
    return Progress(
        epoch=epoch, step=step, steps=10, train=score, lr=0.01, images_per_second=20.0, waiting=0.25
    )


def test_an_epoch_may_be_reported_twice_at_its_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    line = EpochLine()
    for progress in (at(1, 2), at(1, 10), at(1, 10), at(2, 5), at(3, 10)):
        line(progress)
    line.close()
    shown = capsys.readouterr().err
    assert "epoch   1" in shown
    assert "epoch   3" in shown
    assert "loss 0.500  top-1 0.750  lr 0.01  20 images/s" in shown


def test_it_is_silent_where_stderr_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    line = EpochLine()
    line(at(1, 5))
    line.close()
    assert capsys.readouterr().err == ""
