"""Trains many times on small sets with bad files of ten kinds, or passes over them with `ImageLoader`.

    python bad_runs.py train|loader FOLDER FIRST COUNT

Each run has a batch size, a policy, a number of threads and bad files of its own, chosen by its number.
Prints what was named as its last line; an error, or the process's death, is a finding.
"""

from __future__ import annotations

import io
import json
import logging
import shutil
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from alexnet_fast.errors import UserError
from alexnet_fast.models.spec import InputSpec
from alexnet_fast.pipelines import AugmentSpec, ImageLoader
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.run import train

# Batch size, and how many training images: whole batches, so that none is left out of the epoch.
BATCHES = ((32, 256), (48, 240), (64, 256), (96, 288), (128, 256), (160, 320), (200, 200), (256, 256))
SPEC = AugmentSpec(resize=28, crop=24)


class Linear(torch.nn.Sequential):
    """The smallest network."""

    input = InputSpec(crop=24, resize=28, mean=(127.30, 119.72, 104.91), std=(64.0, 64.0, 64.0))

    def __init__(self, num_classes: int) -> None:
        super().__init__(torch.nn.Flatten(), torch.nn.Linear(3 * 24 * 24, num_classes))


def encoded(random: np.random.Generator, kind: str = "JPEG") -> bytes:
    """A whole image."""
    file = io.BytesIO()
    height, width = (int(side) for side in random.integers(30, 60, 2))
    Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(file, kind)
    return file.getvalue()


def bad_files(random: np.random.Generator) -> dict[str, bytes]:
    """One file of each kind."""
    jpeg, png, webp = (encoded(random, kind) for kind in ("JPEG", "PNG", "WEBP"))
    frame = jpeg.index(b"\xff\xc0")
    return {
        "empty.jpg": b"",
        "garbage.jpg": random.integers(0, 256, 4000, dtype=np.uint8).tobytes(),
        "page.png": b"<!doctype html><title>404</title>" * int(random.integers(1, 40)),
        "start.jpg": jpeg[: int(random.integers(3, 150))],
        "frameless.jpg": jpeg[:frame] + jpeg[-2:],
        "no-size.jpg": jpeg[: frame + 5] + bytes(4) + jpeg[frame + 9 :],
        "cut.jpg": jpeg[: frame + 20 + int(random.integers((len(jpeg) - frame) // 2))],
        "cut.png": png[: int(len(png) * random.uniform(0.02, 0.9))],
        "cut.webp": webp[: int(len(webp) * random.uniform(0.02, 0.9))],
        # In its header: of one that is cut later Pillow shows what there is.
        "cut.jp2": encoded(random, "JPEG2000")[: int(random.integers(15, 110))],
    }


def made(directory: Path, number: int, images: int) -> tuple[Path, set[str]]:
    """Writes a set whose training and validation have a bad file of each kind; returns the bad ones."""
    random = np.random.default_rng(number)
    bad = set()
    for part, count in (("train", images), ("val", 64)):
        files = {f"good-{i:03}.jpg": encoded(random) for i in range(count - 10)} | bad_files(random)
        order = random.permutation(count)
        for at, (name, content) in zip(order, files.items(), strict=True):
            path = directory / part / ("a", "b")[at % 2] / f"{at:03}-{name}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            if not name.startswith("good"):
                bad.add(str(path))
    return directory, bad


class Told(logging.Handler):
    """The files that warnings name."""

    def __init__(self) -> None:
        super().__init__()
        self.paths: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg == "left out %s: %s" and isinstance(record.args, tuple):
            self.paths.add(str(record.args[0]))


def ended(policy: str, error: UserError, bad: set[str]) -> Counter[str]:
    """Wants the error of the policy "fail", which names a bad file."""
    assert policy == "fail", error
    assert any(f"cannot decode {path}: " in error.problem for path in bad), error
    return Counter(runs=1, failed=1)


def train_round(directory: Path, number: int) -> Counter[str]:
    """One training."""
    (size, images), policy = BATCHES[number // 2 % len(BATCHES)], ("skip", "fail")[number % 2]
    data, bad = made(directory / "data", number, images)
    told = Told()
    logging.getLogger("alexnet_fast").addHandler(told)
    options = {
        "model": "bad_runs:Linear",
        "epochs": 1,
        "batch_size": size,
        "precise_bn_batches": 0,
        "lr": 1e-4,
    }
    config = TrainConfig(
        data=data,
        run=directory / "run",
        workers=2 + number % 5,
        on_bad_image=policy,
        checkpoint_minutes=0,
        seed=number,
        **options,
    )
    try:
        result = train(config)
    except UserError as error:
        return ended(policy, error, bad)
    finally:
        logging.getLogger("alexnet_fast").removeHandler(told)
    assert policy == "skip"
    assert told.paths == bad, told.paths ^ bad
    assert result["bad_images"] == len(bad)
    return Counter(runs=1, skipped=1, named=len(bad))


def load(directory: Path, number: int) -> Counter[str]:
    """One pass of `ImageLoader` over the training files."""
    (size, images), policy = BATCHES[number // 2 % len(BATCHES)], ("skip", "fail")[number % 2]
    data, bad = made(directory / "data", number, images)
    bad = {path for path in bad if path.startswith(f"{data}/train/")}
    kind = "torch" if number % 20 == 0 else "dali"
    loader = ImageLoader(
        data / "train",
        train=number % 4 < 2,
        batch_size=size,
        spec=SPEC,
        seed=number,
        loader=kind,
        device="cpu",
        workers=2 + number % 5,
        on_bad_image=policy,
    )
    try:
        count = sum(len(labels) for _, labels in loader)
    except UserError as error:
        return ended(policy, error, bad)
    assert policy == "skip"
    assert count == images - len(bad)
    assert set(loader.bad_images.reasons) == bad
    return Counter(runs=1, skipped=1, named=len(bad))


def main(what: str, directory: Path, first: int, count: int) -> None:
    """Runs them one after the other."""
    torch.set_num_threads(1)
    found: Counter[str] = Counter()
    for number in range(first, first + count):
        here = directory / str(number)
        found += {"train": train_round, "loader": load}[what](here, number)
        shutil.rmtree(here)
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
