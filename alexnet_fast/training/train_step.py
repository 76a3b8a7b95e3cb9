"""One optimiser step, in all processes."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import os
import shutil
from collections.abc import Callable
from typing import Protocol, cast

import torch
from torch import nn

from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.loader import Batch
from alexnet_fast.training.batch_norm import has_batch_norm
from alexnet_fast.training.checkpoint.state import Position
from alexnet_fast.training.context import TrainContext
from alexnet_fast.training.losses import Loss, Mixup, make_loss, mix, mixed_loss
from alexnet_fast.training.metrics import ClassificationMetrics
from alexnet_fast.training.optim import make_optimizer
from alexnet_fast.training.precision import Precision
from alexnet_fast.training.resizable import for_sizes

# Passes before the recording, in which cuDNN chooses its algorithms and memory is allocated (torch's notes on
# CUDA graphs warm up three times).
_WARM_UP = 3


class ForwardBackward(Protocol):
    """Adds the gradients of a batch."""

    def __call__(
        self, images: torch.Tensor, labels: torch.Tensor, weight: float, lam: float | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Runs forward and backward; the device is not waited for.

        Args:
            images: (B, 3, crop, crop), after mixup.
            labels: int64 (B,).
            weight: Multiplies the mean loss of the batch.
            lam: Weight of the first image of each pair in mixup; None without mixup.

        Returns:
            The mean loss of the batch, (), and the logits, (B, classes), both detached.
        """


@dataclasses.dataclass(frozen=True, kw_only=True)
class EagerForwardBackward:
    """Forward and backward in eager mode.

    Args:
        model: The network, wrapped and compiled according to the options.
        loss: The loss function.
        precision: Device and number type.
        scaler: Scaler of the loss.
    """

    model: nn.Module
    loss: Loss
    precision: Precision
    scaler: torch.amp.GradScaler

    def __call__(
        self, images: torch.Tensor, labels: torch.Tensor, weight: float, lam: float | torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `ForwardBackward`; `lam` may also be a tensor ()."""
        with self.precision.autocast():
            logits = self.model(images).float()
            loss = self._loss(logits, labels, lam)
        self.scaler.scale(loss * weight).backward()  # type: ignore[no-untyped-call]
        return loss.detach(), logits.detach()

    def _loss(
        self, logits: torch.Tensor, labels: torch.Tensor, lam: float | torch.Tensor | None
    ) -> torch.Tensor:
        """Returns the mean loss of plain or mixed images."""
        if lam is None:
            return self.loss(logits, labels)
        return mixed_loss(self.loss, logits, labels, lam)


class CudaGraphForwardBackward:
    """Forward and backward recorded as a CUDA graph for batches of one shape; others run in eager mode.

    A recording holds addresses: batches are copied into fixed buffers, and the gradients are tensors of the
    recording. Every step must therefore have one pass and begin without gradients. The passes before the
    recording change random states and statistics; these are restored, so that a resumed run does not differ.

    Args:
        eager: Forward and backward to record.
        net: The network with the gradients.
        device: A GPU.
    """

    def __init__(self, eager: EagerForwardBackward, net: nn.Module, device: torch.device) -> None:
        self._eager, self._net, self._device = eager, net, device
        self._key: tuple[torch.Size, float, bool] | None = None

    def __call__(
        self, images: torch.Tensor, labels: torch.Tensor, weight: float, lam: float | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `ForwardBackward`."""
        key = (images.shape, weight, lam is not None)
        if key != self._key:
            # Bad images make a batch smaller: not worth a new recording.
            if self._key is not None and len(images) < self._key[0][0]:
                return self._eager(images, labels, weight, lam)
            self._record(images, labels, weight, lam)
            self._key = key
        self._images.copy_(images)
        self._labels.copy_(labels)
        self._lam.fill_(0.0 if lam is None else lam)
        self._graph.replay()
        for parameter, gradient in self._gradients:
            parameter.grad = gradient
        return self._loss, self._logits

    def _record(self, images: torch.Tensor, labels: torch.Tensor, weight: float, lam: float | None) -> None:
        """Records the passes over batches of this shape."""
        self._images, self._labels = images.clone(), labels.clone()
        self._lam = torch.zeros((), device=self._device)
        static_lam = None if lam is None else self._lam

        def run() -> tuple[torch.Tensor, torch.Tensor]:
            self._net.zero_grad(set_to_none=True)
            return self._eager(self._images, self._labels, weight, static_lam)

        self._warm_up(run)
        self._net.zero_grad(set_to_none=True)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._loss, self._logits = run()
        self._gradients = [(p, p.grad) for p in self._net.parameters() if p.grad is not None]

    def _warm_up(self, run: Callable[[], object]) -> None:
        """Runs a few times on another stream, and restores random states and buffers."""
        random = torch.cuda.get_rng_state(self._device)
        buffers = [buffer.clone() for buffer in self._net.buffers()]
        stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP):
                run()
        torch.cuda.current_stream(self._device).wait_stream(stream)
        torch.cuda.set_rng_state(random, self._device)
        for buffer, value in zip(self._net.buffers(), buffers, strict=True):
            buffer.copy_(value)


def _check_cuda_graphs(device: torch.device, passes: int, world: int) -> None:
    """Checks that CUDA graphs work.

    Args:
        device: The device of the network.
        passes: Backward passes per optimiser step.
        world: Processes that train together.

    Raises:
        UserError: The device is no GPU, or there are several passes or processes.
    """
    if device.type != "cuda":
        raise UserError(
            f"--cuda-graphs on {device.type}",
            "give --device cuda, or leave them out",
            exit_code=2,
        )
    if passes > 1:
        raise UserError(
            "--cuda-graphs with --grad-accum-steps", "a recording holds one pass per step", exit_code=2
        )
    if world > 1:
        raise UserError(
            "--cuda-graphs with several processes", "their gradients travel outside a recording", exit_code=2
        )


def make_forward_backward(
    context: TrainContext, net: nn.Module, model: nn.Module, scaler: torch.amp.GradScaler
) -> ForwardBackward:
    """Makes forward and backward in eager mode, or as a CUDA graph.

    Args:
        context: The training run.
        net: The network that is trained.
        model: The same network, wrapped and compiled.
        scaler: Scaler of the loss.

    Raises:
        UserError: `--cuda-graphs` does not work with the device or the other options.
    """
    config, precision = context.config, context.precision
    eager = EagerForwardBackward(model=model, loss=make_loss(config), precision=precision, scaler=scaler)
    if not config.cuda_graphs:
        return eager
    _check_cuda_graphs(precision.device, config.grad_accum_steps, context.dist.world)
    return CudaGraphForwardBackward(eager, net, precision.device)


def compile_net(net: nn.Module, device: torch.device) -> nn.Module:
    """Returns the network compiled, with the parameters of `net`.

    Each shape is compiled separately: code for all shapes is slower, and training has few shapes.

    Raises:
        UserError: Triton or a C++ compiler is missing.
    """
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        raise UserError("--compile needs Triton on a GPU", "pip install triton")
    compilers = filter(None, (os.environ.get("CXX"), "g++", "clang++"))
    if device.type == "cpu" and not any(map(shutil.which, compilers)):
        raise UserError("--compile finds no C++ compiler", "apt-get install g++, or set CXX")
    return cast("nn.Module", torch.compile(net, dynamic=False))


class TrainStep:
    """Forward, backward and the optimiser.

    Args:
        net: On the device already, in channels_last.
        shape: Shape of one image of the loader.
        context: The training run.
        metrics: Gets loss and accuracy of each batch.

    Attributes:
        optimizer: The optimiser of all trainable parameters.
        scaler: The scaler of the loss.
    """

    def __init__(
        self, net: nn.Module, shape: tuple[int, ...], context: TrainContext, metrics: ClassificationMetrics
    ) -> None:
        config = context.config
        self._net, self._config, self._precision = net, config, context.precision
        self._dist, self._metrics = context.dist, metrics
        self.optimizer = make_optimizer(config, net)
        self.scaler = context.precision.scaler()
        # Batch norm needs two images for a variance; only bad images leave a batch of one.
        self._min_images = 2 if has_batch_norm(net) else 1
        self._mixup = Mixup(alpha=config.mixup_alpha, seed=config.seed) if config.mixup_alpha else None
        resizable = for_sizes(net, config.progressive_resize)
        self._model = context.dist.wrap(
            compile_net(resizable, context.device) if config.compile else resizable
        )
        self._warm_up_ddp(shape)
        self._forward_backward = make_forward_backward(context, net, self._model, self.scaler)

    def step(self, batches: list[Batch], position: Position, lr: float) -> bool:
        """Takes one step over the images of all batches; returns False if there was no image to train on.

        Args:
            batches: One per backward pass; all processes have the same number.
            position: Position of the step, which seeds mixup.
            lr: The learning rate.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.zero_grad(set_to_none=True)
        for batch in batches:
            with self._syncing(batch is batches[-1]):
                self._backward(batch, position)
        if not self._rescale_gradients(sum(self._counted(batch) for batch in batches)):
            return False
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return True

    def _syncing(self, last: bool) -> contextlib.AbstractContextManager[None]:
        """Returns a context that synchronises gradients only in the last backward pass of a step."""
        if last or not isinstance(self._model, nn.parallel.DistributedDataParallel):
            return contextlib.nullcontext()
        no_sync: contextlib.AbstractContextManager[None] = self._model.no_sync()
        return no_sync

    def _counted(self, batch: Batch) -> int:
        """Returns the number of images of a batch that are trained on."""
        return len(batch.labels) if len(batch.labels) >= self._min_images else 0

    def _backward(self, batch: Batch, position: Position) -> None:
        """Adds the gradients of a batch, weighted by its fraction of the images of a full step."""
        if not self._counted(batch):
            if self._dist.world > 1:
                self._backward_of_zero(batch.images.new_zeros((2, *batch.images.shape[1:])))
            return
        images, lam = batch.images, None
        if self._mixup is not None:
            lam = self._mixup.lam(position.epoch, position.epoch_step)
            images = mix(images, lam)
        weight = len(batch.labels) * self._dist.world / self._config.batch_size
        loss, logits = self._forward_backward(images, batch.labels, weight, lam)
        self._metrics.add(loss, logits, batch.labels)

    def _warm_up_ddp(self, shape: tuple[int, ...]) -> None:
        """Synchronises gradients once before the first step.

        DDP then groups them by the order in which they were ready, and the order in which three or more
        processes add them up depends on the groups. A resumed run must have the same groups.
        """
        if isinstance(self._model, nn.parallel.DistributedDataParallel):
            self._backward_of_zero(torch.zeros((2, *shape), device=self._precision.device))
            self.optimizer.zero_grad(set_to_none=True)

    def _backward_of_zero(self, black: torch.Tensor) -> None:
        """Takes part in a step of all processes with gradients of zero, without an image of its own.

        The network is in evaluation mode meanwhile, so statistics and random states do not change.
        """
        self._net.eval()
        with self._precision.autocast():
            loss = self._model(black).float().sum() * 0.0
        self.scaler.scale(loss).backward()
        self._net.train()

    def _rescale_gradients(self, images: int) -> bool:
        """Makes the gradients a mean over the images that could be read; returns False if there was none."""
        if self._config.on_bad_image == "skip":
            images = int(self._dist.all_reduce_sum([images])[0])
        else:
            images *= self._dist.world
        if images not in (0, self._config.batch_size):
            for parameter in self._net.parameters():
                if parameter.grad is not None:
                    parameter.grad.mul_(self._config.batch_size / images)
        return images > 0
