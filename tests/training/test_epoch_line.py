"""The progress line: within any width, above nothing, and right about what is left of the run."""

from __future__ import annotations

import fcntl
import os
import struct
import sys
import termios
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from alexnet_fast.cli.command import say
from alexnet_fast.training.console import EpochLine, Progress, _work
from alexnet_fast.training.log import log, logging_to_console
from alexnet_fast.training.metrics import Metrics
from alexnet_fast.utils.progress import above_bars, on_terminal, progress_bar


def at(epoch: int, step: int, **more: Any) -> Progress:
    """Makes the state of a run of three epochs of ten steps."""
    score = Metrics(loss=0.5, top1=0.75, top5=1.0, images=step * 8)
    after: Any = {"measuring": 3, "validating": 6}
    return Progress(
        epoch=epoch, epochs=3, step=step, steps=10, after=after, train=score, lr=0.01,
        images_per_second=20.0, data_wait=0.25, **more,
    )  # fmt: skip


class Terminal:
    """A terminal whose other end is sys.stderr.

    Args:
        patch: Puts it there.
        encoding: Of sys.stderr.
    """

    def __init__(self, patch: pytest.MonkeyPatch, encoding: str = "utf-8") -> None:
        self._master, slave = os.openpty()
        self.stderr = os.fdopen(slave, "w", encoding=encoding)
        self._patch = patch
        self._encoding, self._read = encoding, bytearray()
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()

    def resize(self, columns: int) -> None:
        """Gives the window a width, and the process the terminal: until the test pytest has its own."""
        self._patch.setattr(sys, "stderr", self.stderr)
        fcntl.ioctl(self.stderr, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def text(self) -> str:
        """Closes the terminal and returns what was written to it."""
        self.stderr.close()
        self._thread.join(5)
        return self._read.decode(self._encoding)

    def _collect(self) -> None:
        try:
            while some := os.read(self._master, 4096):
                self._read += some
        except OSError:  # what Linux says when the other end is closed
            os.close(self._master)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    found = Terminal(monkeypatch)
    yield found
    found.stderr.close()


def drawn(text: str) -> list[str]:
    """Returns each state of the line, and each line of a message."""
    return [part.rstrip() for part in text.replace("\n", "\r").split("\r") if part.strip()]


def train(line: EpochLine) -> None:
    """Reports what a run of three epochs reports, a little later each time than tqdm's shortest interval."""
    for epoch in (1, 2, 3):
        for step in (1, 5, 10):
            line(at(epoch, step))
        line(at(epoch, 10, phase="measuring", done=1))
        time.sleep(0.11)
        line(at(epoch, 10, phase="validating", done=2))


@pytest.mark.parametrize("columns", [200, 80, 60, 41, 20, 1])
def test_it_fits_any_width(terminal: Terminal, columns: int) -> None:
    terminal.resize(columns)
    line = EpochLine()
    train(line)
    line.close()
    text = terminal.text()
    assert "\n" not in text
    assert max(map(len, drawn(text))) < max(2, columns)
    assert "\x1b[A" not in text
    # Nothing is left behind.
    assert text.rstrip("\r").rpartition("\r")[2].strip() == ""
    if columns == 200:
        assert "epoch 2/3 validating 2/6" in text
        assert "loss 0.500  top-1 0.750  20 images/s  lr 0.01  25% waiting" in text
    if columns == 80:
        assert "loss 0.500" in text
        assert "waiting" not in text


def test_it_follows_a_window_that_is_resized_and_one_without_a_width(terminal: Terminal) -> None:
    line = EpochLine()
    widths = []
    for columns in (120, 50, 90, 0):
        terminal.resize(columns)
        time.sleep(0.11)
        line(at(1, 5))
        terminal.stderr.flush()
        time.sleep(0.05)
        widths.append(len(drawn(terminal._read.decode())[-1]))
    line.close()
    assert widths == [119, 49, 89, 80]


def test_it_is_shown_in_a_terminal_that_tells_no_size(terminal: Terminal) -> None:
    """As the terminals of containers and of scripts that record a session may."""
    terminal.resize(0)
    fcntl.ioctl(terminal.stderr, termios.TIOCSWINSZ, struct.pack("HHHH", 0, 0, 0, 0))
    with progress_bar(3, "working") as bar:
        bar.update(1)
    assert "working" in terminal.text()


def test_messages_stand_on_lines_of_their_own(terminal: Terminal) -> None:
    terminal.resize(80)
    line = EpochLine()
    with logging_to_console():
        line(at(1, 1))
        log.warning("left out: a.jpg")
        line(at(1, 2))
        say("something else")
        line(at(1, 3))
    line.close()
    shown = terminal.text().replace("\r\n", "\n").split("\n")
    # A carriage return, and blanks where the line had been, come first.
    assert [text.rpartition("\r")[2] for text in shown[:-1]] == ["left out: a.jpg", "something else"]


def test_it_moves_with_time(terminal: Terminal) -> None:
    """A step may take a minute."""
    terminal.resize(80)
    with progress_bar(10, "waiting") as bar:
        bar.update(1)
        time.sleep(2.3)
    assert {"00:00", "00:01", "00:02"} <= {text.split("[")[1][:5] for text in drawn(terminal.text())}


def test_a_terminal_of_another_encoding_gets_plain_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(monkeypatch, "latin-1")
    terminal.resize(80)
    with progress_bar(10, "working") as bar:
        bar.update(5)
        bar.length = 20
    assert terminal.text().isascii()


def test_a_terminal_that_is_gone_does_not_end_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = os.openpty()
    monkeypatch.setattr(sys, "stderr", os.fdopen(slave, "w"))
    with progress_bar(10, "working") as bar:
        os.close(master)
        for _ in range(3):
            time.sleep(0.11)
            bar.update(1)
        with above_bars():
            pass


@pytest.mark.parametrize("stream", ["pipe", "closed", "none"])
def test_it_is_silent_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stream: str
) -> None:
    if stream == "closed":
        closed = open(os.devnull, "w")  # noqa: PTH123, SIM115
        closed.close()
        monkeypatch.setattr(sys, "stderr", closed)
    elif stream == "none":
        monkeypatch.setattr(sys, "stderr", None)
    line = EpochLine()
    train(line)
    line.close()
    assert not on_terminal()
    monkeypatch.undo()
    assert capsys.readouterr().err == ""


def test_the_estimate_is_that_of_the_run() -> None:
    states = [at(1, 0), at(1, 10), at(1, 10, phase="validating", done=6), at(2, 0), at(3, 10)]
    shares = [_work(state)[0] / _work(state)[1] for state in states]
    assert shares == pytest.approx([0, 10 / 39, 13 / 39, 13 / 39, 36 / 39])
    assert _work(at(3, 10, phase="validating", done=6)) == pytest.approx((39, 39))
