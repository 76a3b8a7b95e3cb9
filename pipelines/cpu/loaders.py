"""Loaders without DALI, with the same epochs: raw arrays read by threads, images decoded by Pillow.

In both a batch passes fetch -> locate -> decode -> finish. `ArrayLoader` shares `prefetch` and `cpu.finish`
with DALI's loader. In `TorchLoader` a worker process fetches, decodes and cuts each image; the main process
finishes.
"""

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
from alexnet_fast.pipelines.cpu.finish import Postprocessor, changes_of, normalize
from alexnet_fast.pipelines.cpu.pillow import BadImageError, centre_crop, centre_square, training_crop
from alexnet_fast.pipelines.crop_windows import View
from alexnet_fast.pipelines.decoding_record import DecoderDeathError, current_record
from alexnet_fast.pipelines.io import open_image
from alexnet_fast.pipelines.loader import Batch, Loader
from alexnet_fast.pipelines.prefetch import Prefetcher
from alexnet_fast.pipelines.sampler import BatchIndices, EpochSampler
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.utils.arrays import Floats, Pixels
from alexnet_fast.utils.interrupts import starting_processes


class ArrayLoader(Loader):
    """Batches of regions that some threads read and others finish; arguments as for `Loader`."""

    @functools.cached_property
    def _prefetcher(self) -> Prefetcher:
        """Reads what the view shows of each array."""
        return Prefetcher(self.images, self.view, threads=self.config.workers, align=True)

    @functools.cached_property
    def _postprocessor(self) -> Postprocessor:
        """Finishes what was read."""
        return Postprocessor(self.view, self.config)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yields one batch per step, from step `start` on."""
        return self._recorded(epoch, start, self._batches(epoch, start))

    def _batches(self, epoch: int, start: int) -> Iterator[Batch]:
        """Reads and finishes an epoch."""
        plans = self.sampler.epoch(epoch, self.spec, start)
        for batch in self._prefetcher.batches(plans, self.spec_in(epoch)):
            images = self._postprocessor.finish(batch.inputs["pixels"], batch)
            yield self._drop_bad(self._labelled(images, batch.plan.indices), batch.errors)


# Workers ignore these: the main process ends its step when its whole group is told to stop.
_IGNORED_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class TorchLoader(Loader):
    """Batches decoded by Pillow; arguments as for `Loader`."""

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yields one batch per step, from step `start` on."""
        alive, held = _worker_context().Pipe(duplex=False)
        batches = self._batches(epoch, start, alive)
        # Before the garbage collector takes a pass that was left, and at Python's end: torch's queues are
        # closed by then, so that its workers do not hear of it, and they do not listen to its SIGTERM.
        weakref.finalize(batches, held.close)
        return self._recorded(epoch, start, batches)

    @property
    def ahead(self) -> int:
        """Largest number of batches begun before the current one is handed out."""
        return self.config.prefetch * self.config.workers

    def _batches(self, epoch: int, start: int, alive: Connection) -> Iterator[Batch]:
        """Runs workers as long as batches are consumed and the other end of `alive` is held."""
        spec = self.spec_in(epoch)
        loader = DataLoader(
            _DecodedImages(self.images.encoding, spec, self.view),
            batch_sampler=_BatchSampler(self.images, self.sampler, self.spec, epoch, start),
            collate_fn=list,
            # Its own generator: the default one would take a number from those that dropout draws.
            generator=torch.Generator(),
            num_workers=max(1, min(self.config.workers, self.sampler.steps - start)),
            prefetch_factor=self.config.prefetch,
            multiprocessing_context=_worker_context(),
            worker_init_fn=functools.partial(_begin_worker, alive),
        )
        with starting_processes(*_IGNORED_SIGNALS):
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
            yield self._finish(rows, spec)

    def _finish(self, rows: list[_DecodedImage], spec: AugmentSpec) -> Batch:
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
            images = normalize(images, changes, spec)
            images = images.to(torch.float16) if self.config.half else images
        return self._labelled(images.to(self.config.device), indices)


def _worker_context() -> multiprocessing.context.ForkServerContext:
    """Returns how workers are started: forked from a clean process that has this module loaded.

    A worker forked from this process would inherit its DALI pipelines and hang in their destructors.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _begin_worker(alive: Connection, worker: int) -> None:
    """Makes a worker ignore a signal to its whole group: the main process ends its step first.

    Args:
        alive: Closed at its other end when the pass is over or the main process is gone; torch's own check of
            the parent sees the server that forks.
        worker: Its number among the workers.
    """
    del worker
    for number in (signal.SIGINT, *_IGNORED_SIGNALS):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    # Torch's own handler would print a line before our one sentence.
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)
    threading.Thread(target=_exit_when_closed, args=(alive,), name="exit with the pass", daemon=True).start()


def _death(workers: Any) -> str | None:
    """Returns how a worker of a torch DataLoader's iterator died; None if none did."""
    codes = (worker.exitcode for worker in getattr(workers, "_workers", ()))
    code: int | None = next((code for code in codes if code), None)
    if code is None or code > 0:
        return None if code is None else f"ended with exit code {code}"
    known = {int(number): number.name for number in signal.Signals}
    return f"was killed by {known.get(-code, f'signal {-code}')}"


def _died(how: str, epoch: int, first: int, end: int) -> DecoderDeathError:
    """Returns the error for a worker that died.

    Args:
        how: How it died.
        epoch: Counted from 0.
        first: The batch that was waited for, counted from 0.
        end: One past the last batch that a worker may have begun.
    """
    which = f"batch {end}" if end == first + 1 else f"one of the batches {first + 1} to {end}"
    return DecoderDeathError(
        f"a worker process of the Pillow loader {how}",
        f"{which} of epoch {epoch + 1}",
        "go on with --resume, which examines their images"
        if current_record() is not None
        else "alexnet-fast scan names files that crash a decoder; if memory is short, give fewer --workers",
    )


def _exit_when_closed(alive: Connection) -> None:
    """Waits until the other end is closed, and ends this process."""
    alive.poll(None)
    os._exit(0)


@dataclasses.dataclass(frozen=True)
class _DecodedImage:
    """One image from a worker: its pixels, or the reason why it is bad."""

    index: int
    random_params: Floats
    pixels: Pixels | None
    reason: str | None


class _BatchSampler:
    """Sends index, location and random parameters of each image to the workers.

    So a worker needs no list: that of a million images would be sent to each in every epoch.
    """

    def __init__(
        self, images: ImageList, sampler: EpochSampler, spec: AugmentSpec, epoch: int, start: int
    ) -> None:
        self._images, self._sampler, self._spec = images, sampler, spec
        self._epoch, self._start = epoch, start

    def __iter__(self) -> Iterator[list[tuple[int, Location, Floats]]]:
        """Yields batches of (index, location, random_params)."""
        plan: BatchIndices
        for plan in self._sampler.epoch(self._epoch, self._spec, self._start):
            indices = plan.indices.tolist()
            yield list(zip(indices, map(self._images.location, indices), plan.random_params, strict=True))


class _DecodedImages(Dataset[_DecodedImage]):
    """Fetches, decodes and cuts one image in a worker process."""

    def __init__(self, encoding: Encoding, spec: AugmentSpec, view: View) -> None:
        self._encoding, self._spec, self._view = encoding, spec, view

    def __getitem__(self, key: tuple[int, Location, Floats]) -> _DecodedImage:
        """Returns one image; a bad one carries the reason instead of pixels."""
        index, location, random_params = key
        try:
            image = open_image(location, self._encoding, self._spec.background)
            pixels = view_of(image, self._spec, self._view, random_params)
            return _DecodedImage(index, random_params, pixels, None)
        except BadImageError as error:
            return _DecodedImage(index, random_params, None, str(error))


def view_of(image: Any, spec: AugmentSpec, view: View, random_params: Floats) -> Pixels:
    """Cuts what a view shows out of a decoded image; not normalised yet.

    Args:
        image: A Pillow image, RGB.
        spec: Geometry, of one epoch.
        view: Which part.
        random_params: float32, one row of `sampler.BatchIndices.random_params`.

    Returns:
        uint8 (side, side, 3); `side` is `spec.resize` for "square", else `spec.crop`.
    """
    if view == "square":
        return centre_square(image, spec)
    if view == "eval":
        return centre_crop(image, spec)
    return training_crop(image, spec, random_params)
