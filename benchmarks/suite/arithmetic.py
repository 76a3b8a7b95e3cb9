"""How much a network computes and moves: what places its speed under the machine's roof."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from typing import Any

import torch

from alexnet_fast.models import create_model, layer_table
from benchmarks.suite.parts import ROOFLINE, Device
from benchmarks.suite.rows import Results, compute_by_batch, of_kind, single_crop_rates

# A training step computes the answer, the gradient by the maps and that by the weights: three times the work
# of an answer. (The gradient by the images is counted and not needed: 5 % of AlexNet's step.)
_TRAINING = 3
# Passes over the weights that SGD with momentum adds: gradient, momentum and weight read, two written.
_UPDATE_PASSES = 5
_FLOAT = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Point:
    """A measured speed under the roof.

    Args:
        name: What ran.
        batch: Images at once.
        images_per_second: Measured.
        gflops: 10^9 operations a second that this is.
        intensity: Operations a byte; a tensor counts once when a layer reads it and once when it writes it.
        share: Of what the roof allows at this intensity.
    """

    name: str
    batch: int
    images_per_second: float
    gflops: float
    intensity: float
    share: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Roof:
    """What the machine can do.

    Args:
        gflops: The fastest of multiplying (on a GPU in float16 too) and convolving, in 10^9 operations a
            second.
        gb_per_second: Of copying, in 10^9 bytes a second.
    """

    gflops: float
    gb_per_second: float

    def at(self, intensity: float) -> float:
        """Returns the most operations, in 10^9 a second, at a number of operations a byte."""
        return min(self.gflops, self.gb_per_second * intensity)


def roof(results: Results, device: Device) -> Roof | None:
    """Returns the roof that was measured, or None."""
    found = of_kind(results, ROOFLINE, device)
    if not found:
        return None
    figures = found[0][1]
    peaks = [row["median"] for name, row in figures.items() if name.endswith("_gflops")]
    return Roof(gflops=max(peaks), gb_per_second=figures["copy_gb_per_second"]["median"])


def points(results: Results, device: Device) -> list[Point]:
    """Returns training steps and one-crop answers, by batch size; empty without a roof."""
    over = roof(results, device)
    if over is None:
        return []
    work = _work_of(results["scale"]["model"])
    steps = [(int(size), row["value"]) for size, row in compute_by_batch(results, device).get("ours", [])]
    return [_point("training step", size, rate, work.of_step(size), over) for size, rate in steps] + [
        _point("answer, one crop", size, rate, work.of_answer(size), over)
        for size, rate in single_crop_rates(results, device)
    ]


def _point(name: str, batch: int, rate: float, work: tuple[float, float], over: Roof) -> Point:
    """Places a speed.

    Args:
        name: What ran.
        batch: Images at once.
        rate: Images a second.
        work: Operations and bytes of a batch.
        over: The roof.
    """
    operations, moved = work
    gflops, intensity = operations * rate / batch * 1e-9, operations / moved
    return Point(
        name=name,
        batch=batch,
        images_per_second=rate,
        gflops=gflops,
        intensity=intensity,
        share=gflops / over.at(intensity),
    )


@functools.cache
def _work_of(model: str) -> _Work:
    """Returns what a network of that name computes and moves."""
    return _Work(model)


class _Work:
    """Operations and bytes of a network in float32.

    Args:
        model: Its name.
    """

    def __init__(self, model: str) -> None:
        # Shapes are all that is asked of it.
        with torch.device("meta"):
            net = create_model(model)
        table = layer_table(net)
        shapes: list[tuple[Any, ...]] = [(3, net.input.crop, net.input.crop)]
        shapes += [row.output_shape for row in table]
        self._operations = 2 * sum(row.macs for row in table)
        self._weights = _FLOAT * sum(row.parameters for row in table)
        # Each layer reads what the one before wrote.
        self._maps = _FLOAT * sum(math.prod(a) + math.prod(b) for a, b in itertools.pairwise(shapes))

    def of_answer(self, batch: int) -> tuple[float, float]:
        """Returns operations and bytes of a batch of answers."""
        return float(batch * self._operations), float(self._weights + batch * self._maps)

    def of_step(self, batch: int) -> tuple[float, float]:
        """Returns operations and bytes of a training step."""
        operations, moved = self.of_answer(batch)
        return _TRAINING * operations, _TRAINING * moved + _UPDATE_PASSES * self._weights
