"""How fast training goes, and what holds it back: input alone, computation alone, and both together."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import torch

from alexnet_fast.bench.compute import timed_epoch
from alexnet_fast.bench.interleave import Figure, Rates, figure, run_interleaved
from alexnet_fast.bench.report import main_figure
from alexnet_fast.bench.synthetic import First, Repeated
from alexnet_fast.errors import UserError
from alexnet_fast.models import build_model, input_of
from alexnet_fast.pipelines.loader import Loader
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.context import TrainContext
from alexnet_fast.training.data import Loaders, make_loaders, make_spec, open_splits
from alexnet_fast.training.precision import Precision
from alexnet_fast.training.trainer import Trainer

PARTS = ("input", "compute", "train")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainBench:
    """What `bench train` measures.

    Args:
        config: Of the training.
        precision: How to compute.
        steps: Steps a run, at most an epoch's.
        runs: Counted runs of each.

    Raises:
        UserError: There is no run or no step.
    """

    config: TrainConfig
    precision: Precision
    steps: int
    runs: int

    def __post_init__(self) -> None:
        for name in ("steps", "runs"):
            if getattr(self, name) < 1:
                raise UserError(
                    f"--{name} {getattr(self, name)} measures nothing", "give 1 or more", exit_code=2
                )


def measure_train(bench: TrainBench, on_progress: Callable[[], object] = lambda: None) -> dict[str, Any]:
    """Lets the three take turns on the same epochs.

    Returns:
        The figures of `alexnet-fast bench train --json`, without hardware and versions.
    """
    config, device = bench.config, bench.precision.device
    splits = open_splits(config)
    context = TrainContext(config=config, precision=bench.precision)
    spec = make_spec(context, splits, input_of(config.model))
    real = make_loaders(context, splits, spec).train
    arguments = {"name": config.model, "num_classes": len(splits.classes), "image_size": spec.crop}
    loader = First(real, bench.steps)
    batch = next(real.epoch(0))
    kept = batch._replace(images=batch.images.clone(memory_format=torch.preserve_format))
    candidates = {
        "input": _input(loader, device),
        "compute": _training(bench, arguments, Repeated(kept, len(loader))),
        "train": _training(bench, arguments, loader),
    }
    rates = run_interleaved(candidates, bench.runs, on_progress)
    return {
        **_figures(rates, shared=device.type == "cpu"),
        "model": config.model,
        "device": str(device),
        "precision": bench.precision.name,
        "workers": config.workers,
        "batch_size": config.batch_size,
        "images": len(splits.train),
        "steps": len(loader),
    }


def together(input_rate: float, compute_rate: float, *, shared: bool) -> float:
    """Returns the most that two parts allow together, in images/s.

    Args:
        input_rate: Of the input alone.
        compute_rate: Of the computation alone.
        shared: Whether both need the same cores, so that their times add up; else the slower one decides.
    """
    return 1.0 / (1.0 / input_rate + 1.0 / compute_rate) if shared else min(input_rate, compute_rate)


def _figures(rates: Rates, *, shared: bool) -> dict[str, Any]:
    """Compares, run by run, what training reaches with what its parts allow."""
    allowed = [together(i, c, shared=shared) for i, c in zip(rates["input"], rates["compute"], strict=True)]
    reached: Figure = figure([mine / most for mine, most in zip(rates["train"], allowed, strict=True)])
    medians = {part: figure(rates[part]).median for part in PARTS}
    return {
        **medians,
        "bound_by": "input" if medians["input"] < medians["compute"] else "compute",
        "allowed": figure(allowed).median,
        "of_allowed": reached.median,
        "of_allowed_low": reached.low,
        "of_allowed_high": reached.high,
        "cores_shared": shared,
        **{name: value for name, value in main_figure(rates["train"], "train").items() if name != "train"},
    }


def _input(loader: Loader, device: torch.device) -> Callable[[int], float]:
    """Returns a candidate: the batches, and nothing done with them."""

    def run(number: int) -> float:
        started = time.perf_counter()
        images = sum(len(batch.labels) for batch in loader.epoch(number))
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return images / (time.perf_counter() - started)

    return run


def _training(bench: TrainBench, arguments: dict[str, Any], loader: Loader) -> Callable[[int], float]:
    """Returns a candidate: the trainer's own loop over a loader."""
    torch.manual_seed(bench.config.seed)
    net = build_model(arguments)
    net = net.to(device=bench.precision.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    context = TrainContext(config=bench.config, precision=bench.precision)
    trainer = Trainer(net, Loaders(loader, loader), context)
    return lambda _: timed_epoch(trainer)
