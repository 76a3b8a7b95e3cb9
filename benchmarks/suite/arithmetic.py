"""Operations and bytes of a network, which relate its speed to the machine's roof."""

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

# A training step computes the output, the gradient by the maps and that by the weights: three times the work
# of a prediction. (The gradient by the images is counted but not needed: 5 % of AlexNet's step.)
_TRAINING = 3
# Passes over the weights that SGD with momentum adds: gradient, momentum and weight read, two written.
_UPDATE_PASSES = 5
_FLOAT = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Point:
    """A measured speed under the roof.

    Args:
        name: Name of the row.
        batch: Batch size.
        images_per_second: The measured rate.
        gflops: The rate in 10^9 operations per second.
        intensity: Operations per byte; a tensor counts once when a layer reads it and once when it writes it.
        share: Fraction of the roof at this intensity.
    """

    name: str
    batch: int
    images_per_second: float
    gflops: float
    intensity: float
    share: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Roof:
    """The limits of the machine.

    Args:
        gflops: The fastest of multiplying (on a GPU in float16 too) and convolving, in 10^9 operations a
            second.
        gb_per_second: Rate of copying, in 10^9 bytes per second.
    """

    gflops: float
    gb_per_second: float

    def at(self, intensity: float) -> float:
        """Returns the highest rate, in 10^9 operations per second, at a number of operations per byte."""
        return min(self.gflops, self.gb_per_second * intensity)


def roof(results: Results, device: Device) -> Roof | None:
    """Returns the measured roof, or None."""
    measured = of_kind(results, ROOFLINE, device)
    if not measured:
        return None
    figures = measured[0][1]
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
    """Relates a speed to the roof.

    Args:
        name: Name of the row.
        batch: Batch size.
        rate: Images per second.
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
    """Returns the operations and bytes of a network."""
    return _Work(model)


class _Work:
    """Operations and bytes of a network in float32.

    Args:
        model: Its name.
    """

    def __init__(self, model: str) -> None:
        # Only shapes are needed.
        with torch.device("meta"):
            net = create_model(model)
        table = layer_table(net)
        shapes: list[tuple[Any, ...]] = [(3, net.input.crop, net.input.crop)]
        shapes += [row.output_shape for row in table]
        self._operations = 2 * sum(row.macs for row in table)
        self._weights = _FLOAT * sum(row.parameters for row in table)
        # Each layer reads the output of the one before.
        self._maps = _FLOAT * sum(math.prod(a) + math.prod(b) for a, b in itertools.pairwise(shapes))

    def of_answer(self, batch: int) -> tuple[float, float]:
        """Returns operations and bytes of a batch of predictions."""
        return float(batch * self._operations), float(self._weights + batch * self._maps)

    def of_step(self, batch: int) -> tuple[float, float]:
        """Returns operations and bytes of a training step."""
        operations, moved = self.of_answer(batch)
        return _TRAINING * operations, _TRAINING * moved + _UPDATE_PASSES * self._weights
