"""Precise batch norm: statistics recomputed with the current weights.

The running averages that batch norm keeps during training cover some ten batches and lag behind the weights.
If batches differ much, as photographs of bright and dark cells do, accuracy jumps by tenths from epoch to
epoch. A mean over more batches does not (Wu and Johnson 2021, "Rethinking Batch in BatchNorm", section 3).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import nn

from alexnet_fast.pipelines.loader import Batch, Loader
from alexnet_fast.training.context import TrainContext
from alexnet_fast.training.precision import Precision
from alexnet_fast.training.resizable import for_sizes


def batch_norm_layers(net: nn.Module) -> list[nn.BatchNorm1d | nn.BatchNorm2d]:
    """Returns the batch norm layers."""
    return [module for module in net.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]


def has_batch_norm(net: nn.Module) -> bool:
    """Returns whether a network has batch norm layers."""
    return bool(batch_norm_layers(net))


@torch.no_grad()
def measure_statistics(net: nn.Module, batches: Iterable[Batch], precision: Precision) -> None:
    """Replaces the running averages by the means over some batches, each with the same weight.

    The rest of the network runs in evaluation mode, so the effect of dropout on the variance is not measured.

    Args:
        net: A network with batch norm; it comes back in evaluation mode.
        batches: Training images, (B, 3, crop, crop).
        precision: Device and number type.
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


def recalibrate_batch_norm(
    net: nn.Module,
    loader: Loader,
    epoch: int,
    context: TrainContext,
    after_batch: Callable[[], None] = lambda: None,
) -> None:
    """Gives all processes the same statistics: measured on the first batches of an epoch, or those of rank 0.

    Args:
        net: A network; one without batch norm does not change.
        loader: The training images of this process.
        epoch: The epoch whose batches are used.
        context: The training run; its `precise_bn_batches` of 0 measures nothing.
        after_batch: Called after each batch.
    """
    layers, config = batch_norm_layers(net), context.config
    if not layers:
        return
    averages = [average for layer in layers for average in (layer.running_mean, layer.running_var)]
    buffers = [buffer for buffer in averages if buffer is not None]
    if not config.precise_bn_batches:
        context.dist.broadcast(buffers)
        return
    batches = itertools.islice(loader.epoch(epoch), config.precise_bn_batches * config.grad_accum_steps)
    resizable = for_sizes(net, config.progressive_resize)
    measure_statistics(resizable, _with_callback(batches, after_batch), context.precision)
    context.dist.average(buffers)


def _with_callback(batches: Iterator[Batch], after_batch: Callable[[], None]) -> Iterator[Batch]:
    """Yields batches, and calls a function after each."""
    for batch in batches:
        yield batch
        after_batch()
