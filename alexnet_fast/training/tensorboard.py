"""TensorBoard: curves, histograms, the graph and training images of a run.

The x axis is the epoch, and everything is written after the epoch's checkpoint. A resumed run purges what was
written after its checkpoint, so that each curve is drawn once.
"""

from __future__ import annotations

import contextlib
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.training.log import log
from alexnet_fast.utils.atomic import make_dir, utf8_path

if TYPE_CHECKING:
    from alexnet_fast.training.metrics import EpochMetrics

_PREFIX = "events.out.tfevents."


def rename_future_events(directory: Path) -> None:
    """Renames event files so that TensorBoard reads a new one last.

    It reads files in the order of their names, which begin with the second of their creation. After the clock
    was set back, the file of a resumed run would come first, and TensorBoard would purge its events.

    Raises:
        OSError: A file cannot be renamed.
    """
    latest = int(time.time()) - 1
    for file in sorted(directory.glob(f"{_PREFIX}*"), reverse=True):
        second, _, rest = file.name.removeprefix(_PREFIX).partition(".")
        if not second.isdecimal() or int(second) <= latest:
            break
        file.rename(directory / f"{_PREFIX}{latest:010d}.{rest}")
        latest -= 1


# Values per histogram, evenly spaced over the tensor. All 38 million weights of fc6 take seconds to sort into
# bins, and look the same.
_VALUES = 50_000

# Images per histogram of activations.
_IMAGES = 4

_SCALARS = {
    "loss/train": "train_loss",
    "loss/val": "val_loss",
    "top1/train": "train_top1",
    "top1/val": "val_top1",
    "top5/val": "val_top5",
    "lr": "lr",
    "images_per_second": "images_per_second",
    "data_wait": "data_wait",
}


@contextlib.contextmanager
def quiet_writer_errors() -> Iterator[None]:
    """Keeps TensorBoard's writer thread from printing an error that the next call raises.

    The thread stores its error in its attribute "exception", from where it is raised by the next call, and
    dies of it, too. Errors of other threads are printed as usual.
    """
    before = threading.excepthook

    def hook(failed: threading.ExceptHookArgs) -> None:
        if failed.exc_value is None or getattr(failed.thread, "exception", None) is not failed.exc_value:
            before(failed)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


class TensorBoard:
    """Writes the event files of a run.

    Args:
        directory: Their directory.
        done: Epochs whose events stay; later ones are purged. 0 for a new run.
    """

    def __init__(self, directory: Path, done: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        rename_future_events(directory)
        make_dir(directory)
        self._named = contextlib.ExitStack()
        self._writer = SummaryWriter(self._named.enter_context(utf8_path(directory)), purge_step=done + 1)

    def add_epoch(self, row: EpochMetrics) -> None:
        """Adds an epoch to the curves."""
        for name, field in _SCALARS.items():
            self._writer.add_scalar(name, getattr(row, field), row.epoch)
        self._writer.flush()

    def log_network(self, epoch: int, net: nn.Module, images: torch.Tensor, spec: AugmentSpec) -> None:
        """Adds histograms of weights and activations, and in the first epoch the graph and training images.

        Args:
            epoch: Counted from 1.
            net: It comes back in the mode it was in.
            images: Training images as the network gets them, (N, 3, S, S).
            spec: Their augmentation.
        """
        training = net.training
        net.eval()
        devices = [images.device] if images.device.type == "cuda" else []
        # Logging must not change a run: a user's network may draw random numbers in evaluation mode, too.
        with torch.random.fork_rng(devices):
            self._add_network(epoch, net, images, spec)
        net.train(training)
        self._writer.flush()

    def close(self) -> None:
        """Closes the event file."""
        with self._named:
            self._writer.close()

    def _add_network(self, epoch: int, net: nn.Module, images: torch.Tensor, spec: AugmentSpec) -> None:
        """See `log_network`."""
        for name, parameter in net.named_parameters():
            self._add_histogram(f"weights/{name}", parameter, epoch)
        inputs = _at_side(images[:_IMAGES], spec.crop)
        for name, output in _activations(net, inputs):
            self._add_histogram(f"activations/{name}", output, epoch)
        if epoch == 1:
            self._writer.add_images("train/images", _visible(images, spec), epoch)
            self._add_graph(net, inputs)

    def _add_histogram(self, name: str, values: torch.Tensor, epoch: int) -> None:
        """Adds a histogram of the finite values."""
        sample = _sampled(values).float().cpu().numpy()
        self._writer.add_histogram(name, sample[np.isfinite(sample)], epoch)

    def _add_graph(self, net: nn.Module, images: torch.Tensor) -> None:
        """Adds the graph, or logs that a user's network cannot be traced."""
        try:
            with warnings.catch_warnings():
                # The tracer warns of every Python number in the code; the graph does not depend on them.
                warnings.simplefilter("ignore")
                # Traced here, because add_graph runs the network three more times to check the trace.
                traced = torch.jit.trace(net, images[:1], check_trace=False)  # type: ignore[no-untyped-call]
                self._writer.add_graph(traced, images[:1])
        except Exception as error:  # noqa: BLE001 - a tracer raises whatever the user's code does
            log.info("TensorBoard shows no graph: the network cannot be traced (%s)", type(error).__name__)


@torch.no_grad()
def _activations(net: nn.Module, images: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """Yields the output of every leaf layer by name."""
    outputs: list[tuple[str, torch.Tensor]] = []

    def store(name: str) -> object:
        def hook(_layer: nn.Module, _inputs: object, output: object) -> None:
            if isinstance(output, torch.Tensor) and output.is_floating_point():
                # A copy: a ReLU overwrites the output of the layer before it.
                outputs.append((name, _sampled(output).clone()))

        return hook

    leaves = [(name, layer) for name, layer in net.named_modules() if name and not list(layer.children())]
    hooks = [layer.register_forward_hook(store(name)) for name, layer in leaves]
    try:
        net(images)
    finally:
        for hook in hooks:
            hook.remove()
    yield from outputs


def _at_side(images: torch.Tensor, side: int) -> torch.Tensor:
    """Returns images in float32 at the size of the network; progressive resizing gives other sizes."""
    images = images.float()
    return images if images.shape[-1] == side else functional.interpolate(images, size=side, mode="bilinear")


def _sampled(values: torch.Tensor) -> torch.Tensor:
    """Returns at most about `_VALUES` values, evenly spaced over a tensor."""
    flat = values.detach().flatten()
    return flat[:: max(1, len(flat) // _VALUES)]


def _visible(images: torch.Tensor, spec: AugmentSpec) -> torch.Tensor:
    """Turns normalised images into uint8 (N, 3, crop, crop)."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (spec.mean, spec.std))
    return (images.float().cpu() * std + mean).round().clamp(0, 255).to(torch.uint8)
