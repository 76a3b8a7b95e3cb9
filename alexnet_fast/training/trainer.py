"""The training loop of one process, step by step."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator

import torch
from torch import nn

from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.loader import Batch, Loader
from alexnet_fast.training.any_size import for_sizes
from alexnet_fast.training.batch_norm import has_batch_norm
from alexnet_fast.training.clock import Clock
from alexnet_fast.training.compiled import compile_net
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.ema import WeightAverage
from alexnet_fast.training.evaluate import validate
from alexnet_fast.training.history import EpochRow, Timing, as_row
from alexnet_fast.training.meter import Meter, Score
from alexnet_fast.training.mixup import Mixup, mix
from alexnet_fast.training.optimizer import make_optimizer
from alexnet_fast.training.passes import make_pass
from alexnet_fast.training.position import Position
from alexnet_fast.training.precision import Precision
from alexnet_fast.training.processes import Processes
from alexnet_fast.training.progress import Progress
from alexnet_fast.training.random_states import RandomStates
from alexnet_fast.training.schedule import make_schedule
from alexnet_fast.training.settling import settle_batch_norm
from alexnet_fast.training.small_states import BadState, ScalerState
from alexnet_fast.training.state import TrainState

# Training pictures kept for TensorBoard, as many as a grid of 4 x 4 shows.
SAMPLE = 16


class Trainer:
    """A network, its optimiser and its place in the data.

    Everything that the next step depends on is a named part of `state`; whoever adds a part adds it there.

    Args:
        net: On the device already, in channels_last.
        train: Loader of the view "train"; its batches are those of this process and one backward pass.
        val: Loader of the view "centre", over this process's share.
        config: Hyper-parameters.
        precision: How to compute.
        processes: Those that train together.
        show: Called every `config.log_every` steps and at the end of each epoch.
        factor: What the learning rate of the schedule is multiplied by.

    Attributes:
        sample: The first training pictures of the epoch, (N, 3, crop, crop) with N up to `SAMPLE`.
        average: The moving average of the weights, where the options ask for one.
    """

    def __init__(
        self,
        net: nn.Module,
        train: Loader,
        val: Loader,
        config: TrainConfig,
        precision: Precision,
        processes: Processes,
        show: Callable[[Progress], None],
        factor: float = 1.0,
    ) -> None:
        self.net, self.train_loader, self.val_loader = net, train, val
        self.config, self.precision, self.processes, self._show = config, precision, processes, show
        self.steps = len(train) // config.accumulate
        self.optimizer = make_optimizer(config, net)
        self.scaler = precision.scaler()
        self.schedule = make_schedule(config, self.steps)
        self.position = Position()
        self._meter = Meter(precision.device)
        # Batch norm cannot take the variance of one picture; such a batch is left over by bad ones only.
        self._fewest = 2 if has_batch_norm(net) else 1
        self._factor = factor
        sized = for_sizes(net, config.progressive)
        self._model = processes.wrap(compile_net(sized, precision.device) if config.compile else sized)
        self._rehearse()
        self._pass = make_pass(config, net, self._model, precision, self.scaler, processes.world)
        self._mixup = Mixup(alpha=config.mixup, seed=config.seed) if config.mixup else None
        self.average = WeightAverage(net, config.ema) if config.ema else None
        self.state = self._parts()
        self.sample: torch.Tensor | None = None

    def _parts(self) -> TrainState:
        """Names everything that a checkpoint holds."""
        state = TrainState()
        state.add("model", self.net)
        state.add("optimizer", self.optimizer)
        state.add("scaler", ScalerState(self.scaler))
        state.add("schedule", self.schedule)
        state.add("position", self.position)
        if self.average is not None:
            state.add("average", self.average)
        state.add_own("random", RandomStates(self.precision.device))
        state.add_own("meter", self._meter)
        state.add_own("bad pictures", BadState(self.train_loader.bad, self.val_loader.bad))
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
            self.state.shared[name].load_state_dict(before.state.shared[name].state_dict())

    def run_epoch(
        self,
        after_step: Callable[[], None] = lambda: None,
        in_validation: Callable[[], None] = lambda: None,
    ) -> EpochRow:
        """Trains what is left of the epoch under way, validates, and tells the schedule.

        Args:
            after_step: Called between steps, when `state` may be saved; what it raises ends the epoch there.
            in_validation: Called between batches that are not trained on. What it raises ends the epoch too;
                `state` may be saved once it has passed through here.
        """
        self.train_epoch(after_step)
        train, lr = self.check(), self._lr
        trained, seconds, waiting = time.perf_counter(), self.position.seconds, self.position.waited
        self._settle_batch_norm(in_validation)
        val = validate(
            self.kept, self.val_loader, self.precision, over=self.processes.total, between=in_validation
        )
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
            timing=Timing(training=seconds, waiting=waiting, whole=seconds + time.perf_counter() - trained),
            bad=len(set(itertools.chain.from_iterable(bad))),
        )

    def _settle_batch_norm(self, after_batch: Callable[[], None]) -> None:
        """Measures batch norm anew."""
        settle_batch_norm(
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
        position, clock = self.position, Clock()
        mark = time.perf_counter()
        for batches in self._groups():
            position.waiting += time.perf_counter() - mark
            if self.sample is None and batches[0].images.dim() == 4:
                self.sample = batches[0].images[:SAMPLE].clone()
            self._take_step(batches)
            position.next_step()
            due = clock.warming or position.epoch_step % self.config.log_every == 0
            if due and position.epoch_step < self.steps:
                self._report(clock)
            now = time.perf_counter()
            position.seconds, mark = position.seconds + now - mark, now
            after_step()
        # The last report always stands at the end of the epoch, also where bad pictures made it shorter.
        position.epoch_step = self.steps
        self._report(clock)

    def _groups(self) -> Iterator[list[Batch]]:
        """Yields the batches of each optimiser step that is left in the epoch."""
        parts, start = self.config.accumulate, self.position.epoch_step
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
        """Takes one optimiser step over the pictures of all its batches, in all processes."""
        lr = self._rate(self.position.step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.zero_grad(set_to_none=True)
        for batch in batches:
            with self._syncing(batch is batches[-1]):
                self._backward(batch)
        if not self._weigh(sum(self._counted(batch) for batch in batches)):
            return
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update()

    def _syncing(self, last: bool) -> contextlib.AbstractContextManager[None]:
        """Lets the gradients travel in the last backward pass of a step alone."""
        if last or not isinstance(self._model, nn.parallel.DistributedDataParallel):
            return contextlib.nullcontext()
        found: contextlib.AbstractContextManager[None] = self._model.no_sync()
        return found

    def _counted(self, batch: Batch) -> int:
        """Returns how many pictures of a batch are trained on."""
        return len(batch.labels) if len(batch.labels) >= self._fewest else 0

    def _backward(self, batch: Batch) -> None:
        """Adds a batch's share to the gradients: what it is of the pictures that one step should have."""
        if not self._counted(batch):
            if self.processes.world > 1:
                self._backward_of_nothing(batch.images.new_zeros((2, *batch.images.shape[1:])))
            return
        images, share = batch.images, None
        if self._mixup is not None:
            share = self._mixup.share(self.position.epoch, self.position.epoch_step)
            images = mix(images, share)
        weight = len(batch.labels) * self.processes.world / self.config.batch_size
        loss, logits = self._pass(images, batch.labels, weight, share)
        self._meter.add(loss, logits, batch.labels)

    def _rehearse(self) -> None:
        """Lets gradients travel once before the first step.

        After that DDP groups them by the order in which they were ready, and the order in which three or more
        processes add them up depends on the groups: a resumed run must have those of one that goes on.
        """
        if isinstance(self._model, nn.parallel.DistributedDataParallel):
            black = torch.zeros((2, *self.train_loader.shape), device=self.precision.device)
            self._backward_of_nothing(black)
            self.optimizer.zero_grad(set_to_none=True)

    def _backward_of_nothing(self, black: torch.Tensor) -> None:
        """Takes part in the others' step with gradients of zero, where no picture of a batch is left.

        The network is in evaluation mode meanwhile: no statistics and no random numbers change.
        """
        self.net.eval()
        with self.precision.autocast():
            loss = self._model(black).float().sum() * 0.0
        self.scaler.scale(loss).backward()
        self.net.train()

    def _weigh(self, pictures: int) -> bool:
        """Makes the gradients a mean over the pictures that there were; False where there was none."""
        if self.config.on_bad_image == "skip":
            pictures = int(self.processes.total([pictures])[0])
        else:
            pictures *= self.processes.world
        if pictures not in (0, self.config.batch_size):
            for parameter in self.net.parameters():
                if parameter.grad is not None:
                    parameter.grad.mul_(self.config.batch_size / pictures)
        return pictures > 0

    def _report(self, clock: Clock) -> None:
        """Shows how far the epoch is."""
        train = self.check()
        self._show(
            Progress(
                epoch=self.position.epoch + 1,
                step=self.position.epoch_step,
                steps=self.steps,
                train=train,
                lr=self._lr,
                images_per_second=clock.rate(train.images),
                waiting=self.position.waited,
            )
        )

    @property
    def _lr(self) -> float:
        """Learning rate of the step before."""
        return self._rate(max(0, self.position.step - 1))

    def _rate(self, step: int) -> float:
        """Learning rate of a step of the epoch under way."""
        return self.schedule.rate(step) * self._factor

    def check(self) -> Score:
        """Reads the meter over all processes.

        Raises:
            UserError: The loss is no number any more.
        """
        score = self._meter.read(self.processes.total)
        if score.loss != score.loss or score.loss == float("inf"):
            place = f"epoch {self.position.epoch + 1}, before step {self.position.step}"
            raise UserError(
                f"the loss is {score.loss} in {place}",
                f"give a lower --lr than {self._lr:g}; the last checkpoint is good",
            )
        return score
