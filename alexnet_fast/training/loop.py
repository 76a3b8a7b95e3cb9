"""The loop over epochs of one process: checkpoints, early stop, logs and the result."""

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
    """All processes end early, at the same step."""


class TrainLoop:
    """Runs the epochs of a training run.

    Args:
        training_run: The training run.
        run: Its directory; only rank 0 writes there.
        manager: Its checkpoints.
        signals: Signals that stop the run.
    """

    def __init__(
        self, training_run: TrainingRun, run: RunDir, manager: CheckpointManager, signals: StopSignals
    ) -> None:
        self._training_run, self._run, self._context = training_run, run, training_run.context
        self._is_main, self._config = self._context.dist.is_main, training_run.config
        self._writer = CheckpointWriter(manager, self._context.device)
        self._consensus = StopSaveConsensus(self._context.dist)
        self._signals = signals
        self._rows = list(training_run.rows)
        self._metrics_log = MetricsLog(run.metrics, run.tensorboard, self._rows) if self._is_main else None
        # A resumed run is at a checkpoint.
        position = self._trainer.position
        resumed = training_run.resumed_from is not None
        self._saved_at = (position.epoch, position.epoch_step) if resumed else None
        self._saved_when = time.monotonic()
        self._saved = False

    @property
    def _trainer(self) -> Trainer:
        """The current trainer; --finetune has two, one after the other."""
        return self._training_run.trainer

    def train(self) -> dict[str, Any]:
        """Runs the remaining epochs and returns the result of the run.

        Raises:
            UserError: Training failed, or a file could not be written.
        """
        started = time.perf_counter()
        try:
            stopped = self._until_the_end()
        except DivergedError:
            if self._is_main:
                remember_divergence(self._run, self._trainer.position)
            raise
        if stopped is None:
            self._context.dist.run_on_main(self._publish)
        return self._result(time.perf_counter() - started, stopped)

    def _until_the_end(self) -> str | None:
        """Runs epochs; returns the name of the signal that stopped the run, None if none did."""
        stopped = False
        try:
            while not self._trainer.finished:
                self._one_epoch()
        except Stopped:
            self._save()
            stopped = True
        finally:
            self._close()
        return self._log_stop() if stopped else None

    def _one_epoch(self) -> None:
        """Runs the rest of an epoch, and saves."""
        row = self._trainer.run_epoch(self._between_steps, self._in_validation)
        self._rows.append(row)
        unfrozen = self._training_run.unfreeze_if_due()
        self._save()
        if self._metrics_log:
            self._metrics_log.add(row)
            self._log_network(row.epoch)
        log.info("%s", describe(row))
        if unfrozen and not self._trainer.finished:
            log.info("now all layers learn, at %g times the rate", self._config.finetune_lr_factor)
        if not self._trainer.finished:
            self._between_steps()

    def _log_network(self, epoch: int) -> None:
        """Adds the network to TensorBoard; an epoch that was resumed at its end has no training images."""
        if self._metrics_log and self._trainer.sample is not None:
            self._metrics_log.tensorboard.log_network(
                epoch, self._trainer.net, self._trainer.sample, self._training_run.spec
            )

    def _between_steps(self) -> None:
        """Stops the run after a signal, and saves a checkpoint when due.

        Raises:
            Stopped: A process has received a stop signal.
            UserError: A checkpoint could not be written.
        """
        self._writer.check()
        due = self._is_main and self._minutes_due() and not self._writer.busy
        agreed = self._consensus.sync(ControlFlags(stop=self._signals.received is not None, save=due))
        if agreed.stop:
            raise Stopped
        if agreed.save or self._steps_due():
            self._save()

    def _in_validation(self) -> None:
        """Stops the run after a signal; it saves nothing, since validation may use other weights.

        Raises:
            Stopped: A process has received a stop signal.
        """
        if self._consensus.sync(ControlFlags(stop=self._signals.received is not None)).stop:
            raise Stopped

    def _steps_due(self) -> bool:
        """Returns whether `--checkpoint-steps` asks for a checkpoint."""
        every = self._config.checkpoint_steps
        return every > 0 and self._trainer.position.step % every == 0

    def _minutes_due(self) -> bool:
        """Returns whether `--checkpoint-minutes` asks for a checkpoint."""
        minutes = self._config.checkpoint_minutes
        return minutes > 0 and time.monotonic() - self._saved_when >= 60 * minutes

    def _save(self) -> None:
        """Passes the state to the writer, unless the last checkpoint has it.

        Raises:
            DivergedError: The loss is infinite or undefined; the last good checkpoint stays.
        """
        position = self._trainer.position
        place = (position.epoch, position.epoch_step)
        if place == self._saved_at:
            return
        self._trainer.read_metrics()
        content = self._training_run.checkpoint(self._rows)
        if self._is_main:
            best = position.at_boundary and best_row(self._rows) is self._rows[-1]
            self._writer.save(content, best=best, hint=self._trainer.divergence_hint)
            if self._saved:
                # The previous checkpoint is on disk by now, and later ones of an abandoned line are gone.
                forget_divergence(self._run)
            self._saved = True
        self._saved_at, self._saved_when = place, time.monotonic()

    def _close(self) -> None:
        """Finishes all files and messages."""
        try:
            self._writer.finish()
            self._consensus.close()
        finally:
            if self._metrics_log:
                self._metrics_log.close()

    def _log_stop(self) -> str:
        """Logs how to resume, and returns the name of the signal."""
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
        """Writes model.safetensors, the weights of the best epoch."""
        if self._trainer.schedule.finished:
            log.info(
                "stopped: no progress for %d epochs at the lowest learning rate", self._config.lr_patience
            )
        save_weights(self._run.weights, load_trained(self._run.root))

    def _result(self, seconds: float, stopped: str | None) -> dict[str, Any]:
        """Returns the object that `--json` prints."""
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
            "resumed_from": self._training_run.resumed_from,
            "stopped": stopped,
            "seconds": seconds,
            "device": str(self._context.precision.device),
            "precision": self._context.precision.name,
            "processes": self._context.dist.world,
        }


def describe(row: EpochMetrics) -> str:
    """Returns an epoch as a line of the log."""
    return (
        f"epoch {row.epoch:3d}  train loss {row.train_loss:.4f} top-1 {row.train_top1:.3f}  "
        f"val loss {row.val_loss:.4f} top-1 {row.val_top1:.3f} top-5 {row.val_top5:.3f}  "
        f"lr {row.lr:g}  {row.images_per_second:.0f} images/s  {row.seconds:.0f} s"
    )
