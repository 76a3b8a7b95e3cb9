"""Workers end with their pass, however it ends."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

LOADER = """
import gc, multiprocessing, os, sys
from pathlib import Path
from alexnet_fast.data import open_data
from alexnet_fast.pipelines.loader import LoaderConfig
from alexnet_fast.pipelines.factory import make_loader
from alexnet_fast.pipelines.sampler import EpochSampler
from alexnet_fast.pipelines.spec import AugmentSpec
images = open_data(Path(sys.argv[1])).train
sampler = EpochSampler(num_images=len(images), batch_size=2, shuffle=True)
loader = make_loader(images, AugmentSpec(), "train", sampler, LoaderConfig(kind="torch", workers=2))
"""
ENDLESS = """
for epoch in range(1000):
    for batch in loader.epoch(epoch):
        print("batch", flush=True)
"""
# A cycle, as an exception makes one whose traceback is kept.
LEFT = """
cycle = [loader.epoch(0)]
cycle.append(cycle)
next(cycle[0])
print(len(multiprocessing.active_children()), flush=True)
"""
COLLECTED = """
del cycle
gc.collect()
print(len(multiprocessing.active_children()), flush=True)
"""
# The third image comes from a disk that does not answer.
READING = """
import gc, sys, threading
from pathlib import Path
from alexnet_fast.data import open_data
from alexnet_fast.pipelines import prefetch
from alexnet_fast.pipelines.sampler import EpochSampler
from alexnet_fast.pipelines.prefetch import Prefetcher
from alexnet_fast.pipelines.spec import AugmentSpec
images = open_data(Path(sys.argv[1])).train
answers, read_bytes = threading.Event(), prefetch.read_bytes
def slow(place):
    place == images.location(2) and answers.wait()
    return read_bytes(place)
prefetch.read_bytes = slow
plans = EpochSampler(num_images=len(images), batch_size=1, shuffle=False).epoch(0, AugmentSpec())
cycle = [Prefetcher(images, "eval", threads=2, align=True).batches(plans, AugmentSpec())]
cycle.append(cycle)
next(cycle[0])
del cycle
gc.collect()
print("collected", flush=True)
answers.set()
"""


def of_session(leader: int) -> list[int]:
    """Returns the processes of a session that still run."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, session, *_ = (directory / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(session) == leader and state != "Z":
            found.append(int(directory.name))
    return found


def test_workers_end_with_the_process_that_was_killed(two_classes: Path) -> None:
    command = [sys.executable, "-c", LOADER + ENDLESS, str(two_classes)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "batch\n"
        assert len(of_session(process.pid)) > 2
        os.kill(process.pid, 9)
        process.stdout.close()
    until = time.monotonic() + 30
    while left := of_session(process.pid):
        assert time.monotonic() < until, left
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("script", "workers"), [(LEFT, "2\n"), (LEFT + COLLECTED, "2\n0\n")], ids=["kept", "collected"]
)
def test_workers_end_with_a_pass_that_was_left(two_classes: Path, script: str, workers: str) -> None:
    """Otherwise the main process would wait for them at its end for ever."""
    command = [sys.executable, "-c", LOADER + script, str(two_classes)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=120, check=True)
    assert done.stdout == workers


def test_a_pass_that_is_collected_waits_for_no_thread(two_classes: Path) -> None:
    """The collector may run while a thread starts; waiting for a thread there would block for ever."""
    command = [sys.executable, "-c", READING, str(two_classes)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=120, check=True)
    assert done.stdout == "collected\n"
