"""One step of the optimiser over the batches of a group, in all processes."""

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
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.distributed.group import DistributedContext
from alexnet_fast.training.losses import Loss, Mixup, make_loss, mix, mixed_loss
from alexnet_fast.training.metrics import ClassificationMetrics
from alexnet_fast.training.optim import make_optimizer
from alexnet_fast.training.precision import Precision
from alexnet_fast.training.resizable import for_sizes

# Passes before the recording: cuDNN chooses its algorithms and everything is allocated in them (torch's notes
# on CUDA graphs warm up three times).
_WARM_UP = 3


class Pass(Protocol):
    """Adds a batch's share to the gradients."""

    def __call__(
        self, images: torch.Tensor, labels: torch.Tensor, weight: float, share: float | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Runs forward and backward; the device is not waited for.

        Args:
            images: (B, 3, crop, crop), mixed already where they are mixed.
            labels: int64 (B,).
            weight: What the batch's mean loss counts in the gradients.
            share: What the first image of each pair counts in mixed images; None for plain ones.

        Returns:
            The mean loss of the batch, (), and the logits, (B, classes), both without their history.
        """


@dataclasses.dataclass(frozen=True, kw_only=True)
class EagerForwardBackward:
    """The passes as they come.

    Args:
        model: The network, wrapped and compiled as the options say.
        loss: What is minimised.
        precision: How to compute.
        scaler: Of the loss.
    """

    model: nn.Module
    loss: Loss
    precision: Precision
    scaler: torch.amp.GradScaler

    def __call__(
        self, images: torch.Tensor, labels: torch.Tensor, weight: float, share: float | torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Runs forward and backward; see `Pass`. A share may also be a tensor ()."""
        with self.precision.autocast():
            logits = self.model(images).float()
            if share is None:
                loss = self.loss(logits, labels)
            else:
                loss = mixed_loss(self.loss, logits, labels, share)
        self.scaler.scale(loss * weight).backward()  # type: ignore[no-untyped-call]
        return loss.detach(), logits.detach()


class CudaGraphForwardBackward:
    """The passes recorded as a CUDA graph for the batches of one shape; other batches run as they come.

    A recording holds addresses: batches are copied into buffers that stay, and the gradients lie in tensors
    of the recording. Every step must therefore have one pass and begin without gradients. What the passes
    before the recording change, random numbers and statistics, is put back, so that a resumed run does not
    differ.

    Args:
        eager: The passes to record.
        net: Whose gradients they are.
        device: A GPU.
    """

    def __init__(self, eager: EagerForwardBackward, net: nn.Module, device: torch.device) -> None:
        self._eager, self._net, self._device = eager, net, device
        self._key: tuple[torch.Size, float, bool] | None = None

    def __call__(
        self, images: torch.Tensor, labels: torch.Tensor, weight: float, share: float | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Runs forward and backward; see `Pass`."""
        key = (images.shape, weight, share is not None)
        if key != self._key:
            # A smaller batch, what bad images left of one, is not worth giving up the recording for.
            if self._key is not None and len(images) < self._key[0][0]:
                return self._eager(images, labels, weight, share)
            self._record(images, labels, weight, share)
            self._key = key
        self._images.copy_(images)
        self._labels.copy_(labels)
        self._share.fill_(0.0 if share is None else share)
        self._graph.replay()
        for parameter, gradient in self._gradients:
            parameter.grad = gradient
        return self._loss, self._logits

    def _record(self, images: torch.Tensor, labels: torch.Tensor, weight: float, share: float | None) -> None:
        """Records the passes over batches like this one."""
        self._images, self._labels = images.clone(), labels.clone()
        self._share = torch.zeros((), device=self._device)
        static_share = None if share is None else self._share

        def run() -> tuple[torch.Tensor, torch.Tensor]:
            self._net.zero_grad(set_to_none=True)
            return self._eager(self._images, self._labels, weight, static_share)

        self._warm_up(run)
        self._net.zero_grad(set_to_none=True)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._loss, self._logits = run()
        self._gradients = [(p, p.grad) for p in self._net.parameters() if p.grad is not None]

    def _warm_up(self, run: Callable[[], object]) -> None:
        """Runs a few times on another stream, and puts back what that changes."""
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


def _check_no_graphs(device: torch.device, passes: int, world: int) -> None:
    """Refuses CUDA graphs where they do not hold.

    Args:
        device: Where the network is.
        passes: Backward passes an optimiser step.
        world: Processes that train together.

    Raises:
        UserError: They do not.
    """
    if device.type != "cuda":
        raise UserError(
            f"--cuda-graphs on {device.type}",
            "give --device cuda, or leave them out",
            exit_code=2,
        )
    if passes > 1:
        raise UserError(
            "--cuda-graphs with --grad-accum-steps", "a recording holds one pass a step", exit_code=2
        )
    if world > 1:
        raise UserError(
            "--cuda-graphs with several processes", "their gradients travel outside a recording", exit_code=2
        )


def make_pass(
    config: TrainConfig,
    net: nn.Module,
    model: nn.Module,
    precision: Precision,
    scaler: torch.amp.GradScaler,
    world: int,
) -> Pass:
    """Chooses how forward and backward pass are run.

    Args:
        config: The options.
        net: Whose parameters are trained.
        model: The same wrapped and compiled, as it is called.
        precision: How to compute.
        scaler: Of the loss.
        world: Processes that train together.

    Raises:
        UserError: CUDA graphs were asked for where they do not hold.
    """
    eager = EagerForwardBackward(model=model, loss=make_loss(config), precision=precision, scaler=scaler)
    if not config.cuda_graphs:
        return eager
    _check_no_graphs(precision.device, config.grad_accum_steps, world)
    return CudaGraphForwardBackward(eager, net, precision.device)


def compile_net(net: nn.Module, device: torch.device) -> nn.Module:
    """Returns the network compiled; its parameters stay those of `net`.

    Every shape is compiled by itself: code for all shapes is slower, and training has few.

    Raises:
        UserError: A compiler is missing.
    """
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        raise UserError("--compile needs Triton on a GPU", "pip install triton")
    compilers = filter(None, (os.environ.get("CXX"), "g++", "clang++"))
    if device.type == "cpu" and not any(map(shutil.which, compilers)):
        raise UserError("--compile finds no C++ compiler", "apt-get install g++, or set CXX")
    return cast("nn.Module", torch.compile(net, dynamic=False))


class TrainStep:
    """Forward and backward passes, and what the optimiser makes of their gradients.

    Args:
        net: On the device already, in channels_last.
        shape: Of one image, as the loader gives it.
        config: Hyper-parameters.
        precision: How to compute.
        processes: Those that train together.
        meter: Is told the loss and accuracy of each batch.

    Attributes:
        optimizer: Of all parameters that learn.
        scaler: Of the loss.
    """

    def __init__(
        self,
        net: nn.Module,
        shape: tuple[int, ...],
        config: TrainConfig,
        precision: Precision,
        processes: DistributedContext,
        meter: ClassificationMetrics,
    ) -> None:
        self._net, self._config, self._precision = net, config, precision
        self._processes, self._meter = processes, meter
        self.optimizer = make_optimizer(config, net)
        self.scaler = precision.scaler()
        # Batch norm cannot take the variance of one image; such a batch is left over by bad ones only.
        self._fewest = 2 if has_batch_norm(net) else 1
        self._mixup = Mixup(alpha=config.mixup_alpha, seed=config.seed) if config.mixup_alpha else None
        sized = for_sizes(net, config.progressive_resize)
        self._model = processes.wrap(compile_net(sized, precision.device) if config.compile else sized)
        self._warm_up_ddp(shape)
        self._pass = make_pass(config, net, self._model, precision, self.scaler, processes.world)

    def step(self, batches: list[Batch], position: Position, lr: float) -> bool:
        """Takes one step over the images of all batches; False where there was none to learn from.

        Args:
            batches: One a backward pass; all processes have as many.
            position: The step's, which chooses how images are mixed.
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
        """Lets the gradients travel in the last backward pass of a step alone."""
        if last or not isinstance(self._model, nn.parallel.DistributedDataParallel):
            return contextlib.nullcontext()
        found: contextlib.AbstractContextManager[None] = self._model.no_sync()
        return found

    def _counted(self, batch: Batch) -> int:
        """Returns how many images of a batch are trained on."""
        return len(batch.labels) if len(batch.labels) >= self._fewest else 0

    def _backward(self, batch: Batch, position: Position) -> None:
        """Adds a batch's share to the gradients: what it is of the images that one step should have."""
        if not self._counted(batch):
            if self._processes.world > 1:
                self._backward_of_nothing(batch.images.new_zeros((2, *batch.images.shape[1:])))
            return
        images, share = batch.images, None
        if self._mixup is not None:
            share = self._mixup.lam(position.epoch, position.epoch_step)
            images = mix(images, share)
        weight = len(batch.labels) * self._processes.world / self._config.batch_size
        loss, logits = self._pass(images, batch.labels, weight, share)
        self._meter.add(loss, logits, batch.labels)

    def _warm_up_ddp(self, shape: tuple[int, ...]) -> None:
        """Lets gradients travel once before the first step.

        After that DDP groups them by the order in which they were ready, and the order in which three or more
        processes add them up depends on the groups: a resumed run must have those of one that goes on.
        """
        if isinstance(self._model, nn.parallel.DistributedDataParallel):
            self._backward_of_nothing(torch.zeros((2, *shape), device=self._precision.device))
            self.optimizer.zero_grad(set_to_none=True)

    def _backward_of_nothing(self, black: torch.Tensor) -> None:
        """Takes part in the others' step with gradients of zero, where no image of a batch is left.

        The network is in evaluation mode meanwhile: no statistics and no random numbers change.
        """
        self._net.eval()
        with self._precision.autocast():
            loss = self._model(black).float().sum() * 0.0
        self.scaler.scale(loss).backward()
        self._net.train()

    def _rescale_gradients(self, images: int) -> bool:
        """Makes the gradients a mean over the images that there were; False where there was none."""
        if self._config.on_bad_image == "skip":
            images = int(self._processes.all_reduce_sum([images])[0])
        else:
            images *= self._processes.world
        if images not in (0, self._config.batch_size):
            for parameter in self._net.parameters():
                if parameter.grad is not None:
                    parameter.grad.mul_(self._config.batch_size / images)
        return images > 0
