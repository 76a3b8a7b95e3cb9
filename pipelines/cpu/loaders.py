"""The plain loader: Pillow in a torch DataLoader's worker processes, with the same epochs as DALI's."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import multiprocessing
import multiprocessing.context
import os
import signal
import threading
import weakref
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from alexnet_fast.data import ImageList
from alexnet_fast.data.image_list import Encoding, Location
from alexnet_fast.pipelines.cpu import pillow as pillow_image
from alexnet_fast.pipelines.cpu.finish import Postprocessor
from alexnet_fast.pipelines.cpu.normalize import changes_of, normalised
from alexnet_fast.pipelines.crop_windows import View
from alexnet_fast.pipelines.decoding_record import DecoderDeathError, current_record
from alexnet_fast.pipelines.io import open_image
from alexnet_fast.pipelines.loader import Batch, Loader
from alexnet_fast.pipelines.prefetch import Prefetcher, RawBatch
from alexnet_fast.pipelines.sampler import BatchIndices, EpochSampler
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.utils.arrays import Floats, Pixels
from alexnet_fast.utils.interrupts import starting_processes


class ArrayLoader(Loader):
    """Batches of regions that threads read, and others finish; arguments as for `Loader`."""

    @functools.cached_property
    def _reader(self) -> Prefetcher:
        """Reads what the view shows of each array."""
        return Prefetcher(self.images, self.view, threads=self.config.workers, grid=True)

    @functools.cached_property
    def _finisher(self) -> Postprocessor:
        """Finishes what was read."""
        return Postprocessor(self.view, self.config)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yields one batch a step from step `start` on."""
        return self._noted(epoch, start, self._pass(epoch, start))

    def _pass(self, epoch: int, start: int) -> Iterator[Batch]:
        """Reads and finishes an epoch."""
        plans = self.schedule.epoch(epoch, self.spec, start)
        for read in self._reader.batches(plans, self.spec_in(epoch)):
            yield self._without_lost(self._finished(read), read.lost)

    def _finished(self, read: RawBatch) -> Batch:
        """Returns a batch that was read as the network takes it, bad images included."""
        assert read.windows is not None
        images = self._finisher.batch(read.inputs["pixels"], read.windows, read.plan, read.spec)
        return Batch(images, self.labels[torch.from_numpy(read.plan.indices)], read.plan.indices)


# The main process ends its step when its whole group is told to stop.
_LEFT_TO_US = (signal.SIGTERM, signal.SIGUSR1)


class TorchLoader(Loader):
    """Batches decoded by Pillow; arguments as for `Loader`."""

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yields one batch a step from step `start` on."""
        leash, held = _worker_context().Pipe(duplex=False)
        batches = self._batches(epoch, start, leash)
        # Before the garbage collector takes a pass that was left, and at Python's end: torch's queues are
        # closed by then, so that its workers do not hear of it, and they do not listen to its SIGTERM.
        weakref.finalize(batches, held.close)
        return self._noted(epoch, start, batches)

    @property
    def ahead(self) -> int:
        """Most batches that are begun before the one at hand is handed out."""
        return self.config.prefetch * self.config.workers

    def _batches(self, epoch: int, start: int, leash: Connection) -> Iterator[Batch]:
        """Runs workers as long as batches are taken, and the other end of the leash is held."""
        spec = self.spec_in(epoch)
        loader = DataLoader(
            _Decoder(self.images.encoding, spec, self.view),
            batch_sampler=_Rows(self.images, self.schedule, self.spec, epoch, start),
            collate_fn=list,
            # Its own generator: the default one would take a number from those that dropout draws.
            generator=torch.Generator(),
            num_workers=max(1, min(self.config.workers, self.schedule.steps - start)),
            prefetch_factor=self.config.prefetch,
            multiprocessing_context=_worker_context(),
            worker_init_fn=functools.partial(_begin_worker, leash),
        )
        with starting_processes(*_LEFT_TO_US):
            decoded = iter(loader)
        for step in itertools.count(start):
            try:
                rows = next(decoded, None)
            except (RuntimeError, OSError, EOFError) as error:
                # What torch says of a worker that died names no more than process numbers.
                if (how := _death(decoded)) is None:
                    raise
                raise _died(how, epoch, step, min(len(self), step + 1 + self.ahead)) from error
            if rows is None:
                return
            yield self._batch(rows, spec)

    def _batch(self, rows: list[_Row], spec: AugmentSpec) -> Batch:
        """Stacks and normalises the decoded images of a batch and reports the others."""
        for row in rows:
            if row.reason is not None:
                self.bad.report(self.images.path(row.index), row.reason)
        good = [row for row in rows if row.pixels is not None]
        if not good:
            return self.empty_batch()
        indices = np.array([row.index for row in good])
        images = torch.from_numpy(np.stack([row.pixels for row in good if row.pixels is not None]))
        if self.view != "square":
            changes = changes_of(
                np.stack([row.random_params for row in good]), spec, random=self.view == "train"
            )
            images = normalised(images, changes, spec)
            images = images.to(torch.float16) if self.config.half else images
        images = images.to(self.config.device)
        labels = self.labels[torch.from_numpy(indices)].to(self.config.device)
        return Batch(images, labels, indices)


def _worker_context() -> multiprocessing.context.ForkServerContext:
    """Returns how workers are started: forked from a clean process that has this module loaded.

    A worker forked from this process would inherit its DALI pipelines and hang in their destructors.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _begin_worker(leash: Connection, worker: int) -> None:
    """Lets a worker go on when its whole group is told to stop: the main process ends its step first.

    Args:
        leash: Closed at its other end when the pass is over or the main process is gone; torch's own look at
            the parent sees the server that forks.
        worker: Its number among the workers.
    """
    del worker
    for number in (signal.SIGINT, *_LEFT_TO_US):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    # Torch's own handler prints a line before the one sentence that a death is told in.
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)
    threading.Thread(target=_end_with, args=(leash,), name="end with the pass", daemon=True).start()


def _death(workers: Any) -> str | None:
    """Returns how a worker of a torch DataLoader's iterator died; None where none did."""
    codes = (worker.exitcode for worker in getattr(workers, "_workers", ()))
    code: int | None = next((code for code in codes if code), None)
    if code is None or code > 0:
        return None if code is None else f"ended with exit code {code}"
    known = {int(number): number.name for number in signal.Signals}
    return f"was killed by {known.get(-code, f'signal {-code}')}"


def _died(how: str, epoch: int, first: int, end: int) -> DecoderDeathError:
    """Returns the error for a worker that died.

    Args:
        how: It did.
        epoch: Counted from 0.
        first: The batch that was waited for, counted from 0.
        end: The one behind the last that a worker may have begun.
    """
    which = f"batch {end}" if end == first + 1 else f"one of the batches {first + 1} to {end}"
    return DecoderDeathError(
        f"a worker process of the Pillow loader {how}",
        f"{which} of epoch {epoch + 1}",
        "go on with --resume, which examines their images"
        if current_record() is not None
        else "alexnet-fast scan names files that a decoder dies of; for want of memory give fewer --workers",
    )


def _end_with(leash: Connection) -> None:
    """Waits until the other end is closed, and ends this process."""
    leash.poll(None)
    os._exit(0)


@dataclasses.dataclass(frozen=True)
class _Row:
    """One image, decoded or not."""

    index: int
    random_params: Floats
    pixels: Pixels | None
    reason: str | None


class _Rows:
    """A batch sampler that gives each image its index, its place and its random parameters.

    So a worker needs no list: that of a million images would be sent to each at every epoch.
    """

    def __init__(
        self, images: ImageList, schedule: EpochSampler, spec: AugmentSpec, epoch: int, start: int
    ) -> None:
        self._images, self._schedule, self._spec = images, schedule, spec
        self._epoch, self._start = epoch, start

    def __iter__(self) -> Iterator[list[tuple[int, Location, Floats]]]:
        """Yields batches of (index, place, random_params)."""
        plan: BatchIndices
        for plan in self._schedule.epoch(self._epoch, self._spec, self._start):
            indices = plan.indices.tolist()
            yield list(zip(indices, map(self._images.location, indices), plan.random_params, strict=True))


class _Decoder(Dataset[_Row]):
    """Decodes and cuts one image in a worker process."""

    def __init__(self, encoding: Encoding, spec: AugmentSpec, view: View) -> None:
        self._encoding, self._spec, self._view = encoding, spec, view

    def __getitem__(self, key: tuple[int, Location, Floats]) -> _Row:
        """Returns one image; a bad one carries the reason instead of pixels."""
        index, place, random_params = key
        try:
            image = open_image(place, self._encoding, self._spec.background)
            return _Row(index, random_params, view_of(image, self._spec, self._view, random_params), None)
        except pillow_image.BadImageError as error:
            return _Row(index, random_params, None, str(error))


def view_of(image: Any, spec: AugmentSpec, view: View, random_params: Floats) -> Pixels:
    """Returns the pixels that a view shows of a decoded image, not normalised yet.

    Args:
        image: A Pillow image, RGB.
        spec: Geometry, of one epoch.
        view: Which part.
        random_params: float32, one row of `plan.BatchIndices.random_params`.

    Returns:
        uint8 (side, side, 3); `side` is `spec.resize` for "square", else `spec.crop`.
    """
    if view == "square":
        return pillow_image.centre_square(image, spec)
    if view == "eval":
        return pillow_image.centre_crop(image, spec)
    return pillow_image.training_crop(image, spec, random_params)
