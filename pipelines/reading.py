"""What a DALI graph is fed: file names, bytes out of tars, or regions of arrays.

DALI's own readers of tars and arrays follow an order that is fixed when they are built. Ours follow the plan
of the epoch: any permutation, from any step on, without a rebuild; a picture that cannot be read is named.
"""

from __future__ import annotations

import collections
import itertools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal, NamedTuple

import numpy as np

from alexnet_fast.data import PictureList
from alexnet_fast.pipelines.array_window import array_window
from alexnet_fast.pipelines.pillow_image import BadPictureError
from alexnet_fast.pipelines.place_bytes import ArrayFile, read_bytes
from alexnet_fast.pipelines.plan import BatchPlan
from alexnet_fast.pipelines.spec import AugmentSpec

Reading = Literal["files", "bytes", "regions"]
Columns = tuple[list[Any], ...]

# Batches that are read before the graph asks for them.
_AHEAD = 2


class Read(NamedTuple):
    """A batch as the graph takes it.

    Args:
        plan: Of the pictures that could be read.
        columns: The graph's inputs less the draws, each a list of arrays.
        lost: (position in the list, reason) of the others.
    """

    plan: BatchPlan
    columns: Columns
    lost: list[tuple[int, str]]


class Reader:
    """Reads batches for a graph.

    Args:
        pictures: The list.
        spec: Sizes, which decide what is read of an array.
        side: Side of the view in pixels.
        random: Whether the plan's draws place the view.
        threads: That read at the same time.
    """

    def __init__(
        self, pictures: PictureList, spec: AugmentSpec, *, side: int, random: bool, threads: int
    ) -> None:
        self._pictures, self._spec, self._side, self._random = pictures, spec, side, random
        self._threads = threads
        self.kind: Reading = (
            "regions" if pictures.encoding == "array" else "files" if pictures.stores_files else "bytes"
        )
        self._one: Callable[[int, Any], tuple[Any, ...]] = {
            "files": self._name,
            "bytes": self._bytes,
            "regions": self._region,
        }[self.kind]

    def batches(self, plans: Iterator[BatchPlan]) -> Iterator[Read]:
        """Reads the batches of plans, a little ahead of who takes them."""
        if self.kind == "files":
            yield from map(self.read, plans)
            return
        with ThreadPoolExecutor(self._threads, "reading") as pool:
            flying: collections.deque[tuple[BatchPlan, list[Future[list[Any]]]]] = collections.deque()
            for plan in plans:
                flying.append((plan, self._start(pool, plan)))
                if len(flying) > _AHEAD:
                    yield _joined(*flying.popleft())
            while flying:
                yield _joined(*flying.popleft())

    def read(self, plan: BatchPlan) -> Read:
        """Reads one batch."""
        return _gathered(plan, self._some(plan, slice(None)))

    def _start(self, pool: ThreadPoolExecutor, plan: BatchPlan) -> list[Future[list[Any]]]:
        """Hands out a batch to all threads."""
        ends = np.linspace(0, len(plan), self._threads + 1).astype(int).tolist()
        return [pool.submit(self._some, plan, slice(begin, end)) for begin, end in itertools.pairwise(ends)]

    def _some(self, plan: BatchPlan, rows: slice) -> list[Any]:
        """Reads some pictures of a batch; each becomes the graph's inputs, or the reason why it cannot."""
        found: list[Any] = []
        for index, draws in zip(plan.indices[rows].tolist(), plan.draws[rows], strict=True):
            try:
                found.append(self._one(index, draws))
            except BadPictureError as error:  # noqa: PERF203 - each picture is read by itself
                found.append(str(error))
        return found

    def _name(self, index: int, _: Any) -> tuple[Any, ...]:
        """Returns a file's name; DALI's threads read the file."""
        return (np.frombuffer(os.fsencode(self._pictures.path(index)), np.uint8),)

    def _bytes(self, index: int, _: Any) -> tuple[Any, ...]:
        """Returns an encoded picture."""
        return (np.frombuffer(read_bytes(self._pictures.place(index)), np.uint8),)

    def _region(self, index: int, draws: Any) -> tuple[Any, ...]:
        """Returns what the view shows of an array, and where in it the view lies."""
        with ArrayFile(self._pictures.place(index)) as array:
            draws = draws if self._random else None
            window = array_window(array.shape(), self._spec.resize, self._side, draws)
            return array.region(window.start, window.end), window.view


def _joined(plan: BatchPlan, parts: list[Future[list[Any]]]) -> Read:
    """Waits for a batch."""
    return _gathered(plan, [picture for part in parts for picture in part.result()])


def _gathered(plan: BatchPlan, found: list[Any]) -> Read:
    """Sorts what was read from what could not be."""
    good = [position for position, inputs in enumerate(found) if not isinstance(inputs, str)]
    lost = [
        (int(plan.indices[position]), inputs)
        for position, inputs in enumerate(found)
        if isinstance(inputs, str)
    ]
    columns = tuple(map(list, zip(*(found[position] for position in good), strict=True)))
    kept = plan if not lost else BatchPlan(indices=plan.indices[good], draws=plan.draws[good])
    return Read(kept, columns, lost)
