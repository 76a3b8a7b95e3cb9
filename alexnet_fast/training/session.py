"""One process's part of a training run: what is built from the options, and the loop over epochs."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import torch

from alexnet_fast import __version__
from alexnet_fast.data import Splits
from alexnet_fast.errors import UserError
from alexnet_fast.files import link_atomically
from alexnet_fast.models import build_model
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.training.checkpoint import save_checkpoint
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.fingerprint import make_fingerprint, refuse_other_run
from alexnet_fast.training.history import EpochRow, History, best_row
from alexnet_fast.training.inputs import make_loaders, make_spec
from alexnet_fast.training.precision import Precision
from alexnet_fast.training.processes import ALONE
from alexnet_fast.training.random_states import RandomStates
from alexnet_fast.training.run_folder import RunFolder
from alexnet_fast.training.run_log import log
from alexnet_fast.training.trained import load_trained, save_weights
from alexnet_fast.training.trainer import Progress, Trainer


class Session:
    """One call of `run_training`.

    Args:
        config: The options.
        splits: The pictures.
        precision: How to compute.
        saved: The checkpoint to go on from.
        show: Receives the progress within an epoch.
    """

    def __init__(
        self,
        config: TrainConfig,
        splits: Splits,
        precision: Precision,
        saved: dict[str, Any] | None,
        show: Callable[[Progress], None],
    ) -> None:
        self.config, self.splits, self.precision = config, splits, precision
        self.processes = ALONE
        self.fingerprint = make_fingerprint(config, splits, precision)
        if saved is not None:
            refuse_other_run(config, saved["training"]["fingerprint"], self.fingerprint)
        self.spec = make_spec(config, splits, precision) if saved is None else _spec_of(saved)
        self.arguments = _model_arguments(config, splits, self.spec)
        self.trainer = self._trainer(show)
        self.resumed_from: int | None = None
        self._rows: list[EpochRow] = []
        if saved is not None:
            self._take_up(saved["training"])

    def _trainer(self, show: Callable[[Progress], None]) -> Trainer:
        """Builds network, loaders and trainer."""
        device = self.precision.device
        RandomStates(device).seed(self.config.seed, 0)
        torch.backends.cudnn.benchmark = device.type == "cuda"
        net = build_model(self.arguments)
        net = net.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        train, val = make_loaders(self.config, self.splits, self.spec, self.precision, self.processes)
        return Trainer(net, train, val, self.config, self.precision, self.processes, show)

    def _take_up(self, training: dict[str, Any]) -> None:
        """Puts everything back as it was when the checkpoint was made."""
        self._rows = [EpochRow(**row) for row in training["rows"]]
        self.trainer.state.load_shared(training["shared"])
        self.trainer.state.load_own(training["own"][self.processes.rank])
        self.resumed_from = self.trainer.position.epoch

    def announce(self, *, resumed: bool) -> None:
        """Says what is about to run."""
        splits, config = self.splits, self.config
        log.info(
            "%s %s: %d training and %d validation pictures, %d classes",
            "going on with" if resumed else "training",
            config.model,
            len(splits.train),
            len(splits.val),
            len(splits.classes),
        )
        log.info(
            "%s on %s in %s, %s loader, batches of %d, %d steps an epoch",
            f"torch {torch.__version__}",
            self.precision.device,
            self.precision.name,
            "DALI" if config.dali else "Pillow",
            config.batch_size,
            self.trainer.steps,
        )

    def train(self, run: RunFolder) -> dict[str, Any]:
        """Runs the epochs that are left and returns the run's result."""
        started = time.perf_counter()
        history = History(run.metrics, run.tensorboard, self._rows)
        try:
            while not self.trainer.finished:
                row = self.trainer.run_epoch()
                self._save(run, [*history.rows, row])
                history.add(row)
                if self.trainer.sample is not None:
                    history.tensorboard.look_inside(
                        row.epoch, self.trainer.net, self.trainer.sample, self.spec
                    )
                log.info("%s", describe(row))
        finally:
            history.close()
        if not history.rows:
            raise UserError(f"{run.root} has no finished epoch", "give more --epochs")
        if self.trainer.schedule.finished:
            log.info("stopped: no progress for %d epochs at the lowest learning rate", self.config.patience)
        trained = load_trained(run.root)
        save_weights(run.weights, trained)
        return self._result(run, history.rows, time.perf_counter() - started)

    def _content(self, run: RunFolder, rows: list[EpochRow]) -> dict[str, Any]:
        """Returns what a checkpoint holds; see `checkpoint.save_checkpoint`."""
        state = self.trainer.state
        shared = state.shared_state()
        return {
            "model": self.arguments,
            "classes": list(self.splits.classes.names),
            "spec": self.spec.to_dict(),
            "weights": self.trainer.weights(),
            "training": {
                "shared": shared,
                "own": self.processes.gather(state.own_state()),
                "rows": [dataclasses.asdict(row) for row in rows],
                "fingerprint": self.fingerprint,
            },
            "provenance": {
                "run": run.root.name,
                "epoch": self.trainer.position.epoch,
                "val_top1": rows[-1].val_top1 if rows else None,
                "seed": self.config.seed,
                "val_fraction": self.config.val_fraction,
                "torch": str(torch.__version__),
                "alexnet_fast": __version__,
            },
        }

    def _save(self, run: RunFolder, rows: list[EpochRow]) -> None:
        """Writes the checkpoint of an epoch; where it is the best one, `best` names the same file.

        `best` comes first, so that `last` never points past it.
        """
        content = self._content(run, rows)
        if best_row(rows) is rows[-1]:
            save_checkpoint(run.best, content)
            link_atomically(run.best, run.last)
        else:
            save_checkpoint(run.last, content)

    def _result(self, run: RunFolder, rows: list[EpochRow], seconds: float) -> dict[str, Any]:
        """Returns what `--json` prints."""
        best = best_row(rows)
        rates = sorted(row.images_per_second for row in rows)
        position = self.trainer.position
        return {
            "run": str(run.root),
            "epochs": position.epoch,
            "steps": position.step,
            "best": {"epoch": best.epoch, "top1": best.val_top1, "top5": best.val_top5},
            "images_per_second": rates[len(rates) // 2],
            "bad_images": rows[-1].bad_images,
            "resumed_from": self.resumed_from,
            "seconds": seconds,
            "device": str(self.precision.device),
            "precision": self.precision.name,
        }


def describe(row: EpochRow) -> str:
    """Returns an epoch as one line."""
    return (
        f"epoch {row.epoch:3d}  train loss {row.train_loss:.4f} top-1 {row.train_top1:.3f}  "
        f"val loss {row.val_loss:.4f} top-1 {row.val_top1:.3f} top-5 {row.val_top5:.3f}  "
        f"lr {row.lr:g}  {row.images_per_second:.0f} images/s  {row.seconds:.0f} s"
    )


def _spec_of(saved: dict[str, Any]) -> AugmentSpec:
    """Returns the augmentation that a run began with."""
    return AugmentSpec.from_dict(saved["spec"])


def _model_arguments(config: TrainConfig, splits: Splits, spec: AugmentSpec) -> dict[str, Any]:
    """Returns the arguments of `build_model`."""
    arguments: dict[str, Any] = {
        "name": config.model,
        "num_classes": len(splits.classes),
        "image_size": spec.crop,
    }
    if config.dropout is not None:
        arguments["dropout"] = config.dropout
    return arguments
