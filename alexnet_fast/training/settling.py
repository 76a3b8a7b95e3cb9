"""Batch norm's statistics, the same in all processes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

from torch import nn

from alexnet_fast.pipelines.loader import Batch, Loader
from alexnet_fast.training.batch_norm import batch_norm_layers, measure_statistics, running
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.distributed.group import DistributedContext
from alexnet_fast.training.precision import Precision
from alexnet_fast.training.resizable import for_sizes


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
    if not config.bn_batches:
        processes.broadcast(buffers)
        return
    some = itertools.islice(loader.epoch(epoch), config.bn_batches * config.accumulate)
    measure_statistics(for_sizes(net, config.progressive), _each(some, between), precision)
    processes.average(buffers)


def _each(batches: Iterator[Batch], after: Callable[[], None]) -> Iterator[Batch]:
    """Yields batches, and calls a function after each."""
    for batch in batches:
        yield batch
        after()
