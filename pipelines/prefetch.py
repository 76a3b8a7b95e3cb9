"""Batches that are read ahead for a decoder: whole files, or regions of arrays.

A batch passes four stages. Here it is fetched (its files are read) and located (the window of each image is
computed); arrays are decoded here too. `dali.loader` decodes files, and `cpu.finish` or the GPU graph makes
the network's input of the pixels.

DALI's own readers follow an order that is fixed when they are built. Ours follow the sampler: any
permutation, from any step on, without a rebuild; an image that cannot be read is named. DALI's operator that
reads a file by its name does so in the threads that decode; ours read a batch or two ahead of them.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import itertools
import math
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from alexnet_fast.data import ImageList
from alexnet_fast.pipelines.cpu.pillow import MAX_PIXELS, BadImageError, too_large
from alexnet_fast.pipelines.crop_windows import CropWindows, View, view_windows
from alexnet_fast.pipelines.geometry import resized_sizes
from alexnet_fast.pipelines.io import ArrayFile, read_bytes
from alexnet_fast.pipelines.sampler import BatchIndices
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.pipelines.transcode import PLACEHOLDER, for_dali, transcode
from alexnet_fast.utils.arrays import Integers, Pixels

InputKind = Literal["bytes", "regions"]

# Batches that are read before the graph asks for them.
_AHEAD = 2


@dataclasses.dataclass(kw_only=True)
class RawBatch:
    """A batch in flight, from its files to the network's input; each stage adds its part.

    Args:
        plan: Its images and random numbers.
        spec: Of its epoch.
        errors: Position and reason of each image that cannot be used; black pixels take its place.
        sizes: Fetched: int64 (B, 2), height and width of each upright image.
        inputs: Fetched: "encoded" files. Decoded: "pixels" of arrays. Empty once DALI has them.
        windows: Located: what the view shows of each image.
    """

    plan: BatchIndices
    spec: AugmentSpec
    errors: dict[int, str] = dataclasses.field(default_factory=dict)
    sizes: Integers = dataclasses.field(init=False)
    inputs: dict[str, list[Any]] = dataclasses.field(default_factory=dict)
    windows: CropWindows = dataclasses.field(init=False)

    @contextlib.contextmanager
    def noting(self, position: int) -> Iterator[None]:
        """Notes why an image cannot be read."""
        try:
            yield
        except BadImageError as error:
            self.errors[position] = str(error)

    @classmethod
    def concatenate(cls, plan: BatchIndices, parts: list[RawBatch]) -> RawBatch:
        """Returns a batch whose parts were read one by one."""
        begins = itertools.accumulate((len(part.plan) for part in parts), initial=0)
        batch = cls(plan=plan, spec=parts[0].spec)
        batch.errors = {
            begin + position: reason
            for begin, part in zip(begins, parts, strict=False)
            for position, reason in part.errors.items()
        }
        batch.inputs = {
            name: [value for part in parts for value in part.inputs[name]] for name in parts[0].inputs
        }
        batch.windows = CropWindows.concatenate([part.windows for part in parts])
        return batch


class Prefetcher:
    """Reads batches ahead of their decoder.

    Args:
        images: The list.
        view: Which part of an array is read.
        threads: Of the loader; half of them read.
        align: As in `view_windows`.
    """

    def __init__(self, images: ImageList, view: View, *, threads: int, align: bool) -> None:
        self._images, self._view, self._align = images, view, align
        # Reading is mostly Python, which only one thread at a time can run: with two reading threads next to
        # two that finish, raw arrays loaded at three fifths of the speed.
        self._threads = max(1, threads // 2)
        self._buffers = BufferPool()
        # Positions in the list of files that DALI has failed at: Pillow decodes them from then on.
        self.needs_transcode: set[int] = set()
        self.kind: InputKind = "regions" if images.encoding == "array" else "bytes"

    def batches(self, plans: Iterator[BatchIndices], spec: AugmentSpec) -> Iterator[RawBatch]:
        """Reads batches, a little ahead of who takes them."""
        pool = ThreadPoolExecutor(self._threads, "reading")
        in_flight: collections.deque[tuple[BatchIndices, list[Future[RawBatch]]]] = collections.deque()

        def oldest() -> RawBatch:
            plan, parts = in_flight.popleft()
            return RawBatch.concatenate(plan, [part.result() for part in parts])

        try:
            for plan in plans:
                in_flight.append((plan, self._submit(pool, plan, spec)))
                if len(in_flight) > _AHEAD:
                    yield oldest()
            while in_flight:
                yield oldest()
        finally:
            # A pass that was left early may end in the garbage collector, and that in the start of a thread:
            # there, to wait for threads is to wait for ever.
            pool.shutdown(wait=False, cancel_futures=True)

    def _submit(
        self, pool: ThreadPoolExecutor, plan: BatchIndices, spec: AugmentSpec
    ) -> list[Future[RawBatch]]:
        """Divides a batch among all threads."""
        parts = min(self._threads, len(plan))
        ends = np.linspace(0, len(plan), parts + 1).astype(int).tolist()
        return [
            pool.submit(self.read, plan.subset(slice(begin, end)), spec)
            for begin, end in itertools.pairwise(ends)
        ]

    def read(self, plan: BatchIndices, spec: AugmentSpec) -> RawBatch:
        """Takes one batch through the stages in front of DALI."""
        batch = RawBatch(plan=plan, spec=spec)
        if self.kind == "bytes":
            return self._locate(self._fetch(batch))
        with contextlib.ExitStack() as files:
            return self._decode_arrays(self._locate(self._fetch_arrays(batch, files)))

    def _fetch(self, batch: RawBatch) -> RawBatch:
        """Reads whole files, as DALI may have them."""
        files = [PLACEHOLDER] * len(batch.plan)
        for position, index in enumerate(batch.plan.indices.tolist()):
            with batch.noting(position):
                content = read_bytes(self._images.location(index))
                encode = transcode if index in self.needs_transcode else for_dali
                files[position] = encode(content, batch.spec.background)
        batch.sizes = np.array([file.size for file in files], np.int64)
        for position, reason in self._too_large(batch).items():
            batch.errors[position], files[position] = reason, PLACEHOLDER
            batch.sizes[position] = PLACEHOLDER.size
        batch.inputs["encoded"] = [np.frombuffer(file.content, np.uint8) for file in files]
        return batch

    def _too_large(self, batch: RawBatch) -> dict[int, str]:
        """Returns which images would become too large when their shorter side is resized, and why."""
        if self._view == "train" and batch.spec.random_resized_crop is not None:
            return {}
        sizes, resized = batch.sizes, resized_sizes(batch.sizes, batch.spec.resize)
        return {
            position: too_large(
                tuple(sizes[position, ::-1].tolist()), tuple(resized[position, ::-1].tolist())
            )
            for position in np.flatnonzero(resized.prod(axis=1) > MAX_PIXELS).tolist()
        }

    def _locate(self, batch: RawBatch) -> RawBatch:
        """Computes what the view shows of each image."""
        batch.windows = view_windows(
            batch.sizes, batch.plan.random_params, batch.spec, self._view, align=self._align
        )
        return batch

    def _fetch_arrays(self, batch: RawBatch, opened: contextlib.ExitStack) -> RawBatch:
        """Opens arrays and reads their sizes."""
        batch.sizes = np.full((len(batch.plan), 2), batch.spec.resize, np.int64)
        files: list[ArrayFile | None] = [None] * len(batch.plan)
        for position, index in enumerate(batch.plan.indices.tolist()):
            with batch.noting(position):
                file = opened.enter_context(ArrayFile(self._images.location(index)))
                batch.sizes[position] = file.shape()
                files[position] = file
        batch.inputs["files"] = files
        return batch

    def _decode_arrays(self, batch: RawBatch) -> RawBatch:
        """Reads what the view shows of arrays, and the resizing filter's reach around it."""
        windows, side = batch.windows, batch.spec.resize if self._view == "square" else batch.spec.crop
        pixels: list[Pixels] = [np.zeros((side, side, 3), np.uint8)] * len(batch.plan)
        starts, ends = windows.start.tolist(), windows.end.tolist()
        heights = windows.end[:, 0] - windows.start[:, 0]
        stops = np.cumsum(heights * batch.sizes[:, 1] * 3)
        memory = self._buffers.get((int(stops[-1]),), np.uint8)
        for position, file in enumerate(batch.inputs.pop("files")):
            if file is None:
                continue
            rows = memory[: stops[position]][-heights[position] * batch.sizes[position, 1] * 3 :]
            with batch.noting(position):
                pixels[position] = file.region(
                    starts[position], ends[position], rows.reshape(heights[position], -1, 3)
                )
        windows.needs_resize[list(batch.errors)] = False
        batch.inputs["pixels"] = pixels
        return batch


# References to a buffer that nobody else holds: the list's, the loop's and the argument of `getrefcount`.
_UNUSED = 3

# Buffers kept at most; who holds more batches than these at once gets new memory for each.
_CAPACITY = 8


class BufferPool:
    """Hands out arrays, and their memory again once nobody holds them. Threads may share one.

    A batch of 128 takes 77 MB. The system gives that much memory page by page, cleared: that took a quarter
    of the time of normalising, and most of the time of reading raw arrays.
    """

    def __init__(self) -> None:
        self._buffers: list[npt.NDArray[np.uint8]] = []
        self._lock = threading.Lock()

    def get(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Returns an array with any values."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        with self._lock:
            # A view holds the buffer, and so does a tensor that is made of one.
            array: npt.NDArray[Any] = self._unused(size)[:size].view(dtype).reshape(shape)
            return array

    def _unused(self, size: int) -> npt.NDArray[np.uint8]:
        """Returns a buffer that nobody holds, of at least `size` bytes and not many more."""
        for buffer in self._buffers:
            if sys.getrefcount(buffer) == _UNUSED and size <= len(buffer) <= 2 * size:
                return buffer
        # Batches of images of many sizes differ a little.
        new = np.empty(size + size // 8, np.uint8)
        self._buffers = [*self._buffers[1 - _CAPACITY :], new]
        return new
