"""Ctrl-C in the middle of an engine's build: one line, and nothing is left behind."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time

import pytest
import torch

from alexnet_fast.models import create_model
from needs import needs_rtx

pytestmark = [needs_rtx, pytest.mark.slow]
PATIENCE_S = 120


def read_until(terminal, word, shown=b""):
    """Reads what a terminal shows until a word is there; fails if the program ends before."""
    end = time.monotonic() + PATIENCE_S
    while word not in shown:
        assert time.monotonic() < end, shown
        shown += os.read(terminal, 4096)
    return shown


def test_one_line_and_no_file(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    torch.save(create_model("alexnet-64", 10).state_dict(), tmp_path / "weights.pth")
    command = [sys.executable, "-m", "alexnet_fast", "export", str(tmp_path / "weights.pth")]
    options = [
        "--model",
        "alexnet-64",
        "--trt",
        "--gpu-arch",
        "80,86,89,120",
        "--output",
        str(tmp_path / "out"),
    ]
    # A terminal, because the progress line is shown on one only: it says when the build has begun.
    terminal, theirs = pty.openpty()
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        shown = read_until(terminal, b"Building")
        process.send_signal(signal.SIGINT)
        shown = read_until(terminal, b"interrupted", shown)
        assert process.wait(PATIENCE_S) == 130
        assert process.stdout.read() == b""
    os.close(terminal)
    assert b"Traceback" not in shown
    assert list((tmp_path / "out").iterdir()) == []
    assert not (tmp_path / "cache" / "alexnet-fast").exists()
