"""What TensorBoard shows of a run: curves, histograms, the graph and training images.

Everything has the epoch for its place on the x axis and is written after the epoch's checkpoint. So a run
that goes on from a checkpoint cuts off what was drawn beyond it and draws one curve.
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

_PREFIX = "events.out.tfevents."


def order_before_now(directory: Path) -> None:
    """Renames event files so that TensorBoard reads one that is made now after them.

    It reads them by name, and their names begin with the second they were made in. After the clock was put
    back a resumed run's file would come first, and TensorBoard would cut off what it draws.

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


if TYPE_CHECKING:
    from alexnet_fast.training.metrics import EpochMetrics

# Values of a tensor that its histogram is made of, evenly spaced over it. The 38 million weights of fc6 take
# seconds to sort into bins, and look the same.
_VALUES = 50_000

# Images whose activations are shown.
_IMAGES = 4

_SCALARS = {
    "loss/train": "train_loss",
    "loss/val": "val_loss",
    "top1/train": "train_top1",
    "top1/val": "val_top1",
    "top5/val": "val_top5",
    "learning rate": "lr",
    "images per second": "images_per_second",
    "data_wait": "data_wait",
}


@contextlib.contextmanager
def writer_errors_told_once() -> Iterator[None]:
    """Keeps TensorBoard's thread from printing what it tells whoever draws next.

    The thread that writes keeps its error in its attribute "exception", raises it where something is drawn or
    flushed, and lets it end itself, too. Every other thread's error is printed as before.
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
        directory: Where they lie.
        done: Epochs whose drawing stays; what was drawn beyond them is cut off. 0 for a new run.
    """

    def __init__(self, directory: Path, done: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        order_before_now(directory)
        make_dir(directory)
        self._named = contextlib.ExitStack()
        self._writer = SummaryWriter(self._named.enter_context(utf8_path(directory)), purge_step=done + 1)

    def draw(self, row: EpochMetrics) -> None:
        """Adds an epoch to the curves."""
        for name, field in _SCALARS.items():
            self._writer.add_scalar(name, getattr(row, field), row.epoch)
        self._writer.flush()

    def look_inside(self, epoch: int, net: nn.Module, images: torch.Tensor, spec: AugmentSpec) -> None:
        """Adds histograms of weights and activations, and at the first epoch the graph and training images.

        Args:
            epoch: Counted from 1.
            net: It comes back in the mode it was in.
            images: Training images as the network gets them, (N, 3, S, S).
            spec: How they were made.
        """
        training = net.training
        net.eval()
        devices = [images.device] if images.device.type == "cuda" else []
        # Drawing must not change a run: a network of the user's may draw random numbers even now.
        with torch.random.fork_rng(devices):
            self._look(epoch, net, images, spec)
        net.train(training)
        self._writer.flush()

    def close(self) -> None:
        """Closes the event file."""
        with self._named:
            self._writer.close()

    def _look(self, epoch: int, net: nn.Module, images: torch.Tensor, spec: AugmentSpec) -> None:
        """See `look_inside`."""
        for name, parameter in net.named_parameters():
            self._add(f"weights/{name}", parameter, epoch)
        some = _at_side(images[:_IMAGES], spec.crop)
        for name, output in _activations(net, some):
            self._add(f"activations/{name}", output, epoch)
        if epoch == 1:
            self._writer.add_images("training images", _visible(images, spec), epoch)
            self._draw_graph(net, some)

    def _add(self, name: str, values: torch.Tensor, epoch: int) -> None:
        """Adds a histogram of numbers that are finite."""
        some = _some(values).float().cpu().numpy()
        self._writer.add_histogram(name, some[np.isfinite(some)], epoch)

    def _draw_graph(self, net: nn.Module, images: torch.Tensor) -> None:
        """Adds the graph; a network of the user's that cannot be traced has none, and the log says so."""
        try:
            with warnings.catch_warnings():
                # The tracer warns of every Python number it meets; the drawing does not depend on them.
                warnings.simplefilter("ignore")
                # Traced here, because add_graph would run the network three times more to check the trace.
                traced = torch.jit.trace(net, images[:1], check_trace=False)  # type: ignore[no-untyped-call]
                self._writer.add_graph(traced, images[:1])
        except Exception as error:  # noqa: BLE001 - a tracer raises whatever the user's code does
            log.info("TensorBoard shows no graph: the network cannot be traced (%s)", type(error).__name__)


@torch.no_grad()
def _activations(net: nn.Module, images: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """Yields the output of every layer that holds no other, by name, for some images."""
    found: list[tuple[str, torch.Tensor]] = []

    def keep(name: str) -> object:
        def hook(_layer: nn.Module, _inputs: object, output: object) -> None:
            if isinstance(output, torch.Tensor) and output.is_floating_point():
                # A copy: a ReLU works in place upon what the layer before it returned.
                found.append((name, _some(output).clone()))

        return hook

    leaves = [(name, layer) for name, layer in net.named_modules() if name and not list(layer.children())]
    hooks = [layer.register_forward_hook(keep(name)) for name, layer in leaves]
    try:
        net(images)
    finally:
        for hook in hooks:
            hook.remove()
    yield from found


def _at_side(images: torch.Tensor, side: int) -> torch.Tensor:
    """Returns images in float32 and at the network's own size, which progressive resizing departs from."""
    images = images.float()
    return images if images.shape[-1] == side else functional.interpolate(images, size=side, mode="bilinear")


def _some(values: torch.Tensor) -> torch.Tensor:
    """Returns values from all over a tensor, at most about `_VALUES`."""
    flat = values.detach().flatten()
    return flat[:: max(1, len(flat) // _VALUES)]


def _visible(images: torch.Tensor, spec: AugmentSpec) -> torch.Tensor:
    """Turns normalised images into uint8 (N, 3, crop, crop)."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (spec.mean, spec.std))
    return (images.float().cpu() * std + mean).round().clamp(0, 255).to(torch.uint8)
