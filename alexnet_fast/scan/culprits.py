"""Which images of a batch a decoder dies of: the batch is decoded again, in worker processes."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from alexnet_fast.data import ImageList
from alexnet_fast.pipelines.decoding_record import OpenBatches
from alexnet_fast.pipelines.sampler import BatchIndices, EpochSampler
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.scan import batch_probe
from alexnet_fast.scan.batch_probe import BatchProbe, decode
from alexnet_fast.scan.worker_pool import MEMORY_BYTES, TaskFailed, run_tasks

Key = TypeVar("Key", bound=Hashable)

# Parts that a batch is divided into: one worker dies at a time, and each takes seconds to start anew.
_PARTS = 8
# A group that a decoder dies of together may be left out where it is not larger than this.
_MOST_TOGETHER = 8
# Of a batch that a process did die of.
_REPEATS_OF_DEADLY = 8
_MOST_WORKERS = 4
_SECONDS_FOR_ONE, _SECONDS_FOR_A_BATCH = 60.0, 600.0


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Suspect:
    """A batch that was being decoded when a process died.

    Args:
        images: The list that it is of.
        plan: Its images and their random numbers.
        loader: What `Loader.describe` said of its loader.
        epoch: Counted from 0.
        step: The batch, counted from 0.
    """

    images: ImageList
    plan: BatchIndices
    loader: dict[str, Any]
    epoch: int
    step: int

    def probe(self, kept: Iterable[int] | None, repeats: int, alone: int | None = None) -> BatchProbe:
        """Returns the task of decoding it, with all images but some in their place left out.

        Args:
            kept: Positions in the batch that are decoded; None for all.
            repeats: How often.
            alone: As for `BatchProbe`.
        """
        listed = self.images.select(self.plan.indices)
        if kept is not None:
            listed = listed.blocking(dict.fromkeys(set(range(len(self.plan))) - set(kept), "left out"))
        plan = BatchIndices(indices=np.arange(len(self.plan)), random_params=self.plan.random_params)
        return BatchProbe(
            loader=self.loader, images=listed, plan=plan, epoch=self.epoch, repeats=repeats, alone=alone
        )


def suspects(found: OpenBatches, images: ImageList) -> Iterator[Suspect]:
    """Yields the batches of a record, as the plan gives them again."""
    sampler = EpochSampler(**found.loader["sampler"])
    plans = sampler.epoch(found.epoch, AugmentSpec.from_dict(found.loader["spec"]), found.first)
    for step, plan in zip(range(found.first, found.end), plans, strict=False):
        yield Suspect(images=images, plan=plan, loader=found.loader, epoch=found.epoch, step=step)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """What was found out about a batch.

    Args:
        suspect: The batch.
        culprits: Index in the image list and reason of each image that a decoder dies of.
        unexplained: How a process died of the batch, where that is the fault of none of its images alone.
    """

    suspect: Suspect
    culprits: dict[int, str]
    unexplained: str | None = None


def find_culprits(
    batches: Sequence[Suspect], *, repeats: int, on_death: Callable[[Suspect, str], None]
) -> list[Finding]:
    """Decodes batches in worker processes, and looks for the images in those that a process dies of.

    Args:
        batches: To decode.
        repeats: How often each.
        on_death: Told of each batch that a process died of, and how.

    Raises:
        UserError: No worker can be started.
    """
    deadly = _deadly({batch: batch.probe(None, repeats) for batch in batches})
    found = []
    for batch, how in deadly.items():
        on_death(batch, how)
        found.append(_examine(batch, how, max(repeats, _REPEATS_OF_DEADLY)))
    return found


def _examine(batch: Suspect, how: str, repeats: int) -> Finding:
    """Finds the culprits of one batch: those that kill alone, then those that kill in a batch."""
    everything = range(len(batch.plan))
    culprits = _deadly({row: batch.probe(None, 1, row) for row in everything}, alone=True)
    if len(culprits) == len(batch.plan) > _MOST_TOGETHER:
        return Finding(suspect=batch, culprits={}, unexplained=f"{culprits[0]}, of any image alike")
    while left := _dies_of(batch, rest := [row for row in everything if row not in culprits], repeats):
        rows = _narrowed(batch, rest, repeats)
        if not rows or len(rows) > _MOST_TOGETHER:
            break
        culprits |= dict.fromkeys(rows, f"{left} in a batch with others")
    indices = batch.plan.indices.tolist()
    if not culprits and not left:
        left = f"{how}, and not again"
    return Finding(
        suspect=batch, culprits={indices[row]: why for row, why in culprits.items()}, unexplained=left
    )


def _dies_of(batch: Suspect, rows: list[int], repeats: int) -> str | None:
    """Returns how a process dies of some images in the batch, None where it does not."""
    return _deadly({0: batch.probe(rows, repeats)}).get(0)


def _narrowed(batch: Suspect, rows: list[int], repeats: int) -> list[int]:
    """Returns the images to leave out of a deadly batch: one at best, all where none can be told apart."""
    some = _deadly_part(batch, rows, repeats) or rows
    if len(some) == 1:
        return some
    return (
        _saving_part(batch, some, some, repeats, alone=True)
        or _saving_part(batch, some, rows, repeats, alone=True)
        or _saving_part(batch, some, rows, repeats, alone=False)
        or some
    )


def _deadly_part(batch: Suspect, rows: list[int], repeats: int) -> list[int]:
    """Returns the fewest images of which a process still dies where the rest of the batch is left out."""
    part: list[int] = []
    while len(rows) > 1:
        parts = _divided(rows)
        deadly = _deadly({at: batch.probe(some, repeats) for at, some in enumerate(parts)})
        if not deadly:
            break
        part = rows = parts[min(deadly)]
    return part


def _saving_part(batch: Suspect, some: list[int], rows: list[int], repeats: int, *, alone: bool) -> list[int]:
    """Returns the fewest images without which no process dies of the others.

    Args:
        batch: The batch.
        some: Where they are looked for.
        rows: All that are decoded, but for those left out.
        repeats: How often.
        alone: Whether it has to be one part that saves; else the first is taken of several, each of which is
            deadly only together with another one.
    """
    part = some
    while len(part) > 1:
        parts = _divided(part)
        rest = ([row for row in rows if row not in excluded] for excluded in parts)
        deadly = _deadly({at: batch.probe(kept, repeats) for at, kept in enumerate(rest)})
        saving = [excluded for at, excluded in enumerate(parts) if at not in deadly]
        if not saving or (alone and len(saving) > 1):
            break
        part = saving[0]
    return [] if len(part) == len(some) else part


def _divided(rows: list[int]) -> list[list[int]]:
    """Divides images into a few parts."""
    return [part.tolist() for part in np.array_split(rows, min(_PARTS, len(rows)))]


def _deadly(probes: dict[Key, BatchProbe], *, alone: bool = False) -> dict[Key, str]:
    """Decodes in worker processes; returns how they died, of the probes that they died of.

    An image alone is tried twice, since another program may have killed its worker; a batch may be deadly
    only now and then, and is so once.
    """
    names = {probe: key for key, probe in probes.items()}
    on_cpu = all(probe.loader["config"]["device"] == "cpu" for probe in names)
    results = run_tasks(
        decode,
        list(names),
        workers=max(1, min(_MOST_WORKERS, os.cpu_count() or 1)),
        seconds=_SECONDS_FOR_ONE if alone else _SECONDS_FOR_A_BATCH,
        deaths=2 if alone else 1,
        # CUDA maps far more than it takes, a batch takes more than an image; and CUDA survives no fork.
        memory=MEMORY_BYTES if alone and on_cpu else None,
        preload=_modules(names) if on_cpu else (),
    )
    lost = {names[probe]: found.reason for probe, found in results if isinstance(found, TaskFailed)}
    return {key: lost[key] for key in probes if key in lost}


def _modules(probes: Iterable[BatchProbe]) -> list[str]:
    """Returns what takes long to import of what decodes."""
    kinds = {probe.loader["config"]["kind"] for probe in probes}
    return [batch_probe.__name__, *(["alexnet_fast.pipelines.dali.loader"] if "dali" in kinds else [])]
