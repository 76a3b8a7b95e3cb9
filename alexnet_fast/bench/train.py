"""Training speed and its bottleneck: input alone, computation alone, and training."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from alexnet_fast.bench.compute import StepBench, synchronize, training_candidate
from alexnet_fast.bench.interleave import OnProgress, Rates, ignore_progress, run_interleaved, summarize
from alexnet_fast.bench.report import main_figure
from alexnet_fast.bench.synthetic import First, Repeated
from alexnet_fast.models import input_of
from alexnet_fast.pipelines.loader import Loader
from alexnet_fast.training.context import TrainContext
from alexnet_fast.training.data import make_loaders, make_spec, open_splits

PARTS = ("input", "compute", "train")


def measure_train(bench: StepBench, on_progress: OnProgress = ignore_progress) -> dict[str, Any]:
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
    fixed = batch._replace(images=batch.images.clone(memory_format=torch.preserve_format))
    candidates = {
        "input": _input(loader, device),
        "compute": training_candidate(bench, arguments, Repeated(fixed, len(loader)), seed=config.seed),
        "train": training_candidate(bench, arguments, loader, seed=config.seed),
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
    """Returns the highest rate that two parts allow together, in images/s.

    Args:
        input_rate: Rate of the input alone.
        compute_rate: Rate of the computation alone.
        shared: Whether both use the same cores, so that their times add up; else the slower one decides.
    """
    return 1.0 / (1.0 / input_rate + 1.0 / compute_rate) if shared else min(input_rate, compute_rate)


def _figures(rates: Rates, *, shared: bool) -> dict[str, Any]:
    """Compares, run by run, the rate of training with the rate that its parts allow."""
    allowed = [together(i, c, shared=shared) for i, c in zip(rates["input"], rates["compute"], strict=True)]
    reached = summarize([mine / most for mine, most in zip(rates["train"], allowed, strict=True)])
    medians = {part: summarize(rates[part]).median for part in PARTS}
    return {
        **main_figure(rates["train"], "train"),
        **medians,
        "bound_by": "input" if medians["input"] < medians["compute"] else "compute",
        "allowed": summarize(allowed).median,
        "of_allowed": reached.median,
        "of_allowed_low": reached.low,
        "of_allowed_high": reached.high,
        "cores_shared": shared,
    }


def _input(loader: Loader, device: torch.device) -> Callable[[int], float]:
    """Returns a candidate that loads the batches and does nothing with them."""

    def run(number: int) -> float:
        started = time.perf_counter()
        images = sum(len(batch.labels) for batch in loader.epoch(number))
        synchronize(device)
        return images / (time.perf_counter() - started)

    return run
