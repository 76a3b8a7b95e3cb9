"""One step of the optimiser over the batches of a group, in all processes."""

from __future__ import annotations

import contextlib

import torch
from torch import nn

from alexnet_fast.pipelines.loader import Batch
from alexnet_fast.training.batch_norm import has_batch_norm
from alexnet_fast.training.checkpoint.position import Position
from alexnet_fast.training.compiled import compile_net
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.distributed.group import DistributedContext
from alexnet_fast.training.metrics import ClassificationMetrics
from alexnet_fast.training.mixup import Mixup, mix
from alexnet_fast.training.optim import make_optimizer
from alexnet_fast.training.passes import make_pass
from alexnet_fast.training.precision import Precision
from alexnet_fast.training.resizable import for_sizes


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
        self._mixup = Mixup(alpha=config.mixup, seed=config.seed) if config.mixup else None
        sized = for_sizes(net, config.progressive)
        self._model = processes.wrap(compile_net(sized, precision.device) if config.compile else sized)
        self._warm_up_ddp(shape)
        self._pass = make_pass(config, net, self._model, precision, self.scaler, processes.world)

    def take(self, batches: list[Batch], position: Position, lr: float) -> bool:
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
            share = self._mixup.share(position.epoch, position.epoch_step)
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
            images = int(self._processes.total([images])[0])
        else:
            images *= self._processes.world
        if images not in (0, self._config.batch_size):
            for parameter in self._net.parameters():
                if parameter.grad is not None:
                    parameter.grad.mul_(self._config.batch_size / images)
        return images > 0
