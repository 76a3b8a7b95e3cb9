"""The vectors of a data set as files: numpy, CSV, Parquet."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from alexnet_fast.data import ExcludeList, ImageList, open_split
from alexnet_fast.data.layouts.detect import DatasetFormat
from alexnet_fast.data.split_rule import recorded_rule
from alexnet_fast.data.splits import classes_of_split
from alexnet_fast.errors import UserError
from alexnet_fast.inference.feature_names import FEATURE_FILES
from alexnet_fast.pipelines.factory import make_loader
from alexnet_fast.pipelines.loader import Loader, LoaderConfig, Policy
from alexnet_fast.pipelines.sampler import EpochSampler
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.training.checkpoint.model_io import load_trained
from alexnet_fast.training.config import Amp
from alexnet_fast.training.features.embeddings import Embeddings, embeddings
from alexnet_fast.training.features.store import VectorWriter
from alexnet_fast.training.precision import Precision, choose_precision
from alexnet_fast.utils.atomic import atomic_file, make_dir, write_atomically
from alexnet_fast.utils.device import device_or_cpu


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureConfig:
    """Which vectors of which images are written where.

    Args:
        model: Run folder, checkpoint or weights.
        data: The images, with classes of their own.
        out: Folder to write to.
        net: Name of the network for bare weights.
        layer: See `embeddings`.
        parquet: Whether to write that too.
        overwrite: Whether files that are there are replaced, once all of the new ones are computed.
        split: "train", "val", "test" or "all".
        val_fraction: Share of an undivided folder that is "val"; None for that of the training.
        exclude: Images that are left out.
        dataset_format: What is said of the layout of `data`.
        batch_size: Images at a time.
        dali: Whether DALI loads them, or Pillow.
        workers: DALI's threads, or worker processes.
        on_bad_image: What to do about an image that cannot be decoded.
        device: As for `device.choose_device`.
        allow_fallback: Where the device is not to be had, warn and take the CPU.
        amp: As for `training.precision.choose_precision`.
    """

    model: Path
    data: Path
    out: Path
    net: str | None = None
    layer: str | None = None
    parquet: bool = False
    overwrite: bool = False
    split: str = "val"
    val_fraction: float | None = None
    exclude: ExcludeList | None = None
    dataset_format: DatasetFormat = dataclasses.field(default_factory=DatasetFormat)
    batch_size: int = 32
    dali: bool = True
    workers: int = 2
    on_bad_image: Policy = "fail"
    device: str = "auto"
    allow_fallback: bool = False
    amp: Amp = "off"


def write_features(config: FeatureConfig, on_progress: Callable[[int, int], None]) -> dict[str, Any]:
    """Computes the vectors of a part of a data set and writes them, all files or none.

    Args:
        config: Which, and where.
        on_progress: Told how many images are done, and of how many.

    Returns:
        What `alexnet-fast features --json` prints.

    Raises:
        UserError: A part is missing or wrong; without `overwrite`, a file is there already.
    """
    _check_no_features(config.out, overwrite=config.overwrite)
    if config.parquet:
        _pyarrow()
    trained = load_trained(config.model, config.net)
    device = device_or_cpu(config.device, allow_fallback=config.allow_fallback)
    precision = choose_precision(config.amp, device)
    net = trained.net.to(device=precision.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = _images(config, trained.provenance)
    loader = _loader(images, trained.spec, config, precision)
    make_dir(config.out)
    paths = [config.out / name for name in FEATURE_FILES]
    counted = _counted(embeddings(net, loader, precision, config.layer), len(images), on_progress)
    with _all_or_none(paths):
        shape = _write(counted, images, paths[0], paths[1])
        if config.parquet:
            _write_parquet(paths[0], paths[1], paths[2])
        else:
            # One of before, which `overwrite` allows to replace: it would be of other vectors.
            paths[2].unlink(missing_ok=True)
    return {
        "model": trained.model,
        "layer": config.layer or "input of the last layer",
        "images": shape[0],
        "dimensions": shape[1],
        "bad_images": len(loader.bad),
        "features": str(paths[0]),
        "files": str(paths[1]),
        "parquet": str(paths[2]) if config.parquet else None,
    }


def _check_no_features(out: Path, *, overwrite: bool) -> None:
    """Refuses a folder with features in it.

    Raises:
        UserError: It has some that are to stay, or is a file.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file", "give a folder to write to", exit_code=2)
    for name in () if overwrite else FEATURE_FILES:
        if (out / name).exists():
            raise UserError(
                f"{out / name} is there already", "give another folder, or remove it", exit_code=2
            )


def _images(config: FeatureConfig, provenance: dict[str, Any]) -> ImageList:
    """Lists the images under the classes of the data."""
    fraction = config.val_fraction
    if fraction is None:
        fraction = provenance.get("val_fraction", 0.1)
    return open_split(
        config.data,
        config.split,
        classes_of_split(config.data, config.split, config.dataset_format),
        val_fraction=fraction,
        rule=recorded_rule(provenance),
        exclude=config.exclude,
        dataset_format=config.dataset_format,
    )


def _loader(images: ImageList, spec: AugmentSpec, config: FeatureConfig, precision: Precision) -> Loader:
    how = LoaderConfig(
        kind="dali" if config.dali else "torch",
        device=precision.device,
        workers=config.workers,
        half=precision.dtype is torch.float16,
        on_bad_image=config.on_bad_image,
    )
    schedule = EpochSampler(images=len(images), batch_size=config.batch_size, shuffle=False)
    return make_loader(images, spec, "eval", schedule, how)


def _counted(
    found: Iterator[Embeddings], total: int, on_progress: Callable[[int, int], None]
) -> Iterator[Embeddings]:
    """Passes batches on and tells how many images they were."""
    done = 0
    for vectors in found:
        yield vectors
        done += len(vectors.labels)
        on_progress(done, total)


def _write(found: Iterator[Embeddings], images: ImageList, vectors: Path, table: Path) -> tuple[int, int]:
    """Writes numpy, then CSV; returns (rows, columns)."""
    lines = io.StringIO(newline="")
    rows = csv.writer(lines)
    rows.writerow(("file", "label", "index"))
    with atomic_file(vectors) as file:
        writer = VectorWriter(file)
        for batch in found:
            writer.add(batch.values)
            for position, label in zip(batch.indices.tolist(), batch.labels.tolist(), strict=True):
                rows.writerow((images.names[position], images.classes.names[label], label))
        shape = writer.finish(images.root)
    write_atomically(table, lines.getvalue().encode("utf-8", "surrogateescape"))
    return shape


@contextlib.contextmanager
def _all_or_none(paths: list[Path]) -> Iterator[None]:
    """Removes the files that were made where one of them cannot be made; what was there before stays."""
    before = [path.stat().st_ino if path.exists() else None for path in paths]
    try:
        yield
    except BaseException:
        for path, inode in zip(paths, before, strict=True):
            # What is told is why it could not be made.
            with contextlib.suppress(OSError):
                if path.stat().st_ino != inode:
                    path.unlink()
        raise


def _pyarrow() -> Any:
    """Imports pyarrow.

    Raises:
        UserError: It is not there.
    """
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise UserError(
            "--parquet needs pyarrow, which is not installed", "pip install 'alexnet-fast[parquet]'"
        ) from error
    return pyarrow


def _in_utf8(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _write_parquet(vectors: Path, table: Path, path: Path) -> None:
    """Turns the two files into one of Parquet: file, label, index, and vectors as lists of fixed length."""
    arrow = _pyarrow()
    values = np.load(vectors, mmap_mode="r", allow_pickle=False)
    with table.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = list(csv.DictReader(file))
    columns = {
        # Parquet's texts are UTF-8: of a name that is not, the bytes are written as their escapes.
        "file": arrow.array([_in_utf8(row["file"]) for row in rows]),
        "label": arrow.array([_in_utf8(row["label"]) for row in rows]),
        "index": arrow.array([int(row["index"]) for row in rows], arrow.int32()),
        "features": arrow.FixedSizeListArray.from_arrays(arrow.array(values.reshape(-1)), values.shape[1]),
    }
    with atomic_file(path) as out:
        arrow.parquet.write_table(arrow.table(columns), out)
