"""A forward and a backward pass over one batch: as they come, or recorded once and replayed on a GPU."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Protocol

import torch
from torch import nn

from alexnet_fast.errors import UserError
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.losses import Loss, make_loss
from alexnet_fast.training.mixup import mixed_loss
from alexnet_fast.training.precision import Precision

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


def _refuse_graphs(device: torch.device, passes: int, world: int) -> None:
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
        raise UserError("--cuda-graphs with --accumulate", "a recording holds one pass a step", exit_code=2)
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
    _refuse_graphs(precision.device, config.accumulate, world)
    return CudaGraphForwardBackward(eager, net, precision.device)
