"""The vectors of a data set as files: numpy, CSV, Parquet."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from alexnet_fast.data import LeaveOut, PictureList, open_data, open_part
from alexnet_fast.data.layouts.find import Reading
from alexnet_fast.device import choose_device
from alexnet_fast.errors import UserError
from alexnet_fast.feature_vectors import Vectors, feature_vectors
from alexnet_fast.files import atomic_file, make_folder
from alexnet_fast.pipelines.loader import Loader, LoaderConfig, make_loader
from alexnet_fast.pipelines.plan import Schedule
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.training.precision import Precision, choose_precision
from alexnet_fast.training.trained import load_trained
from alexnet_fast.vector_file import VectorWriter

_NAMES = ("features.npy", "pictures.csv", "features.parquet")


def write_features(
    model: Path,
    data: Path,
    out: Path,
    *,
    layer: str | None,
    parquet: bool,
    show: Callable[[int, int], None],
    **given: Any,
) -> dict[str, Any]:
    """Computes the vectors of a part of a data set and writes them.

    Args:
        model: Run folder, checkpoint or weights.
        data: The pictures, with classes of their own.
        out: Folder to write to.
        layer: See `feature_vectors`.
        parquet: Whether to write that too.
        show: Told how many pictures are done, and of how many.
        given: The options of `cli.part`, and "amp".

    Returns:
        What `alexnet-fast features --json` prints.

    Raises:
        UserError: A part is missing or wrong; nothing that was there is overwritten.
    """
    _refuse_old(out)
    if parquet:
        _pyarrow()
    trained = load_trained(model, given["net"])
    precision = choose_precision(given["amp"], choose_device(given["device"]))
    net = trained.net.to(device=precision.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    pictures = _pictures(data, given, trained.provenance)
    loader = _loader(pictures, trained.spec, given, precision)
    make_folder(out)
    paths = [out / name for name in _NAMES]
    counted = _counted(feature_vectors(net, loader, precision, layer), len(pictures), show)
    with atomic_file(paths[0]) as vectors, atomic_file(paths[1]) as table:
        shape = _write(counted, pictures, vectors, table)
    if parquet:
        _write_parquet(paths[0], paths[1], paths[2])
    return {
        "model": trained.model,
        "layer": layer or "input of the last layer",
        "images": shape[0],
        "dimensions": shape[1],
        "bad_images": len(loader.bad),
        "features": str(paths[0]),
        "pictures": str(paths[1]),
        "parquet": str(paths[2]) if parquet else None,
    }


def _refuse_old(out: Path) -> None:
    """Refuses a folder with features in it.

    Raises:
        UserError: It has some, or is a file.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file", "give a folder to write to", exit_code=2)
    for name in _NAMES:
        if (out / name).exists():
            raise UserError(
                f"{out / name} is there already", "give another folder, or remove it", exit_code=2
            )


def _pictures(data: Path, given: dict[str, Any], provenance: dict[str, Any]) -> PictureList:
    """Lists the pictures under the classes of the data."""
    fraction = given["val_fraction"]
    if fraction is None:
        fraction = provenance.get("val_fraction", 0.1)
    left_out = LeaveOut.load(given["leave_out"]) if given["leave_out"] else None
    reading = Reading.from_options(given["layout"], given["labels"], given["label_encoding"])
    how: dict[str, Any] = {"val_fraction": fraction, "leave_out": left_out, "reading": reading}
    return open_part(data, given["split"], open_data(data, **how).classes, **how)


def _loader(pictures: PictureList, spec: AugmentSpec, given: dict[str, Any], precision: Precision) -> Loader:
    config = LoaderConfig(
        kind="dali" if given["dali"] else "torch",
        device=precision.device,
        threads=given["threads"],
        half=precision.dtype is torch.float16,
        on_bad_image=given["on_bad_image"],
    )
    schedule = Schedule(pictures=len(pictures), batch_size=given["batch_size"], shuffle=False)
    return make_loader(pictures, spec, "centre", schedule, config)


def _counted(found: Iterator[Vectors], total: int, show: Callable[[int, int], None]) -> Iterator[Vectors]:
    """Passes batches on and tells how many pictures they were."""
    done = 0
    for vectors in found:
        yield vectors
        done += len(vectors.labels)
        show(done, total)


def _write(
    found: Iterator[Vectors], pictures: PictureList, vectors: IO[bytes], table: IO[bytes]
) -> tuple[int, int]:
    """Writes numpy and CSV side by side; returns (rows, columns)."""
    writer = VectorWriter(vectors)
    text = io.TextIOWrapper(table, encoding="utf-8", errors="surrogateescape", newline="", write_through=True)
    rows = csv.writer(text)
    rows.writerow(("file", "label", "index"))
    for batch in found:
        writer.add(batch.values)
        for position, label in zip(batch.indices.tolist(), batch.labels.tolist(), strict=True):
            rows.writerow((pictures.names[position], pictures.classes.names[label], label))
    shape = writer.finish(pictures.root)
    text.detach()
    return shape


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


def _write_parquet(vectors: Path, table: Path, path: Path) -> None:
    """Turns the two files into one of Parquet: file, label, index, and vectors as lists of fixed length."""
    arrow = _pyarrow()
    values = np.load(vectors, mmap_mode="r", allow_pickle=False)
    with table.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = list(csv.DictReader(file))
    columns = {
        "file": arrow.array([os.fsencode(row["file"]).decode("utf-8", "replace") for row in rows]),
        "label": arrow.array([row["label"] for row in rows]),
        "index": arrow.array([int(row["index"]) for row in rows], arrow.int32()),
        "features": arrow.FixedSizeListArray.from_arrays(arrow.array(values.reshape(-1)), values.shape[1]),
    }
    with atomic_file(path) as out:
        arrow.parquet.write_table(arrow.table(columns), out)
