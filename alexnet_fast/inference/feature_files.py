"""Write the feature vectors of a data set as NumPy, CSV and Parquet files."""

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
    """Options of `alexnet-fast features`.

    Args:
        model: Run folder, checkpoint or weights.
        data: The images; their classes need not be the model's.
        out: Output folder.
        net: Name of the network for bare weights.
        layer: See `embeddings`.
        parquet: Whether to write a Parquet file too.
        overwrite: Whether to replace existing files, once all of the new ones are computed.
        split: "train", "val", "test" or "all".
        val_fraction: Fraction of an undivided folder that is "val"; None for that of the training.
        exclude: Images to leave out.
        dataset_format: Format of `data`.
        batch_size: Images per batch.
        dali: Whether DALI loads the images, or Pillow.
        workers: DALI's threads, or worker processes.
        on_bad_image: Policy for images that cannot be decoded.
        device: As for `utils.device.choose_device`.
        allow_fallback: Fall back to the CPU, with a warning, if the device is unavailable.
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
    """Computes the vectors of one split of a data set and writes them, all files or none.

    Args:
        config: Options.
        on_progress: Receives the number of images done and their total.

    Returns:
        The output of `alexnet-fast features --json`.

    Raises:
        UserError: Model or data are missing or invalid, or a file exists and `overwrite` is off.
    """
    _check_output(config.out, overwrite=config.overwrite)
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
    vectors = _counted(embeddings(net, loader, precision, config.layer), len(images), on_progress)
    with _all_or_none(paths):
        shape = _write(vectors, images, paths[0], paths[1])
        if config.parquet:
            _write_parquet(paths[0], paths[1], paths[2])
        else:
            # An older file, which `overwrite` allows to replace, would hold other vectors.
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


def _check_output(out: Path, *, overwrite: bool) -> None:
    """Checks that the output folder has no features.

    Raises:
        UserError: The folder has features and `overwrite` is off, or it is a file.
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
    """Makes the loader of the images."""
    loader_config = LoaderConfig(
        kind="dali" if config.dali else "torch",
        device=precision.device,
        workers=config.workers,
        half=precision.dtype is torch.float16,
        on_bad_image=config.on_bad_image,
    )
    sampler = EpochSampler(num_images=len(images), batch_size=config.batch_size, shuffle=False)
    return make_loader(images, spec, "eval", sampler, loader_config)


def _counted(
    batches: Iterator[Embeddings], total: int, on_progress: Callable[[int, int], None]
) -> Iterator[Embeddings]:
    """Passes batches on and reports the number of images done."""
    done = 0
    for batch in batches:
        yield batch
        done += len(batch.labels)
        on_progress(done, total)


def _write(batches: Iterator[Embeddings], images: ImageList, vectors: Path, table: Path) -> tuple[int, int]:
    """Writes the NumPy file, then the CSV file; returns (rows, columns)."""
    lines = io.StringIO(newline="")
    rows = csv.writer(lines)
    rows.writerow(("file", "label", "index"))
    with atomic_file(vectors) as file:
        writer = VectorWriter(file)
        for batch in batches:
            writer.add(batch.values)
            for position, label in zip(batch.indices.tolist(), batch.labels.tolist(), strict=True):
                rows.writerow((images.names[position], images.classes.names[label], label))
        shape = writer.finish(images.root)
    write_atomically(table, lines.getvalue().encode("utf-8", "surrogateescape"))
    return shape


@contextlib.contextmanager
def _all_or_none(paths: list[Path]) -> Iterator[None]:
    """Removes the new files if one of them cannot be written; files that existed before stay."""
    before = [path.stat().st_ino if path.exists() else None for path in paths]
    try:
        yield
    except BaseException:
        for path, inode in zip(paths, before, strict=True):
            # The first error is the one to report.
            with contextlib.suppress(OSError):
                if path.stat().st_ino != inode:
                    path.unlink()
        raise


def _pyarrow() -> Any:
    """Imports pyarrow.

    Raises:
        UserError: pyarrow is not installed.
    """
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise UserError(
            "--parquet needs pyarrow, which is not installed", "pip install 'alexnet-fast[parquet]'"
        ) from error
    return pyarrow


def _in_utf8(name: str) -> str:
    """Returns a file name with bytes that are no UTF-8 escaped."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _write_parquet(vectors: Path, table: Path, path: Path) -> None:
    """Writes both files as one Parquet file: file, label, index, and vectors as lists of fixed length."""
    arrow = _pyarrow()
    values = np.load(vectors, mmap_mode="r", allow_pickle=False)
    with table.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = list(csv.DictReader(file))
    columns = {
        # Parquet's texts are UTF-8; other bytes of a name are written as escapes.
        "file": arrow.array([_in_utf8(row["file"]) for row in rows]),
        "label": arrow.array([_in_utf8(row["label"]) for row in rows]),
        "index": arrow.array([int(row["index"]) for row in rows], arrow.int32()),
        "features": arrow.FixedSizeListArray.from_arrays(arrow.array(values.reshape(-1)), values.shape[1]),
    }
    with atomic_file(path) as out:
        arrow.parquet.write_table(arrow.table(columns), out)
