"""The training loop of one process, step by step."""

from __future__ import annotations

import dataclasses
import itertools
import shlex
import time
from collections.abc import Callable, Iterator

import torch
from torch import nn

from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.loader import Batch, Loader
from alexnet_fast.training.batch_norm import has_batch_norm, recalibrate_batch_norm
from alexnet_fast.training.checkpoint.state import (
    BadState,
    CheckpointState,
    Position,
    RandomStates,
    ScalerState,
)
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.console import Phase, Progress
from alexnet_fast.training.distributed.group import DistributedContext
from alexnet_fast.training.diverged import DivergedError
from alexnet_fast.training.lr_schedule import make_schedule
from alexnet_fast.training.metrics import ClassificationMetrics, EpochMetrics, Metrics, validate
from alexnet_fast.training.metrics_log import Timing, as_row
from alexnet_fast.training.optim import ModelEma, OptimizerState
from alexnet_fast.training.precision import Precision
from alexnet_fast.training.train_step import TrainStep


class ThroughputMeter:
    """Images a second of an epoch, the first steps left out."""

    WARM_UP = 2

    def __init__(self) -> None:
        self._readings = 0
        self._started, self._images = 0.0, 0

    @property
    def warming(self) -> bool:
        """Whether the rate does not count yet; it is then read after every step."""
        return self._readings < self.WARM_UP

    def rate(self, images: int) -> float:
        """Returns the rate since the warm-up, of an epoch that has seen `images`; 0 until then."""
        now = time.perf_counter()
        self._readings += 1
        if self._readings <= self.WARM_UP:
            self._started, self._images = now, images
            return 0.0
        return (images - self._images) / (now - self._started)


# Training images kept for TensorBoard, as many as a grid of 4 x 4 shows.
SAMPLE = 16


class Trainer:
    """A network, its optimiser and its place in the data.

    Everything that the next step depends on is a named part of `state`; whoever adds a part adds it there.

    Args:
        net: On the device already, in channels_last.
        train: Loader of the view "train"; its batches are those of this process and one backward pass.
        val: Loader of the view "eval", over this process's share.
        config: Hyper-parameters.
        precision: How to compute.
        processes: Those that train together.
        on_progress: Called after every step and every batch that is not trained on; loss and accuracy are
            read every `config.log_interval` steps and at the end of each epoch.
        factor: What the learning rate of the schedule is multiplied by.

    Attributes:
        sample: The first training images of the epoch, (N, 3, crop, crop) with N up to `SAMPLE`.
        average: The moving average of the weights, where the options ask for one.
    """

    def __init__(
        self,
        net: nn.Module,
        train: Loader,
        val: Loader,
        config: TrainConfig,
        precision: Precision,
        processes: DistributedContext,
        on_progress: Callable[[Progress], None],
        factor: float = 1.0,
    ) -> None:
        self.net, self.train_loader, self.val_loader = net, train, val
        self.config, self.precision, self.processes, self._on_progress = (
            config,
            precision,
            processes,
            on_progress,
        )
        self.steps = len(train) // config.grad_accum_steps
        self.schedule = make_schedule(config, self.steps)
        self.position = Position()
        self._meter, self._factor = ClassificationMetrics(precision.device), factor
        self._step = TrainStep(net, train.shape, config, precision, processes, self._meter)
        self.average = ModelEma(net, config.ema_decay) if config.ema_decay else None
        self.state = self._parts()
        self.sample: torch.Tensor | None = None
        self._shown: Progress | None = None

    def _parts(self) -> CheckpointState:
        """Names everything that a checkpoint holds."""
        state = CheckpointState()
        state.add("model", self.net)
        state.add("optimizer", OptimizerState(self._step.optimizer))
        state.add("scaler", ScalerState(self._step.scaler))
        state.add("schedule", self.schedule)
        state.add("position", self.position)
        if self.average is not None:
            state.add("average", self.average)
        state.add_per_rank("random", RandomStates(self.precision.device))
        state.add_per_rank("meter", self._meter)
        state.add_per_rank("bad images", BadState(self.train_loader.bad, self.val_loader.bad))
        return state

    @property
    def kept(self) -> nn.Module:
        """The network that is validated and kept: the one that is trained, or the average of its weights."""
        return self.net if self.average is None else self.average.net

    @property
    def finished(self) -> bool:
        """Whether progress has stopped or all epochs are done."""
        most = self.config.max_steps
        done = self.position.epoch >= self.config.epochs or (most is not None and self.position.step >= most)
        return self.schedule.finished or done

    def go_on_from(self, before: Trainer) -> None:
        """Takes up another's place between two epochs: position, and what the schedule has learned."""
        for name in ("position", "schedule"):
            self.state.replicated[name].load_state_dict(before.state.replicated[name].state_dict())

    def run_epoch(
        self,
        after_step: Callable[[], None] = lambda: None,
        in_validation: Callable[[], None] = lambda: None,
    ) -> EpochMetrics:
        """Trains what is left of the epoch under way, validates, and tells the schedule.

        Args:
            after_step: Called between steps, when `state` may be saved; what it raises ends the epoch there.
            in_validation: Called between batches that are not trained on. What it raises ends the epoch too;
                `state` may be saved once it has passed through here.
        """
        self.train_epoch(after_step)
        train, lr = self.check(), self._lr
        self._check_not_empty(train, "training", self.train_loader)
        trained, seconds, data_wait = time.perf_counter(), self.position.seconds, self.position.data_wait
        self._settle_batch_norm(self._counting("measuring", in_validation))
        between = self._counting("validating", in_validation)
        val = validate(
            self.kept, self.val_loader, self.precision, over=self.processes.all_reduce_sum, between=between
        )
        self._check_not_empty(val, "validation", self.val_loader)
        bad = self.processes.gather([*self.train_loader.bad.reasons, *self.val_loader.bad.reasons])
        self.position.next_epoch()
        self._meter.reset()
        self.schedule.end_epoch(1.0 - val.top1)
        return as_row(
            epoch=self.position.epoch,
            step=self.position.step,
            lr=lr,
            train=train,
            val=val,
            timing=Timing(
                training=seconds, data_wait=data_wait, whole=seconds + time.perf_counter() - trained
            ),
            bad=len(set(itertools.chain.from_iterable(bad))),
        )

    def _check_not_empty(self, score: Metrics, part: str, loader: Loader) -> None:
        """Refuses a score over no image at all, which would count as a loss of 0.

        Raises:
            UserError: Every image of an epoch was bad, in all processes.
        """
        if not score.images:
            raise UserError(
                f"no {part} image of epoch {self.position.epoch + 1} could be decoded, of"
                f" {len(loader.images)} in {loader.images.root}",
                "each is named above: give other files",
            )

    def _settle_batch_norm(self, after_batch: Callable[[], None]) -> None:
        """Measures batch norm anew."""
        recalibrate_batch_norm(
            self.kept,
            self.train_loader,
            self.position.epoch,
            config=self.config,
            precision=self.precision,
            processes=self.processes,
            between=after_batch,
        )

    def train_epoch(self, after_step: Callable[[], None] = lambda: None) -> None:
        """Takes the steps that are left; the device is waited for only when something is shown."""
        self.net.train()
        self.sample = None
        position, clock = self.position, ThroughputMeter()
        mark = time.perf_counter()
        for batches in self._groups():
            position.data_wait_seconds += time.perf_counter() - mark
            if self.sample is None and batches[0].images.dim() == 4:
                self.sample = batches[0].images[:SAMPLE].clone()
            self._take_step(batches)
            position.next_step()
            if position.epoch_step < self.steps:
                self._report(clock, read=clock.warming or position.epoch_step % self.config.log_interval == 0)
            now = time.perf_counter()
            position.seconds, mark = position.seconds + now - mark, now
            after_step()
        # The last report always stands at the end of the epoch, also where bad images made it shorter.
        position.epoch_step = self.steps
        self._report(clock, read=True)

    def _groups(self) -> Iterator[list[Batch]]:
        """Yields the batches of each optimiser step that is left in the epoch."""
        parts, start = self.config.grad_accum_steps, self.position.epoch_step
        end = self.steps
        if self.config.max_steps is not None:
            end = min(end, start + self.config.max_steps - self.position.step)
        if start >= end:
            return
        batches = self.train_loader.epoch(self.position.epoch, start * parts)
        for _ in range(start, end):
            group = list(itertools.islice(batches, parts))
            if not group:
                return
            yield group
        # A loader ends its epoch when it is asked for a batch too many.
        next(batches, None)

    def _take_step(self, batches: list[Batch]) -> None:
        """Takes one optimiser step, and takes its weights into their average."""
        learned = self._step.step(batches, self.position, self._rate(self.position.step))
        if learned and self.average is not None:
            self.average.update()

    def _report(self, clock: ThroughputMeter, *, read: bool) -> None:
        """Shows how far the epoch is.

        Args:
            clock: Of the epoch.
            read: Whether to read loss and accuracy, which waits for the device, or to show the last reading.
        """
        epoch, step = self.position.epoch + 1, self.position.epoch_step
        if not read and self._shown is not None:
            self._shown = dataclasses.replace(self._shown, epoch=epoch, step=step)
        else:
            train = self.check()
            self._shown = Progress(
                epoch=epoch,
                step=step,
                epochs=self.config.epochs,
                steps=self.steps,
                after=self._batches_after(),
                train=train,
                lr=self._lr,
                images_per_second=clock.rate(train.images),
                data_wait=self.position.data_wait,
            )
        self._on_progress(self._shown)

    def _batches_after(self) -> dict[Phase, int]:
        """Returns how many batches follow the training of an epoch."""
        measured = min(self.config.precise_bn_batches, self.steps) * self.config.grad_accum_steps
        norms = has_batch_norm(self.net)
        return {"measuring": measured * norms, "validating": self.val_loader.rounds}

    def _counting(self, phase: Phase, after_batch: Callable[[], None]) -> Callable[[], None]:
        """Returns what to call after each batch of a phase, so that it is shown."""
        done = itertools.count(1)

        def count() -> None:
            assert self._shown is not None, "an epoch has reported its end"
            self._on_progress(dataclasses.replace(self._shown, phase=phase, done=next(done)))
            after_batch()

        return count

    @property
    def lower_rate(self) -> str:
        """What to do about numbers that have grown beyond all bounds."""
        run, rate = shlex.quote(str(self.config.run)), self.schedule.highest_rate / 10
        return (
            "go back to the start of the epoch with a lower rate: alexnet-fast train"
            f" --run {run} --resume --lr {rate:g}; if that fails too, start another --run with it"
        )

    @property
    def _lr(self) -> float:
        """Learning rate of the step before."""
        return self._rate(max(0, self.position.step - 1))

    def _rate(self, step: int) -> float:
        """Learning rate of a step of the epoch under way."""
        return self.schedule.rate(step) * self._factor

    def check(self) -> Metrics:
        """Reads the meter over all processes.

        Raises:
            DivergedError: The loss is no number any more.
        """
        score = self._meter.read(self.processes.all_reduce_sum)
        if score.loss != score.loss or score.loss == float("inf"):
            place = f"epoch {self.position.epoch + 1}, before step {self.position.step}"
            raise DivergedError(f"the loss is {score.loss} in {place}", self.lower_rate)
        return score
