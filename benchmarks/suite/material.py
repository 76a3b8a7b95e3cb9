"""Material of a full run: images, an exported network, data sets of many links."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
from pathlib import Path

from alexnet_fast.errors import UserError
from alexnet_fast.utils.atomic import make_dir
from benchmarks.suite.parts import Scale

# A file may have 65,000 names on ext4; a million images are shared among these.
_FEW = 64
# Classes of ILSVRC-2012, or fewer, so that each has this many images: the validation split draws a tenth of
# them by name, which may leave out a class of few images.
_CLASSES, _IN_A_CLASS = 1000, 250


def export_fresh(model: str, file: Path) -> None:
    """Writes a network with initial weights as `export` does, if the file is not there yet."""
    if file.exists():
        return
    from alexnet_fast.bench.network import fresh_network
    from alexnet_fast.export.onnx.model import build_model, write_model

    make_dir(file.parent)
    network = fresh_network(model)
    write_model(build_model(network.net, network.metadata("ten")), file)


def lay_out_many(prepared: Path, many: Path, size: int) -> None:
    """Makes a data set of `size` links to a few images, in folders and in shards, if it is not there yet.

    Raises:
        UserError: There are no images, or they cannot be laid out.
    """
    done = many / str(size)
    if done.exists():
        return
    few, work = many / "few", many / f"{size}.partial"
    if not few.exists():
        _copy_few(prepared, few)
    shutil.rmtree(work, ignore_errors=True)
    classes = str(min(_CLASSES, max(2, size // _IN_A_CLASS)))
    words = [
        sys.executable,
        "-m",
        "benchmarks.synthetic_dataset",
        str(few),
        str(work),
        str(size),
        classes,
    ]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    if ended.returncode:
        reason = ended.stderr.strip().splitlines()[-1:]
        raise UserError(f"cannot lay out {size} links in {many}: {''.join(reason)}", "check the disk")
    work.rename(done)


def _copy_few(prepared: Path, few: Path) -> None:
    """Copies some images, so that links to them stay on one disk."""
    files = list(itertools.islice(sorted(prepared.rglob("*.jpg")), _FEW))
    if not files:
        raise UserError(f"{prepared} holds no *.jpg", "make bench makes it; or give a prepared folder")
    make_dir(few)
    for number, file in enumerate(files):
        shutil.copyfile(file, few / f"{number}.jpg")


def forget_other_sizes(many: Path, scale: Scale, size: int | None) -> None:
    """Removes the data sets of links except one size: a million names slow the disk down."""
    for other in scale.sizes:
        if other != size:
            shutil.rmtree(many / str(other), ignore_errors=True)
