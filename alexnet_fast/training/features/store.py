"""The embeddings of the images: each process computes its share once, and all map the same file."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
from torch import nn

from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.loader import Loader, nothing_decoded
from alexnet_fast.training.context import TrainContext
from alexnet_fast.training.features.embeddings import embeddings
from alexnet_fast.training.log import log
from alexnet_fast.training.precision import Precision
from alexnet_fast.utils.arrays import Floats, Integers
from alexnet_fast.utils.atomic import atomic_file


class VectorWriter:
    """Writes float32 (N, D) row by row.

    numpy leaves room in the header for the first side to grow (numpy.lib.format, "growth axis"), so it is
    written again over itself when N is known.

    Args:
        file: Open for writing, at its beginning, and able to seek.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._rows, self._columns, self._length = 0, 0, 0

    def add(self, values: npt.NDArray[np.float32]) -> None:
        """Appends rows (B, D)."""
        if not self._rows:
            self._columns = values.shape[1]
            header = self._header()
            self._length = len(header)
            self._file.write(header)
        self._file.write(np.ascontiguousarray(values, "<f4").tobytes())
        self._rows += len(values)

    def finish(self, root: Path) -> tuple[int, int]:
        """Writes the number of rows, and returns rows and columns.

        Args:
            root: Where the images were to be, for the message.

        Raises:
            UserError: There are none.
        """
        if not self._rows:
            raise nothing_decoded(root)
        header = self._header()
        assert len(header) == self._length
        self._file.seek(0)
        self._file.write(header)
        self._file.seek(0, io.SEEK_END)
        return self._rows, self._columns

    def _header(self) -> bytes:
        buffer = io.BytesIO()
        fields = {"descr": "<f4", "fortran_order": False, "shape": (self._rows, self._columns)}
        np.lib.format.write_array_header_1_0(buffer, fields)  # type: ignore[no-untyped-call, unused-ignore]
        return buffer.getvalue()


# Seconds between two lines of progress.
_LOG_SECONDS = 10.0

# Rows per block when parts are put in order: 16 MiB for rows of 4,096 numbers.
_ROWS = 1024


def cached_vectors(
    net: nn.Module, loader: Loader, context: TrainContext, path: Path
) -> tuple[Floats, Integers]:
    """Returns the embeddings of all images, mapped from a file that is written if it does not exist.

    Args:
        net: On the device.
        loader: Loader of the view "eval", over this process's share of the images.
        context: The training run.
        path: Path of the files without suffix: `PATH.npy` holds the embeddings in the order of the image
            list, `PATH.index.npy` the positions of the images that could be read.

    Raises:
        UserError: No image could be read, a file could not be written, or not all processes see it.
    """
    dist = context.dist
    values, index = path.with_suffix(".npy"), path.with_suffix(".index.npy")
    if not dist.run_on_main(index.exists):
        part = path.with_suffix(f".part{dist.rank}.npy")
        shares = dist.gather(_write_share(net, loader, context.precision, part))
        parts = [path.with_suffix(f".part{rank}.npy") for rank in range(dist.world)]
        dist.run_on_main(lambda: _join(parts, shares, values, index, loader.images.root))
    if not all(dist.gather(index.exists())):
        raise _not_shared(index)
    mapped: Floats = np.load(values, mmap_mode="r", allow_pickle=False)
    positions: Integers = np.load(index, allow_pickle=False)
    return mapped, positions


def _write_share(net: nn.Module, loader: Loader, precision: Precision, part: Path) -> Integers:
    """Writes the embeddings of this process's images; returns their positions in the image list."""
    positions, logged = [np.empty(0, np.int64)], time.monotonic()
    total = len(range(loader.sampler.rank, loader.sampler.num_images, loader.sampler.world))
    log.info("computing the features of %d images once, into %s", total, part.parent)
    with atomic_file(part) as file:
        writer = VectorWriter(file)
        for batch in embeddings(net, loader, precision):
            writer.add(batch.values)
            positions.append(batch.indices)
            if time.monotonic() - logged > _LOG_SECONDS:
                logged = time.monotonic()
                log.info("features of %d of %d images", sum(map(len, positions)), total)
        # The share of one process may hold bad images alone; all shares together must not.
        if len(positions) > 1:
            writer.finish(loader.images.root)
    return np.concatenate(positions)


def _join(parts: list[Path], positions: list[Integers], values: Path, index: Path, root: Path) -> None:
    """Joins the parts; the index is written last, so that its existence means that all files are complete.

    Raises:
        UserError: There is no embedding, or a part is on the disk of another machine.
    """
    missing = [part for part in parts if not part.exists()]
    if missing:
        raise _not_shared(missing[0])
    if not any(map(len, positions)):
        raise nothing_decoded(root)
    if len(parts) == 1:
        parts[0].replace(values)
    else:
        _write_in_order(parts, positions, values, root)
    with atomic_file(index) as file:
        np.save(file, np.sort(np.concatenate(positions)))


def _write_in_order(parts: list[Path], positions: list[Integers], values: Path, root: Path) -> None:
    """Copies the rows of all parts in the order of the image list, and removes the parts."""
    order = np.argsort(np.concatenate(positions))
    owner = np.repeat(np.arange(len(parts)), [len(share) for share in positions])[order]
    row = np.concatenate([np.arange(len(share)) for share in positions])[order]
    shares = {
        rank: np.load(part, mmap_mode="r", allow_pickle=False)
        for rank, part in enumerate(parts)
        if len(positions[rank])
    }
    with atomic_file(values) as file:
        writer = VectorWriter(file)
        for start in range(0, len(order), _ROWS):
            owners, rows = owner[start : start + _ROWS], row[start : start + _ROWS]
            block = np.empty((len(rows), next(iter(shares.values())).shape[1]), np.float32)
            for rank, share in shares.items():
                block[owners == rank] = share[rows[owners == rank]]
            writer.add(block)
        writer.finish(root)
    for part in parts:
        part.unlink()


def _not_shared(path: Path) -> UserError:
    """Returns the error for a file that not all processes see."""
    return UserError(
        f"not all processes of the job see {path}",
        "put --run on a disk that all machines share, or give --freeze-epochs 0",
    )
