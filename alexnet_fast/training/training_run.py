"""One process's part of a training run: what is built from the options, and the loop over epochs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from alexnet_fast.data import Splits
from alexnet_fast.models import build_model
from alexnet_fast.pipelines.color_stats import ColorStats
from alexnet_fast.pipelines.loader import Loader
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.training.batch_norm import recalibrate_batch_norm
from alexnet_fast.training.checkpoint.compatibility import Change, changed_options, make_fingerprint
from alexnet_fast.training.checkpoint.model_io import read_pretrained
from alexnet_fast.training.checkpoint.state import RandomStates
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.console import Progress
from alexnet_fast.training.data import load_initial_weights, make_loaders, make_spec, starting_input
from alexnet_fast.training.distributed.group import DistributedContext
from alexnet_fast.training.features.linear_probe import LinearProbe
from alexnet_fast.training.log import log
from alexnet_fast.training.metrics import EpochMetrics
from alexnet_fast.training.precision import Precision
from alexnet_fast.training.run_dir import RunDir
from alexnet_fast.training.trainer import Trainer
from alexnet_fast.version import __version__


class TrainingRun:
    """One call of `train`.

    Args:
        config: The options.
        splits: The images.
        precision: How to compute.
        processes: Those that train together.
        saved: The checkpoint to go on from.
        on_progress: Receives the progress within an epoch.
        colours: Those of the training images, where they have been measured.

    Attributes:
        changes: A line for each option that was changed on the way.
    """

    def __init__(
        self,
        config: TrainConfig,
        splits: Splits,
        precision: Precision,
        processes: DistributedContext,
        saved: dict[str, Any] | None,
        on_progress: Callable[[Progress], None],
        colours: ColorStats | None = None,
    ) -> None:
        self.config, self.splits, self.precision = config, splits, precision
        self._colours = colours
        self.processes = processes
        self.fingerprint = make_fingerprint(config, splits, precision)
        self._new: tuple[Change, ...] = ()
        self.changes: list[str] = []
        if saved is not None:
            before = saved["training"]["fingerprint"]
            self._new = changed_options(config, splits, before, self.fingerprint)
            self.changes = list(saved["training"].get("changes", ()))
        self._weights = read_pretrained(config.weights) if config.weights and saved is None else None
        self.spec = self._make_spec() if saved is None else AugmentSpec.from_dict(saved["spec"])
        self.arguments = _model_arguments(config, splits, self.spec)
        self._on_progress = on_progress
        self._net, self._train, self._val = self._build(saved)
        epoch = 0 if saved is None else saved["training"]["replicated"]["position"]["epoch"]
        self._features = self._feature_task() if self._head_alone(epoch) else None
        self.trainer = self._trainer()
        self.resumed_from: int | None = None
        self.rows: list[EpochMetrics] = []
        if saved is not None:
            self._take_up(saved["training"])

    def _make_spec(self) -> AugmentSpec:
        """Builds the augmentation; where it is measured, one process does that for all."""
        own = starting_input(self.config, self._weights)
        return self.processes.run_on_main(
            lambda: make_spec(self.config, self.splits, self.precision, own, self._colours)
        )

    def _build(self, saved: dict[str, Any] | None) -> tuple[nn.Module, Loader, Loader]:
        """Builds network and loaders; a run that goes on has its weights already."""
        device = self.precision.device
        RandomStates(device).seed(self.config.seed, self.processes.rank)
        torch.backends.cudnn.benchmark = device.type == "cuda"
        net = build_model(self.arguments)
        if self._weights is not None:
            load_initial_weights(net, self._weights, self.config, tuple(self.splits.classes.names))
        elif saved is not None:
            net.load_state_dict(saved["weights"])
        net = net.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        train, val = make_loaders(self.config, self.splits, self.spec, self.precision, self.processes)
        if self._weights is not None and self._head_alone(0):
            # A frozen network would else see these images with the statistics of those it was made for
            # (Li et al. 2016, "Revisiting Batch Normalization For Practical Domain Adaptation"). Of images
            # that grow, those of the last epoch have the size that the frozen network sees.
            epoch = self.config.epochs - 1 if self.config.progressive_resize else 0
            recalibrate_batch_norm(
                net, train, epoch, config=self.config, precision=self.precision, processes=self.processes
            )
        return net, train, val

    def _head_alone(self, epoch: int) -> bool:
        """Tells whether only the last layer learns in an epoch, counted from 0."""
        return self.config.linear_probe or (self.config.finetune and epoch < self.config.freeze_epochs)

    def _feature_task(self) -> LinearProbe:
        """Makes what the last layer learns on by itself."""
        cache = RunDir(self.config.run).features
        return LinearProbe(self._net, self._train, self._val, self.precision, cache, self.processes)

    def _trainer(self) -> Trainer:
        """Makes the trainer of the last layer, or of the whole network."""
        config, features, rest = (
            self.config,
            self._features,
            (self.precision, self.processes, self._on_progress),
        )
        if features is not None:
            # Vectors have no sides that could grow.
            config = dataclasses.replace(config, progressive_resize=None)
            return Trainer(features.head, features.train, features.val, config, *rest)
        factor = config.finetune_lr_factor if config.finetune else 1.0
        return Trainer(self._net, self._train, self._val, config, *rest, factor)

    def unfreeze_when_due(self) -> bool:
        """Lets the whole network learn where the last layer has learned alone for long enough.

        Between two epochs, before they are saved: a checkpoint is that of the trainer which goes on with it.
        """
        if self._features is None or self._head_alone(self.trainer.position.epoch):
            return False
        before = self.trainer
        self._net.load_state_dict(self._features.weights(before.kept))
        self._features = None
        self.trainer = self._trainer()
        self.trainer.go_on_from(before)
        return True

    def _take_up(self, training: dict[str, Any]) -> None:
        """Puts everything back as it was when the checkpoint was made."""
        self.rows = [EpochMetrics(**row) for row in training["rows"]]
        self.trainer.state.load_replicated(training["replicated"])
        position = self.trainer.position
        self.resumed_from = position.epoch
        if self._new:
            self.trainer.schedule.change({change.name: change.before for change in self._new})
            place = f"epoch {position.epoch + 1}, step {position.epoch_step + 1}"
            self.changes += [f"changed from {place} on: {change}" for change in self._new]
        if len(training["per_rank"]) == self.processes.world:
            self.trainer.state.load_per_rank(training["per_rank"][self.processes.rank])
            return
        # Other processes than before, between two epochs: what each had of its own begins anew.
        seed = self.config.seed + self.trainer.position.step
        RandomStates(self.precision.device).seed(seed, self.processes.rank)

    def announce(self) -> None:
        """Says what is about to run."""
        splits, config, world = self.splits, self.config, self.processes.world
        log.info(
            "%s %s: %d training and %d validation images, %d classes",
            "training" if self.resumed_from is None else "going on with",
            config.model,
            len(splits.train),
            len(splits.val),
            len(splits.classes),
        )
        parts = world * config.grad_accum_steps
        log.info(
            "%s on %s in %s, %s loader, batches of %d%s, %d steps an epoch",
            f"torch {torch.__version__}",
            self.precision.device,
            self.precision.name,
            "DALI" if config.dali else "Pillow",
            config.batch_size,
            f" ({world} processes x {config.grad_accum_steps} passes x {config.batch_size // parts})"
            * (parts > 1),
            self.trainer.steps,
        )
        position = self.trainer.position
        if self.resumed_from is not None:
            log.info("from epoch %d, after %d of its steps", position.epoch + 1, position.epoch_step)
        for change in self.changes[len(self.changes) - len(self._new) :]:
            log.info("%s", change)

    def _all_weights(self) -> dict[str, Any]:
        """Returns the state dict of the whole network."""
        kept = self.trainer.kept
        return kept.state_dict() if self._features is None else self._features.weights(kept)

    def content(self, rows: list[EpochMetrics]) -> dict[str, Any]:
        """Returns what a checkpoint holds; see `checkpoint.save_checkpoint`."""
        state = self.trainer.state
        replicated = state.replicated_state()
        return {
            "model": self.arguments,
            "classes": list(self.splits.classes.names),
            "spec": self.spec.to_dict(),
            "weights": self._all_weights(),
            "training": {
                "replicated": replicated,
                "per_rank": self.processes.gather(state.per_rank_state()),
                "rows": [dataclasses.asdict(row) for row in rows],
                "fingerprint": self.fingerprint,
                "changes": self.changes,
            },
            "provenance": {
                "run": self.config.run.name,
                "epoch": self.trainer.position.epoch,
                "val_top1": rows[-1].val_top1 if rows else None,
                "seed": self.config.seed,
                "val_fraction": self.config.val_fraction,
                "split_rule": self.splits.rule,
                **{key: value for key in _KEYS if (value := getattr(self.config, key)) is not None},
                "torch": str(torch.__version__),
                "alexnet_fast": __version__,
            },
        }


# Fields of WebDataset samples: a model is tried on those that it was trained on.
_KEYS = ("image_key", "label_key")


def _model_arguments(config: TrainConfig, splits: Splits, spec: AugmentSpec) -> dict[str, Any]:
    """Returns the arguments of `build_model`."""
    arguments: dict[str, Any] = {
        "name": config.model,
        "num_classes": len(splits.classes),
        "image_size": spec.crop,
    }
    for name in ("dropout", "init"):
        if getattr(config, name) is not None:
            arguments[name] = getattr(config, name)
    return arguments
