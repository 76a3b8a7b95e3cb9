"""How fast pictures reach the network: ours, the plain loader, decoding alone, and what each part costs."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from alexnet_fast.bench import report
from alexnet_fast.bench.turns import Rates, figure, take_turns
from alexnet_fast.data import PictureList
from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.dali_graph import Part, View, build_graph
from alexnet_fast.pipelines.loader import LoaderConfig, make_loader
from alexnet_fast.pipelines.plan import BatchPlan, Schedule
from alexnet_fast.pipelines.spec import AugmentSpec

OURS = "DALI"
PLAIN = "Pillow, DataLoader"
LIMIT = "decoding alone"
_PARTS: tuple[Part, ...] = ("reading", "decoding", "resizing")


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputBench:
    """What `bench input` measures.

    Args:
        pictures: Real pictures.
        spec: The training preprocessing.
        config: Device and threads of our loader.
        batch_size: Pictures a batch.
        runs: Counted epochs of each contestant.

    Raises:
        UserError: There are fewer pictures than a batch, or no run.
    """

    pictures: PictureList
    spec: AugmentSpec
    config: LoaderConfig
    batch_size: int
    runs: int

    def __post_init__(self) -> None:
        if self.runs < 1:
            raise UserError(f"--runs {self.runs} is no run", "give 1 or more", exit_code=2)

    @property
    def schedule(self) -> Schedule:
        """The epochs that everyone loads."""
        return Schedule(pictures=len(self.pictures), batch_size=self.batch_size, shuffle=True)


def measure_input(bench: InputBench, show: Callable[[], object] = lambda: None) -> dict[str, Any]:
    """Lets everyone load the same epochs in turns.

    Returns:
        The figures of `alexnet-fast bench input --json`, without hardware and versions.
    """
    contestants = {
        OURS: _loader(bench, "dali"),
        PLAIN: _loader(bench, "torch"),
        LIMIT: _stage(bench, "decoding", "square", region=False),
        "up to reading": _stage(bench, "reading", "square"),
        "up to decoding": _stage(bench, "decoding", "train"),
        "up to resizing": _stage(bench, "resizing", "train"),
    }
    rates = take_turns(contestants, bench.runs, show)
    return {
        "loader": "dali",
        "device": bench.config.device.type,
        "threads": bench.config.threads,
        "batch_size": bench.batch_size,
        "images": len(bench.pictures),
        **report.main_figure(rates[OURS], "images_per_second"),
        "compared": report.compared(rates, OURS, [PLAIN, LIMIT], "images_per_second"),
        "microseconds_per_image": _costs(rates),
    }


def _costs(rates: Rates) -> dict[str, float]:
    """Returns what each part adds to the time of a picture, in microseconds of the whole machine."""
    ends = [f"up to {part}" for part in _PARTS] + [OURS]
    times = [0.0] + [1e6 / figure(rates[name]).median for name in ends]
    parts = (*_PARTS, "normalising")
    return {part: after - before for part, before, after in zip(parts, times, times[1:], strict=False)}


def _loader(bench: InputBench, kind: str) -> Callable[[int], float]:
    """Returns a contestant: a whole loader."""
    config = dataclasses.replace(bench.config, kind=kind)  # type: ignore[arg-type]
    loader = make_loader(bench.pictures, bench.spec, "train", bench.schedule, config)

    def epoch(number: int) -> float:
        started = time.perf_counter()
        images = sum(len(batch.labels) for batch in loader.epoch(number))
        return images / (time.perf_counter() - started)

    return epoch


def _stage(
    bench: InputBench, part: Part, view: View, *, region: bool | None = None
) -> Callable[[int], float]:
    """Returns a contestant: our graph up to a part of the work."""
    names = [
        np.frombuffer(os.fsencode(bench.pictures.path(index)), np.uint8)
        for index in range(len(bench.pictures))
    ]
    plans: Iterator[BatchPlan] = iter(())

    def batch() -> tuple[list[Any], ...]:
        plan = next(plans)
        files = [names[index] for index in plan.indices.tolist()]
        return (files, list(plan.draws)) if view == "train" else (files,)

    graph = build_graph(
        bench.spec,
        view,
        device="gpu" if bench.config.device.type == "cuda" else "cpu",
        batch_size=bench.batch_size,
        threads=bench.config.threads,
        region=region,
        device_id=bench.config.device.index,
        prefetch=bench.config.prefetch,
        source=batch,
        stop_after=part,
    )

    def epoch(number: int) -> float:
        nonlocal plans
        plans = bench.schedule.epoch(number, bench.spec)
        started = time.perf_counter()
        for _ in range(bench.schedule.steps):
            graph.run()
        rate = bench.schedule.steps * bench.batch_size / (time.perf_counter() - started)
        _end_epoch(graph)
        return rate

    return epoch


def _end_epoch(graph: Any) -> None:
    """Lets a graph notice that its plans are over."""
    try:
        graph.run()
    except StopIteration:
        graph.reset()
