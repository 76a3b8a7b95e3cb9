"""Batch norm's statistics, measured anew with the weights as they are.

The running averages that batch norm keeps while it learns cover some ten batches and lag behind the weights;
where batches differ much, as photographs of bright and dark cells do, accuracy jumps by tenths from epoch to
epoch. A mean over more batches does not (Wu and Johnson 2021, "Rethinking Batch in BatchNorm", section 3).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import nn

from alexnet_fast.pipelines.loader import Batch, Loader
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.distributed.group import DistributedContext
from alexnet_fast.training.precision import Precision
from alexnet_fast.training.resizable import for_sizes


def has_batch_norm(net: nn.Module) -> bool:
    """Tells whether a network keeps statistics of batches."""
    return bool(batch_norm_layers(net))


@torch.no_grad()
def measure_statistics(net: nn.Module, batches: Iterable[Batch], precision: Precision) -> None:
    """Replaces the running averages by means over some batches, each counted alike.

    The rest of the network runs as in evaluation, so what dropout does to the variance is not measured.

    Args:
        net: A network with batch norm; it comes back in evaluation mode.
        batches: Training images, (B, 3, crop, crop).
        precision: How to compute.
    """
    net.eval()
    layers = batch_norm_layers(net)
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        # None makes torch average all batches alike.
        layer.momentum = None
        layer.train()
    for batch in batches:
        if len(batch.labels) > 1:
            with precision.autocast():
                net(batch.images)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    net.eval()


def batch_norm_layers(net: nn.Module) -> list[nn.BatchNorm1d | nn.BatchNorm2d]:
    """Returns the batch norm layers."""
    return [module for module in net.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]


def running(layer: nn.BatchNorm1d | nn.BatchNorm2d) -> list[torch.Tensor]:
    """Returns a layer's running mean and variance, (channels,) each."""
    return [average for average in (layer.running_mean, layer.running_var) if average is not None]


def recalibrate_batch_norm(
    net: nn.Module,
    loader: Loader,
    epoch: int,
    *,
    config: TrainConfig,
    precision: Precision,
    processes: DistributedContext,
    between: Callable[[], None] = lambda: None,
) -> None:
    """Gives all processes the same statistics: measured on an epoch's first batches, or rank 0's.

    Args:
        net: A network; one without batch norm stays as it is.
        loader: Of this process's training images.
        epoch: Whose batches.
        config: How many batches; with 0 nothing is measured.
        precision: How to compute.
        processes: Those that train together.
        between: Called after each batch.
    """
    layers = batch_norm_layers(net)
    if not layers:
        return
    buffers = [buffer for layer in layers for buffer in running(layer)]
    if not config.precise_bn_batches:
        processes.broadcast(buffers)
        return
    some = itertools.islice(loader.epoch(epoch), config.precise_bn_batches * config.grad_accum_steps)
    measure_statistics(for_sizes(net, config.progressive_resize), _each(some, between), precision)
    processes.average(buffers)


def _each(batches: Iterator[Batch], after: Callable[[], None]) -> Iterator[Batch]:
    """Yields batches, and calls a function after each."""
    for batch in batches:
        yield batch
        after()
