"""The training of a network, epoch by epoch, in one process."""

from __future__ import annotations

import dataclasses
import itertools
import math
import shlex
import time
from collections.abc import Callable, Iterator

import torch
from torch import nn

from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.loader import Batch, Loader
from alexnet_fast.training.batch_norm import has_batch_norm, recalibrate_batch_norm
from alexnet_fast.training.checkpoint.state import (
    BadImagesState,
    CheckpointState,
    Position,
    RngState,
    ScalerState,
)
from alexnet_fast.training.console import Phase, Progress
from alexnet_fast.training.context import TrainContext
from alexnet_fast.training.data import Loaders
from alexnet_fast.training.diverged import DivergedError
from alexnet_fast.training.lr_schedule import make_schedule
from alexnet_fast.training.metrics import ClassificationMetrics, EpochMetrics, Metrics, validate
from alexnet_fast.training.optim import ModelEma, OptimizerState
from alexnet_fast.training.train_step import TrainStep


class ThroughputMeter:
    """Images per second in an epoch, without its first steps."""

    WARM_UP = 2

    def __init__(self) -> None:
        self._readings = 0
        self._started, self._images = 0.0, 0

    @property
    def warming_up(self) -> bool:
        """Whether the rate does not count yet; the caller then reads it after every step."""
        return self._readings < self.WARM_UP

    def rate(self, images: int) -> float:
        """Returns the rate since the warm-up, 0 before.

        Args:
            images: Images of the epoch so far.
        """
        now = time.perf_counter()
        self._readings += 1
        if self._readings <= self.WARM_UP:
            self._started, self._images = now, images
            return 0.0
        return (images - self._images) / (now - self._started)


# Training images for TensorBoard, as many as a grid of 4 x 4 shows.
SAMPLE = 16


class Trainer:
    """A network, its optimiser and its position in the data.

    Everything that the next step depends on is a named part of `state`.

    Args:
        net: On the device already, in channels_last.
        data: The loaders. A training batch is that of one process and one backward pass.
        context: The training run. It gets the progress after every optimiser step and every other batch;
            loss and accuracy are read every `config.log_interval` steps and at the end of each epoch.
        lr_factor: Multiplies the learning rate of the schedule.

    Attributes:
        sample: The first training images of the epoch, (N, 3, crop, crop) with N up to `SAMPLE`.
        ema: The moving average of the weights, if the options ask for one.
    """

    def __init__(self, net: nn.Module, data: Loaders, context: TrainContext, lr_factor: float = 1.0) -> None:
        self.net, self.data, self.context, self.config = net, data, context, context.config
        self.steps = len(data.train) // self.config.grad_accum_steps
        self.schedule = make_schedule(self.config, self.steps)
        self.position = Position()
        self._metrics, self._lr_factor = ClassificationMetrics(context.device), lr_factor
        self._step = TrainStep(net, data.train.shape, context, self._metrics)
        self.ema = ModelEma(net, self.config.ema_decay) if self.config.ema_decay else None
        self.state = self._make_state()
        self.sample: torch.Tensor | None = None
        self._last_progress: Progress | None = None

    def _make_state(self) -> CheckpointState:
        """Names everything that a checkpoint holds."""
        state = CheckpointState()
        state.replicated |= {
            "model": self.net,
            "optimizer": OptimizerState(self._step.optimizer),
            "scaler": ScalerState(self._step.scaler),
            "schedule": self.schedule,
            "position": self.position,
        }
        if self.ema is not None:
            state.replicated["ema"] = self.ema
        state.per_rank |= {
            "rng": RngState(self.context.device),
            "metrics": self._metrics,
            "bad_images": BadImagesState(self.data.train.bad, self.data.val.bad),
        }
        return state

    @property
    def eval_net(self) -> nn.Module:
        """The network that is validated and saved: `net`, or the moving average of its weights."""
        return self.net if self.ema is None else self.ema.net

    @property
    def finished(self) -> bool:
        """Whether progress has stopped, or all epochs or steps are done."""
        limit = self.config.max_steps
        done = self.position.epoch >= self.config.epochs
        return self.schedule.finished or done or (limit is not None and self.position.step >= limit)

    def continue_from(self, before: Trainer) -> None:
        """Continues after another trainer between two epochs, with its position and schedule."""
        for name in ("position", "schedule"):
            self.state.replicated[name].load_state_dict(before.state.replicated[name].state_dict())

    def run_epoch(
        self,
        after_step: Callable[[], None] = lambda: None,
        in_validation: Callable[[], None] = lambda: None,
    ) -> EpochMetrics:
        """Trains the rest of the epoch, validates, and passes the error to the schedule.

        Args:
            after_step: Called between steps, when `state` may be saved; an exception from it ends the epoch.
            in_validation: Called between batches that are not trained on; an exception from it ends the
                epoch too. `state` may be saved after that exception.
        """
        self.train_epoch(after_step)
        train, lr = self.read_metrics(), self._lr
        self._check_not_empty(train, "training", self.data.train)
        trained, seconds, data_wait = time.perf_counter(), self.position.seconds, self.position.data_wait
        val = self._validate(in_validation)
        self._check_not_empty(val, "validation", self.data.val)
        bad = self.context.dist.gather([*self.data.train.bad.reasons, *self.data.val.bad.reasons])
        self.position.next_epoch()
        self._metrics.reset()
        self.schedule.end_epoch(1.0 - val.top1)
        return EpochMetrics(
            epoch=self.position.epoch,
            step=self.position.step,
            lr=lr,
            train_loss=train.loss,
            train_top1=train.top1,
            val_loss=val.loss,
            val_top1=val.top1,
            val_top5=val.top5,
            images_per_second=train.images / seconds if seconds else 0.0,
            data_wait=data_wait,
            seconds=seconds + time.perf_counter() - trained,
            bad_images=len(set(itertools.chain.from_iterable(bad))),
        )

    def _validate(self, after_batch: Callable[[], None]) -> Metrics:
        """Recalibrates batch norm, and returns the metrics of the validation images."""
        recalibrate_batch_norm(
            self.eval_net,
            self.data.train,
            self.position.epoch,
            self.context,
            self._counting("measuring", after_batch),
        )
        return validate(
            self.eval_net,
            self.data.val,
            self.context.precision,
            all_reduce_sum=self.context.dist.all_reduce_sum,
            after_batch=self._counting("validating", after_batch),
        )

    def _check_not_empty(self, metrics: Metrics, part: str, loader: Loader) -> None:
        """Checks that metrics are over at least one image; without any the loss would be 0.

        Raises:
            UserError: Every image of an epoch was bad, in all processes.
        """
        if not metrics.images:
            raise UserError(
                f"no {part} image of epoch {self.position.epoch + 1} could be decoded, of"
                f" {len(loader.images)} in {loader.images.root}",
                "each is named above: give other files",
            )

    def train_epoch(self, after_step: Callable[[], None] = lambda: None) -> None:
        """Takes the remaining steps; waits for the device only to report metrics."""
        self.net.train()
        self.sample = None
        position, throughput = self.position, ThroughputMeter()
        mark = time.perf_counter()
        for batches in self._groups():
            position.data_wait_seconds += time.perf_counter() - mark
            if self.sample is None and batches[0].images.dim() == 4:
                self.sample = batches[0].images[:SAMPLE].clone()
            self._take_step(batches)
            position.next_step()
            if position.epoch_step < self.steps:
                due = position.epoch_step % self.config.log_interval == 0
                self._report(throughput, read=throughput.warming_up or due)
            now = time.perf_counter()
            position.seconds, mark = position.seconds + now - mark, now
            after_step()
        # The last report is that of a whole epoch, also if bad images made it shorter.
        position.epoch_step = self.steps
        self._report(throughput, read=True)

    def _groups(self) -> Iterator[list[Batch]]:
        """Yields the batches of each remaining optimiser step of the epoch."""
        size, start, end = self.config.grad_accum_steps, self.position.epoch_step, self.steps
        if self.config.max_steps is not None:
            end = min(end, start + self.config.max_steps - self.position.step)
        if start >= end:
            return
        batches = self.data.train.epoch(self.position.epoch, start * size)
        for _ in range(start, end):
            group = list(itertools.islice(batches, size))
            if not group:
                return
            yield group
        # A loader ends its epoch when it is asked for a batch too many.
        next(batches, None)

    def _take_step(self, batches: list[Batch]) -> None:
        """Takes one optimiser step, and updates the moving average."""
        has_images = self._step.step(batches, self.position, self._rate(self.position.step))
        if has_images and self.ema is not None:
            self.ema.update()

    def _report(self, throughput: ThroughputMeter, *, read: bool) -> None:
        """Reports the progress of the epoch.

        Args:
            throughput: Of the epoch.
            read: Whether to read loss and accuracy, which waits for the device, or to repeat the last values.
        """
        epoch, step = self.position.epoch + 1, self.position.epoch_step
        if not read and self._last_progress is not None:
            self._last_progress = dataclasses.replace(self._last_progress, epoch=epoch, step=step)
        else:
            train = self.read_metrics()
            self._last_progress = Progress(
                epoch=epoch,
                step=step,
                epochs=self.config.epochs,
                steps=self.steps,
                after=self._batches_after(),
                train=train,
                lr=self._lr,
                images_per_second=throughput.rate(train.images),
                data_wait=self.position.data_wait,
            )
        self.context.on_progress(self._last_progress)

    def _batches_after(self) -> dict[Phase, int]:
        """Returns the number of batches in each phase that follows the training of an epoch."""
        measured = min(self.config.precise_bn_batches, self.steps) * self.config.grad_accum_steps
        return {
            "measuring": measured * has_batch_norm(self.net),
            "validating": self.data.val.rounds,
        }

    def _counting(self, phase: Phase, after_batch: Callable[[], None]) -> Callable[[], None]:
        """Returns a callback for each batch of a phase that also reports the progress."""
        done = itertools.count(1)

        def count() -> None:
            assert self._last_progress is not None, "an epoch has reported its end"
            self.context.on_progress(dataclasses.replace(self._last_progress, phase=phase, done=next(done)))
            after_batch()

        return count

    @property
    def divergence_hint(self) -> str:
        """The hint after infinite or undefined numbers."""
        run, rate = shlex.quote(str(self.config.run)), self.schedule.peak_lr / 10
        return (
            "go back to the start of the epoch with a lower rate: alexnet-fast train"
            f" --run {run} --resume --lr {rate:g}; if that fails too, start another --run with it"
        )

    @property
    def _lr(self) -> float:
        """Learning rate of the previous step."""
        return self._rate(max(0, self.position.step - 1))

    def _rate(self, step: int) -> float:
        """Returns the learning rate of a step in the current epoch."""
        return self.schedule.rate(step) * self._lr_factor

    def read_metrics(self) -> Metrics:
        """Returns the training metrics of the epoch so far, over all processes.

        Raises:
            DivergedError: The loss is infinite or undefined.
        """
        metrics = self._metrics.read(self.context.dist.all_reduce_sum)
        if math.isnan(metrics.loss) or metrics.loss == math.inf:
            place = f"epoch {self.position.epoch + 1}, before step {self.position.step}"
            raise DivergedError(f"the loss is {metrics.loss} in {place}", self.divergence_hint)
        return metrics
