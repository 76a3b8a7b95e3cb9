"""What a DALI graph is fed: encoded images out of files or tars, or regions of arrays.

DALI's own readers follow an order that is fixed when they are built. Ours follow the plan of the epoch: any
permutation, from any step on, without a rebuild; an image that cannot be read is named. DALI's operator that
reads a file by its name does so in the threads that decode; ours read a batch or two ahead of them.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal, NamedTuple

import numpy as np

from alexnet_fast.data import ImageList
from alexnet_fast.pipelines.color import Colour
from alexnet_fast.pipelines.cpu.buffers import BufferPool
from alexnet_fast.pipelines.cpu.pillow import MAX_PIXELS, BadImageError, too_large
from alexnet_fast.pipelines.crop_windows import CropWindows, View, joined, view_windows
from alexnet_fast.pipelines.geometry import resized_sizes
from alexnet_fast.pipelines.io import ArrayFile, read_bytes
from alexnet_fast.pipelines.sampler import BatchIndices
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.pipelines.transcode import PLACEHOLDER, Encoded, for_dali, transcoded
from alexnet_fast.utils.arrays import Integers, Pixels

InputKind = Literal["bytes", "regions"]
Inputs = dict[str, Any]

# Batches that are read before the graph asks for them.
_AHEAD = 2


class RawBatch(NamedTuple):
    """A batch that was read.

    Args:
        plan: Its images and random numbers.
        spec: Of its epoch.
        inputs: "encoded" images, or "pixels" of arrays.
        windows: Of these images, by the sizes that the files themselves have.
        lost: Positions in the batch of images that cannot be used, and why; black pixels stand for them.
    """

    plan: BatchIndices
    spec: AugmentSpec
    inputs: Inputs
    windows: CropWindows
    lost: dict[int, str]


class Prefetcher:
    """Reads batches for a graph.

    Args:
        images: The list.
        view: Which part of an array is read.
        threads: Of the loader; half of them read.
        grid: As in `view_windows`.
    """

    def __init__(self, images: ImageList, view: View, *, threads: int, grid: bool) -> None:
        self._images, self._view, self._grid = images, view, grid
        # Reading is mostly Python, which one thread at a time can run: with two of them beside two that
        # finish, raw arrays came at three fifths of the speed.
        self._threads = max(1, threads // 2)
        self._buffers = BufferPool()
        # Positions in the list of files that DALI has failed at: Pillow decodes them from then on.
        self.distrusted: set[int] = set()
        self.kind: InputKind = "regions" if images.encoding == "array" else "bytes"

    def batches(self, plans: Iterator[BatchIndices], spec: AugmentSpec) -> Iterator[RawBatch]:
        """Reads the batches of plans, a little ahead of who takes them."""
        pool = ThreadPoolExecutor(self._threads, "reading")
        flying: collections.deque[tuple[BatchIndices, list[Future[RawBatch]]]] = collections.deque()
        try:
            for plan in plans:
                flying.append((plan, self._start(pool, plan, spec)))
                if len(flying) > _AHEAD:
                    yield _joined(*flying.popleft())
            while flying:
                yield _joined(*flying.popleft())
        finally:
            # A pass that was left early may end in the garbage collector, and that in the start of a thread:
            # there, to wait for threads is to wait for ever.
            pool.shutdown(wait=False, cancel_futures=True)

    def read(self, plan: BatchIndices, spec: AugmentSpec) -> RawBatch:
        """Reads one batch."""
        return self._regions(plan, spec) if self.kind == "regions" else self._files(plan, spec)

    def _start(
        self, pool: ThreadPoolExecutor, plan: BatchIndices, spec: AugmentSpec
    ) -> list[Future[RawBatch]]:
        """Hands out a batch to all threads."""
        parts = min(self._threads, len(plan))
        ends = np.linspace(0, len(plan), parts + 1).astype(int).tolist()
        return [
            pool.submit(self.read, plan.some(slice(begin, end)), spec)
            for begin, end in itertools.pairwise(ends)
        ]

    def _files(self, plan: BatchIndices, spec: AugmentSpec) -> RawBatch:
        """Reads whole files."""
        lost: dict[int, str] = {}
        files = [PLACEHOLDER] * len(plan)
        for position, index in enumerate(plan.indices.tolist()):
            with _noting(lost, position):
                files[position] = self._file(index, spec.background)
        sizes = np.array([file.size for file in files], np.int64)
        for position, reason in self._too_large(sizes, spec).items():
            lost[position], files[position], sizes[position] = reason, PLACEHOLDER, PLACEHOLDER.size
        windows = view_windows(sizes, plan.random_params, spec, self._view, grid=self._grid)
        encoded = [np.frombuffer(file.content, np.uint8) for file in files]
        return RawBatch(plan, spec, {"encoded": encoded}, windows, lost)

    def _file(self, index: int, background: Colour) -> Encoded:
        """Returns an image as DALI may have it."""
        content = read_bytes(self._images.location(index))
        return (transcoded if index in self.distrusted else for_dali)(content, background)

    def _too_large(self, sizes: Integers, spec: AugmentSpec) -> dict[int, str]:
        """Returns which images would become too large where their shorter side is resized, and why."""
        if self._view == "train" and spec.random_resized_crop is not None:
            return {}
        would_be = resized_sizes(sizes, spec.resize)
        return {
            place: too_large(tuple(sizes[place, ::-1].tolist()), tuple(would_be[place, ::-1].tolist()))
            for place in np.flatnonzero(would_be.prod(axis=1) > MAX_PIXELS).tolist()
        }

    def _regions(self, plan: BatchIndices, spec: AugmentSpec) -> RawBatch:
        """Reads what the view shows of arrays, and the resizing filter's reach around it."""
        side = spec.resize if self._view == "square" else spec.crop
        lost: dict[int, str] = {}
        sizes = np.full((len(plan), 2), spec.resize, np.int64)
        pixels: list[Pixels] = [np.zeros((side, side, 3), np.uint8)] * len(plan)
        with contextlib.ExitStack() as opened:
            files = []
            for position, index in enumerate(plan.indices.tolist()):
                with _noting(lost, position):
                    file = opened.enter_context(ArrayFile(self._images.location(index)))
                    sizes[position] = file.shape()
                    files.append((position, file))
            windows = view_windows(sizes, plan.random_params, spec, self._view, grid=self._grid)
            starts, ends = windows.start.tolist(), windows.end.tolist()
            heights = windows.end[:, 0] - windows.start[:, 0]
            stops = np.cumsum(heights * sizes[:, 1] * 3)
            memory = self._buffers.get((int(stops[-1]),), np.uint8)
            for position, file in files:
                rows = memory[: stops[position]][-heights[position] * sizes[position, 1] * 3 :]
                with _noting(lost, position):
                    pixels[position] = file.region(
                        starts[position], ends[position], rows.reshape(heights[position], -1, 3)
                    )
        windows.needs_resize[list(lost)] = False
        return RawBatch(plan, spec, {"pixels": pixels}, windows, lost)


@contextlib.contextmanager
def _noting(lost: dict[int, str], position: int) -> Iterator[None]:
    """Notes why an image cannot be read."""
    try:
        yield
    except BadImageError as error:
        lost[position] = str(error)


def _joined(plan: BatchIndices, parts: list[Future[RawBatch]]) -> RawBatch:
    """Waits for a batch and puts its parts together."""
    reads = [part.result() for part in parts]
    inputs: Inputs = {
        name: [item for read in reads for item in read.inputs[name]] for name in reads[0].inputs
    }
    begins = itertools.accumulate((len(read.plan) for read in reads), initial=0)
    lost = {
        begin + position: reason
        for begin, read in zip(begins, reads, strict=False)
        for position, reason in read.lost.items()
    }
    windows = joined([read.windows for read in reads])
    return RawBatch(plan, reads[0].spec, inputs, windows, lost)
