"""The training loop of one process."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from alexnet_fast.errors import UserError
from alexnet_fast.models import AlexNet
from alexnet_fast.pipelines.loader import Batch, Loader
from alexnet_fast.training.batch_norm import has_batch_norm, measure_statistics
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.cosine import Cosine
from alexnet_fast.training.evaluate import validate
from alexnet_fast.training.history import EpochRow, as_row
from alexnet_fast.training.meter import Meter, Score
from alexnet_fast.training.plateau import Plateau
from alexnet_fast.training.precision import Precision


@dataclasses.dataclass(frozen=True, kw_only=True)
class Progress:
    """What the progress line shows.

    Args:
        epoch: Counted from 1.
        step: Steps done in this epoch.
        steps: Steps an epoch.
        train: Averages of this epoch so far.
        lr: Learning rate.
        images_per_second: Since the epoch's third step, before which everything warms up.
    """

    epoch: int
    step: int
    steps: int
    train: Score
    lr: float
    images_per_second: float


class Trainer:
    """A network, its optimiser and its place in the data.

    Args:
        net: On the device already, in channels_last.
        train: Loader of the view "train".
        val: Loader of the view "centre".
        config: Hyper-parameters.
        precision: How to compute.
        show: Called every `config.log_every` steps and at the end of each epoch.
    """

    def __init__(
        self,
        net: AlexNet,
        train: Loader,
        val: Loader,
        config: TrainConfig,
        precision: Precision,
        show: Callable[[Progress], None],
    ) -> None:
        self.net, self.train_loader, self.val_loader = net, train, val
        self.config, self.precision, self._show = config, precision, show
        self.optimizer = torch.optim.SGD(
            net.parameters(),
            lr=config.lr,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            fused=True,
        )
        self.scaler = precision.scaler()
        self.schedule = _schedule(config)
        self.epoch = 0
        self.step = 0

    @property
    def finished(self) -> bool:
        """Whether progress has stopped or all epochs are done."""
        return self.schedule.finished or self.epoch >= self.config.epochs

    def run_epoch(self) -> EpochRow:
        """Trains and validates one epoch, and moves the learning rate."""
        started = time.perf_counter()
        lr = self.schedule.lr
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        train = self._train_epoch(lr)
        trained = time.perf_counter()
        self._settle_batch_norm()
        val = validate(self.net, self.val_loader, self.precision)
        self.epoch += 1
        self.schedule.step(1.0 - val.top1)
        return as_row(
            epoch=self.epoch,
            step=self.step,
            lr=lr,
            train=train,
            val=val,
            train_seconds=trained - started,
            seconds=time.perf_counter() - started,
            bad=len(self.train_loader.bad) + len(self.val_loader.bad),
        )

    def _settle_batch_norm(self) -> None:
        """Measures batch norm on the first training batches of the epoch."""
        if self.config.bn_batches and has_batch_norm(self.net):
            batches = itertools.islice(self.train_loader.epoch(self.epoch), self.config.bn_batches)
            measure_statistics(self.net, batches, self.precision)

    def _train_epoch(self, lr: float) -> Score:
        """Takes every step of an epoch; the device is waited for only when something is shown."""
        self.net.train()
        meter = Meter(self.precision.device)
        clock = _Clock()
        for done, batch in enumerate(self.train_loader.epoch(self.epoch), start=1):
            # Batch norm cannot take the variance of one picture; such a batch is left over by bad ones only.
            if len(batch.labels) > 1:
                self._take_step(batch, meter)
            due = done == _Clock.WARM_UP or done % self.config.log_every == 0
            if due and done < len(self.train_loader):
                self._report(done, self._checked(meter), lr, clock)
        score = self._checked(meter)
        # The last report always stands at the end of the epoch, also where bad pictures made it shorter.
        self._report(len(self.train_loader), score, lr, clock)
        return score

    def _report(self, done: int, train: Score, lr: float, clock: _Clock) -> None:
        """Shows how far the epoch is."""
        self._show(
            Progress(
                epoch=self.epoch + 1,
                step=done,
                steps=len(self.train_loader),
                train=train,
                lr=lr,
                images_per_second=clock.rate(done, train.images),
            )
        )

    def _take_step(self, batch: Batch, meter: Meter) -> None:
        """Takes one optimiser step."""
        with self.precision.autocast():
            logits = self.net(batch.images)
            loss = functional.cross_entropy(logits.float(), batch.labels)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.step += 1
        meter.add(loss.detach(), logits.detach(), batch.labels)

    def _checked(self, meter: Meter) -> Score:
        """Reads the meter.

        Raises:
            UserError: The loss is no number any more.
        """
        score = meter.read()
        if score.loss != score.loss or score.loss == float("inf"):
            raise UserError(
                f"the loss is {score.loss} in epoch {self.epoch + 1}, before step {self.step}",
                f"give a lower --lr than {self.schedule.lr:g}; the last checkpoint is good",
            )
        return score

    def state_dict(self) -> dict[str, Any]:
        """Returns everything but the weights that the next epoch depends on."""
        cuda = self.precision.device.type == "cuda"
        return {
            "epoch": self.epoch,
            "step": self.step,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "schedule": self.schedule.state_dict(),
            "torch_random": torch.get_rng_state(),
            "cuda_random": torch.cuda.get_rng_state(self.precision.device) if cuda else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up a saved state."""
        self.epoch, self.step = state["epoch"], state["step"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["torch_random"].cpu())
        if self.precision.device.type == "cuda" and state["cuda_random"] is not None:
            torch.cuda.set_rng_state(state["cuda_random"].cpu(), self.precision.device)


def _schedule(config: TrainConfig) -> Plateau | Cosine:
    """Makes the learning rate schedule that the options name."""
    if config.schedule == "cosine":
        return Cosine(first=config.lr, epochs=config.epochs)
    return Plateau(lr=config.lr, patience=config.patience, drops_left=config.drops)


class _Clock:
    """Images a second of an epoch, the first steps left out."""

    WARM_UP = 2

    def __init__(self) -> None:
        self._started: float | None = None
        self._images = 0

    def rate(self, step: int, images: int) -> float:
        """Returns the rate up to `step`, which has seen `images`; 0 until the warm-up is over."""
        now = time.perf_counter()
        if self._started is None or step <= self.WARM_UP:
            self._started, self._images = now, images
            return 0.0
        return (images - self._images) / (now - self._started)
