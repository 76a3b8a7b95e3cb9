"""The loop over epochs of one process: when to save, when to end, what is reported."""

from __future__ import annotations

import statistics
import time
from typing import Any

from alexnet_fast.training.checkpoint.async_writer import CheckpointWriter
from alexnet_fast.training.checkpoint.manager import CheckpointManager
from alexnet_fast.training.checkpoint.model_io import load_trained, save_weights
from alexnet_fast.training.distributed.group import ControlFlags, StopSaveConsensus, StopSignals
from alexnet_fast.training.diverged import DivergedError, forget_divergence, remember_divergence
from alexnet_fast.training.log import log
from alexnet_fast.training.metrics import EpochMetrics
from alexnet_fast.training.metrics_log import MetricsLog, best_row
from alexnet_fast.training.run_dir import RunDir
from alexnet_fast.training.trainer import Trainer
from alexnet_fast.training.training_run import TrainingRun


class Stopped(Exception):  # noqa: N818 - nothing went wrong
    """All processes agreed to end early."""


class TrainLoop:
    """Runs a session's epochs.

    Args:
        session: Network, data and place.
        run: Where the files go; only the first process writes.
        directory: The run's checkpoints.
        signals: What asks the run to end.
    """

    def __init__(
        self, session: TrainingRun, run: RunDir, directory: CheckpointManager, signals: StopSignals
    ) -> None:
        self._session, self._run = session, run
        self._first, self._config = session.processes.is_main, session.config
        self._writer = CheckpointWriter(directory, session.precision.device)
        self._consensus = StopSaveConsensus(session.processes)
        self._signals = signals
        self._rows = list(session.rows)
        self._history = MetricsLog(run.metrics, run.tensorboard, self._rows) if self._first else None
        # A run that goes on stands at a checkpoint.
        position = self._trainer.position
        resumed = session.resumed_from is not None
        self._saved_at = (position.epoch, position.epoch_step) if resumed else None
        self._saved_when = time.monotonic()
        self._saved = False

    @property
    def _trainer(self) -> Trainer:
        """The one of the epoch under way: a transfer has two."""
        return self._session.trainer

    def train(self) -> dict[str, Any]:
        """Runs the epochs that are left and returns the run's result.

        Raises:
            UserError: Training failed, or a file could not be written.
        """
        started = time.perf_counter()
        try:
            stopped = self._until_the_end()
        except DivergedError:
            if self._first:
                remember_divergence(self._run, self._trainer.position)
            raise
        if stopped is None:
            self._session.processes.run_on_main(self._publish)
        return self._result(time.perf_counter() - started, stopped)

    def _until_the_end(self) -> str | None:
        """Runs epochs; returns the signal that stopped the run before its end."""
        stopped = False
        try:
            while not self._trainer.finished:
                self._one_epoch()
        except Stopped:
            self._save()
            stopped = True
        finally:
            self._close()
        return self._say_stopped() if stopped else None

    def _one_epoch(self) -> None:
        """Runs what is left of an epoch, and saves."""
        row = self._trainer.run_epoch(self._between_steps, self._in_validation)
        self._rows.append(row)
        unfrozen = self._session.unfreeze_when_due()
        self._save()
        if self._history:
            self._history.add(row)
            self._look_inside(row.epoch)
        log.info("%s", describe(row))
        if unfrozen and not self._trainer.finished:
            log.info("now all layers learn, at %g times the rate", self._config.finetune_lr_factor)
        if not self._trainer.finished:
            self._between_steps()

    def _look_inside(self, epoch: int) -> None:
        """Draws the network, where the epoch left images; one taken up at its end did not."""
        if self._history and self._trainer.sample is not None:
            self._history.tensorboard.look_inside(
                epoch, self._trainer.net, self._trainer.sample, self._session.spec
            )

    def _between_steps(self) -> None:
        """Ends the run where a signal asks for it, and saves where it is time to.

        Raises:
            Stopped: It does.
            UserError: A checkpoint could not be written.
        """
        self._writer.check()
        due = self._first and self._minutes_due() and not self._writer.busy
        agreed = self._consensus.sync(ControlFlags(stop=self._signals.received is not None, save=due))
        if agreed.stop:
            raise Stopped
        if agreed.save or self._steps_due():
            self._save()

    def _in_validation(self) -> None:
        """Ends the run where a signal asks for it; what is saved may not be in the network just now.

        Raises:
            Stopped: It does.
        """
        if self._consensus.sync(ControlFlags(stop=self._signals.received is not None)).stop:
            raise Stopped

    def _steps_due(self) -> bool:
        """Tells whether the run is at a step that is saved."""
        every = self._config.checkpoint_steps
        return every > 0 and self._trainer.position.step % every == 0

    def _minutes_due(self) -> bool:
        """Tells whether the last checkpoint is old enough."""
        minutes = self._config.checkpoint_minutes
        return minutes > 0 and time.monotonic() - self._saved_when >= 60 * minutes

    def _save(self) -> None:
        """Hands the state to the writer, unless it is that of the last checkpoint.

        Raises:
            UserError: The loss is no number any more; the last good checkpoint stays.
        """
        position = self._trainer.position
        place = (position.epoch, position.epoch_step)
        if place == self._saved_at:
            return
        self._trainer.check()
        content = self._session.content(self._rows)
        if self._first:
            best = position.at_boundary and best_row(self._rows) is self._rows[-1]
            self._writer.save(content, best=best, hint=self._trainer.lower_rate)
            if self._saved:
                # The one before lies on the disk now, and has taken away what came after it in another line.
                forget_divergence(self._run)
            self._saved = True
        self._saved_at, self._saved_when = place, time.monotonic()

    def _close(self) -> None:
        """Finishes what is being written and said."""
        try:
            self._writer.finish()
            self._consensus.close()
        finally:
            if self._history:
                self._history.close()

    def _say_stopped(self) -> str:
        """Says how to go on, and returns the name of the signal."""
        name = self._signals.received or "a signal to another process"
        position = self._trainer.position
        log.info(
            "%s: saved after epoch %d and %d of %d steps; go on with: alexnet-fast train --run %s --resume",
            name,
            position.epoch,
            position.epoch_step,
            self._trainer.steps,
            self._run.root,
        )
        return name

    def _publish(self) -> None:
        """Writes the weights of the best epoch by themselves."""
        if self._trainer.schedule.finished:
            log.info(
                "stopped: no progress for %d epochs at the lowest learning rate", self._config.lr_patience
            )
        save_weights(self._run.weights, load_trained(self._run.root))

    def _result(self, seconds: float, stopped: str | None) -> dict[str, Any]:
        """Returns what `--json` prints."""
        best = best_row(self._rows) if self._rows else None
        rates = [row.images_per_second for row in self._rows]
        position = self._trainer.position
        return {
            "run": str(self._run.root),
            "epochs": position.epoch,
            "steps": position.step,
            "best": best and {"epoch": best.epoch, "top1": best.val_top1, "top5": best.val_top5},
            "images_per_second": statistics.median(rates) if rates else None,
            "bad_images": self._rows[-1].bad_images if self._rows else 0,
            "resumed_from": self._session.resumed_from,
            "stopped": stopped,
            "seconds": seconds,
            "device": str(self._session.precision.device),
            "precision": self._session.precision.name,
            "processes": self._session.processes.world,
        }


def describe(row: EpochMetrics) -> str:
    """Returns an epoch as one line."""
    return (
        f"epoch {row.epoch:3d}  train loss {row.train_loss:.4f} top-1 {row.train_top1:.3f}  "
        f"val loss {row.val_loss:.4f} top-1 {row.val_top1:.3f} top-5 {row.val_top5:.3f}  "
        f"lr {row.lr:g}  {row.images_per_second:.0f} images/s  {row.seconds:.0f} s"
    )
