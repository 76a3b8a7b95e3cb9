"""How fast a training step computes: ours, and the net as it is usually written, on the same noise."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from alexnet_fast.bench.interleave import run_interleaved
from alexnet_fast.bench.report import compared, main_figure
from alexnet_fast.bench.synthetic import Repeated, synthetic_batch
from alexnet_fast.errors import UserError
from alexnet_fast.models import LocalResponseNorm, build_model, input_of
from alexnet_fast.pipelines.loader import Batch
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.context import TrainContext
from alexnet_fast.training.data import Loaders
from alexnet_fast.training.precision import Precision
from alexnet_fast.training.trainer import Trainer

OURS = "ours"
PLAIN = "plain"
UNIT = "images_per_second"

# ILSVRC-2012's, which the figures of the literature are for.
CLASSES = 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComputeBench:
    """What `bench compute` measures.

    Args:
        config: Model, batch size, compile, CUDA graphs; a rate that noise does not diverge at.
        precision: Of both.
        steps: Steps a run.
        runs: Counted runs of each.

    Raises:
        UserError: There is no run, no step or no image.
    """

    config: TrainConfig
    precision: Precision
    steps: int
    runs: int

    def __post_init__(self) -> None:
        if self.config.batch_size < 1:
            raise UserError(
                f"--batch-size {self.config.batch_size} is not a size", "give 1 or more", exit_code=2
            )
        for name in ("steps", "runs"):
            if getattr(self, name) < 1:
                raise UserError(
                    f"--{name} {getattr(self, name)} measures nothing", "give 1 or more", exit_code=2
                )


def compute_config(model: str, batch_size: int, *, compiled: bool, cuda_graphs: bool) -> TrainConfig:
    """Returns the training options that are measured: the paper's, at a rate that noise survives."""
    return TrainConfig(
        data=Path(),
        run=Path(),
        model=model,
        batch_size=batch_size,
        lr=1e-5,
        compile=compiled,
        cuda_graphs=cuda_graphs,
    )


def measure_compute(bench: ComputeBench, on_progress: Callable[[], object] = lambda: None) -> dict[str, Any]:
    """Lets ours and the plain net take the same steps in turns.

    Returns:
        The figures of `alexnet-fast bench compute --json`, without hardware and versions.
    """
    config = bench.config
    side = config.crop or input_of(config.model).crop
    half = bench.precision.dtype is torch.float16
    batch = synthetic_batch(config.batch_size, side, CLASSES, bench.precision.device, half)
    candidates = {OURS: _ours(bench, batch), PLAIN: _plain(bench, batch)}
    rates = run_interleaved(candidates, bench.runs, on_progress)
    return {
        "model": config.model,
        "device": str(bench.precision.device),
        "precision": bench.precision.name,
        "threads": torch.get_num_threads(),
        "batch_size": config.batch_size,
        "steps": bench.steps,
        "compiled": config.compile,
        "cuda_graphs": config.cuda_graphs,
        **main_figure(rates[OURS], UNIT),
        "compared": compared(rates, OURS, [PLAIN], UNIT),
    }


def make_trainer(config: TrainConfig, precision: Precision, batch: Batch, steps: int) -> Trainer:
    """Makes a trainer as `train` does, that gets one batch again and again."""
    torch.manual_seed(0)
    net = build_model({"name": config.model, "num_classes": CLASSES, "image_size": batch.images.shape[-1]})
    net = net.to(device=precision.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    loader = Repeated(batch, steps)
    return Trainer(net, Loaders(loader, loader), TrainContext(config=config, precision=precision))


def timed_epoch(trainer: Trainer) -> float:
    """Trains for an epoch and returns the images a second."""
    device = trainer.context.device
    _wait_for(device)
    started = time.perf_counter()
    trainer.train_epoch()
    _wait_for(device)
    seconds = time.perf_counter() - started
    trainer.position.next_epoch()
    return trainer.steps * trainer.config.batch_size / seconds


def _ours(bench: ComputeBench, batch: Batch) -> Callable[[int], float]:
    """Returns a candidate: the trainer's own loop."""
    trainer = make_trainer(bench.config, bench.precision, batch, bench.steps)
    return lambda _: timed_epoch(trainer)


class PlainNorm(nn.Module):
    """Local response normalisation by torch's own function."""

    def __init__(self, like: LocalResponseNorm) -> None:
        super().__init__()
        self.like = like

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns x, (N, C, H, W), normalised."""
        like = self.like
        return functional.local_response_norm(x, like.size, like.alpha, like.beta, like.k)


def plain_net(model: str, side: int) -> nn.Module:
    """Returns a network of ours as it is usually written: torch's LRN, contiguous, not compiled."""
    net = build_model({"name": model, "num_classes": CLASSES, "image_size": side})
    for name, layer in list(net.named_children()):
        if isinstance(layer, LocalResponseNorm):
            setattr(net, name, PlainNorm(layer))
    return net


def _plain(bench: ComputeBench, batch: Batch) -> Callable[[int], float]:
    """Returns a candidate: the plain net and torch's SGD as it comes, in the same precision."""
    device, precision = bench.precision.device, bench.precision
    net = plain_net(bench.config.model, batch.images.shape[-1]).to(device)
    images = batch.images.contiguous()
    config = bench.config
    optimizer = torch.optim.SGD(
        net.parameters(), lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay
    )
    scaler = precision.scaler()

    def run(_: int) -> float:
        _wait_for(device)
        started = time.perf_counter()
        for _step in range(bench.steps):
            with precision.autocast():
                loss = functional.cross_entropy(net(images).float(), batch.labels)
            optimizer.zero_grad()
            scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            scaler.step(optimizer)
            scaler.update()
        _wait_for(device)
        return bench.steps * len(batch.labels) / (time.perf_counter() - started)

    return run


def _wait_for(device: torch.device) -> None:
    """Waits until a GPU has done everything it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
