"""Speed of a training step: ours, and the network as it is usually written, on the same noise."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from alexnet_fast.bench.interleave import OnProgress, ignore_progress, run_interleaved
from alexnet_fast.bench.network import with_torch_lrn
from alexnet_fast.bench.report import IMAGES_PER_SECOND, compared, main_figure
from alexnet_fast.bench.synthetic import Repeated, synthetic_batch
from alexnet_fast.models import build_model, input_of
from alexnet_fast.pipelines.loader import Batch, Loader
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.context import TrainContext
from alexnet_fast.training.data import Loaders
from alexnet_fast.training.precision import Precision
from alexnet_fast.training.trainer import Trainer
from alexnet_fast.utils.ranges import check_fields

OURS = "ours"
PLAIN = "plain"

# ILSVRC-2012's, which the figures of the literature are for.
CLASSES = 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepBench:
    """What `bench compute` and `bench train` measure.

    Args:
        config: The training options, with a learning rate at which noise does not diverge.
        precision: How to compute.
        steps: Steps per run; for `bench train` at most an epoch's.
        runs: Counted runs per candidate.

    Raises:
        UserError: A number is outside its range.
    """

    config: TrainConfig
    precision: Precision
    steps: int
    runs: int

    def __post_init__(self) -> None:
        check_fields(self)


def compute_config(model: str, batch_size: int, *, compiled: bool, cuda_graphs: bool) -> TrainConfig:
    """Returns the paper's training options, with a learning rate at which noise does not diverge."""
    return TrainConfig(
        data=Path(),
        run=Path(),
        model=model,
        batch_size=batch_size,
        lr=1e-5,
        compile=compiled,
        cuda_graphs=cuda_graphs,
    )


def measure_compute(bench: StepBench, on_progress: OnProgress = ignore_progress) -> dict[str, Any]:
    """Lets ours and the plain network take the same steps in turns.

    Returns:
        The figures of `alexnet-fast bench compute --json`, without hardware and versions.
    """
    config, precision = bench.config, bench.precision
    side = config.crop or input_of(config.model).crop
    half = precision.dtype is torch.float16
    batch = synthetic_batch(config.batch_size, side, CLASSES, precision.device, half)
    arguments = {"name": config.model, "num_classes": CLASSES, "image_size": side}
    ours = training_candidate(bench, arguments, Repeated(batch, bench.steps), seed=0)
    rates = run_interleaved({OURS: ours, PLAIN: _plain(bench, batch)}, bench.runs, on_progress)
    return {
        "model": config.model,
        "device": str(precision.device),
        "precision": precision.name,
        "threads": torch.get_num_threads(),
        "batch_size": config.batch_size,
        "steps": bench.steps,
        "compiled": config.compile,
        "cuda_graphs": config.cuda_graphs,
        **main_figure(rates[OURS], IMAGES_PER_SECOND),
        "compared": compared(rates, OURS, IMAGES_PER_SECOND),
    }


def training_candidate(
    bench: StepBench, arguments: dict[str, Any], loader: Loader, *, seed: int
) -> Callable[[int], float]:
    """Returns a candidate: the training loop of `train` over a loader, an epoch per turn.

    Args:
        bench: The training options.
        arguments: Of `build_model`.
        loader: Yields the batches.
        seed: Seed of the weights.
    """
    device = bench.precision.device
    torch.manual_seed(seed)
    net = build_model(arguments).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    context = TrainContext(config=bench.config, precision=bench.precision)
    trainer = Trainer(net, Loaders(loader, loader), context)

    def run(_: int) -> float:
        synchronize(device)
        started = time.perf_counter()
        trainer.train_epoch()
        synchronize(device)
        seconds = time.perf_counter() - started
        trainer.position.next_epoch()
        return trainer.steps * trainer.config.batch_size / seconds

    return run


def plain_net(model: str, side: int) -> nn.Module:
    """Returns a network of ours as it is usually written: torch's LRN, contiguous, not compiled."""
    return with_torch_lrn(build_model({"name": model, "num_classes": CLASSES, "image_size": side}))


def _plain(bench: StepBench, batch: Batch) -> Callable[[int], float]:
    """Returns a candidate: the plain network and torch's default SGD, in the same precision."""
    device, precision, config = bench.precision.device, bench.precision, bench.config
    net = plain_net(config.model, batch.images.shape[-1]).to(device)
    images = batch.images.contiguous()
    optimizer = torch.optim.SGD(
        net.parameters(), lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay
    )
    scaler = precision.scaler()

    def run(_: int) -> float:
        synchronize(device)
        started = time.perf_counter()
        for _step in range(bench.steps):
            with precision.autocast():
                loss = functional.cross_entropy(net(images).float(), batch.labels)
            optimizer.zero_grad()
            scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            scaler.step(optimizer)
            scaler.update()
        synchronize(device)
        return bench.steps * len(batch.labels) / (time.perf_counter() - started)

    return run


def synchronize(device: torch.device) -> None:
    """Waits until a GPU has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
