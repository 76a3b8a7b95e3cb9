"""One process's part of a training run: what the options build, and the content of checkpoints."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import nn

from alexnet_fast.data import Splits
from alexnet_fast.models import build_model
from alexnet_fast.pipelines.color_stats import ColorStats
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.training.batch_norm import recalibrate_batch_norm
from alexnet_fast.training.checkpoint.compatibility import Change, check_resumable, make_fingerprint
from alexnet_fast.training.checkpoint.model_io import read_pretrained
from alexnet_fast.training.checkpoint.state import RngState, load_parts, part_states
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.context import TrainContext
from alexnet_fast.training.data import initial_input, load_initial_weights, make_loaders, make_spec
from alexnet_fast.training.features.linear_probe import LinearProbe
from alexnet_fast.training.log import log
from alexnet_fast.training.metrics import EpochMetrics
from alexnet_fast.training.run_dir import RunDir
from alexnet_fast.training.trainer import Trainer
from alexnet_fast.version import __version__


class TrainingRun:
    """One call of `train`.

    Args:
        context: Options, device, processes and progress display.
        splits: The images.
        saved: The checkpoint to resume; None starts a run.
        colours: Colours of the training images, if they have been measured.

    Attributes:
        changes: A line for each option that has been changed by `--resume`.
    """

    def __init__(
        self,
        context: TrainContext,
        splits: Splits,
        saved: dict[str, Any] | None,
        colours: ColorStats | None = None,
    ) -> None:
        self.context, self.config, self.splits = context, context.config, splits
        self.fingerprint = make_fingerprint(self.config, splits, context.precision)
        self._new_changes: tuple[Change, ...] = ()
        self.changes: list[str] = []
        if saved is not None:
            before = saved["training"]["fingerprint"]
            self._new_changes = check_resumable(self.config, splits, before, self.fingerprint)
            self.changes = list(saved["training"].get("changes", ()))
        weights = self.config.weights
        self._weights = read_pretrained(weights) if weights and saved is None else None
        self.spec = self._make_spec(colours) if saved is None else AugmentSpec.from_dict(saved["spec"])
        self.arguments = _model_arguments(self.config, splits, self.spec)
        self._build(saved)
        epoch = 0 if saved is None else saved["training"]["replicated"]["position"]["epoch"]
        self._probe = self._make_probe() if self._head_alone(epoch) else None
        self.trainer = self._make_trainer()
        self.resumed_from: int | None = None
        self.rows: list[EpochMetrics] = []
        if saved is not None:
            self._restore(saved["training"])

    def _make_spec(self, colours: ColorStats | None) -> AugmentSpec:
        """Makes the augmentation spec, in rank 0 for all, since it may have to measure colours."""
        expected = initial_input(self.config, self._weights)
        return self.context.dist.run_on_main(lambda: make_spec(self.context, self.splits, expected, colours))

    def _build(self, saved: dict[str, Any] | None) -> None:
        """Builds the network, with the weights of the checkpoint or its initial ones, and the loaders."""
        device = self.context.device
        RngState(device).seed(self.config.seed, self.context.dist.rank)
        torch.backends.cudnn.benchmark = device.type == "cuda"
        net = build_model(self.arguments)
        if self._weights is not None:
            load_initial_weights(net, self._weights, self.config, tuple(self.splits.classes.names))
        elif saved is not None:
            net.load_state_dict(saved["weights"])
        net = net.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._net: nn.Module = net
        self._data = make_loaders(self.context, self.splits, self.spec)
        if self._weights is not None and self._head_alone(0):
            # Otherwise a frozen network would see these images with the statistics of its own training images
            # (Li et al. 2016, "Revisiting Batch Normalization For Practical Domain Adaptation"). With
            # progressive resizing, the frozen network sees the image size of the last epoch.
            epoch = self.config.epochs - 1 if self.config.progressive_resize else 0
            recalibrate_batch_norm(net, self._data.train, epoch, self.context)

    def _head_alone(self, epoch: int) -> bool:
        """Returns whether only the last layer is trained in an epoch, counted from 0."""
        return self.config.linear_probe or (self.config.finetune and epoch < self.config.freeze_epochs)

    def _make_probe(self) -> LinearProbe:
        """Makes the last layer and its training data."""
        return LinearProbe(self._net, self._data, self.context, RunDir(self.config.run).features)

    def _make_trainer(self) -> Trainer:
        """Makes the trainer of the last layer, or of the whole network."""
        if self._probe is not None:
            # Embeddings have no sides that could grow.
            config = dataclasses.replace(self.config, progressive_resize=None)
            context = dataclasses.replace(self.context, config=config)
            return Trainer(self._probe.head, self._probe.data, context)
        lr_factor = self.config.finetune_lr_factor if self.config.finetune else 1.0
        return Trainer(self._net, self._data, self.context, lr_factor)

    def unfreeze_if_due(self) -> bool:
        """Starts to train the whole network after `--freeze-epochs`; returns whether it has done so.

        Must be called between two epochs and before the checkpoint, which holds the state of the new trainer.
        """
        if self._probe is None or self._head_alone(self.trainer.position.epoch):
            return False
        before = self.trainer
        self._net.load_state_dict(self._probe.weights(before.eval_net))
        self._probe = None
        self.trainer = self._make_trainer()
        self.trainer.continue_from(before)
        return True

    def _restore(self, training: dict[str, Any]) -> None:
        """Restores the state of the checkpoint."""
        self.rows = [EpochMetrics(**row) for row in training["rows"]]
        state, dist = self.trainer.state, self.context.dist
        load_parts(state.replicated, training["replicated"])
        position = self.trainer.position
        self.resumed_from = position.epoch
        if self._new_changes:
            self.trainer.schedule.change({change.name: change.before for change in self._new_changes})
            place = f"epoch {position.epoch + 1}, step {position.epoch_step + 1}"
            self.changes += [f"changed from {place} on: {change}" for change in self._new_changes]
        if len(training["per_rank"]) == dist.world:
            load_parts(state.per_rank, training["per_rank"][dist.rank])
            return
        # With another number of processes, between two epochs, the state of each rank starts anew.
        RngState(self.context.device).seed(self.config.seed + position.step, dist.rank)

    def announce(self) -> None:
        """Logs what is about to run."""
        splits, config, world = self.splits, self.config, self.context.dist.world
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
            "%s on %s in %s, %s loader, batches of %d%s, %d steps per epoch",
            f"torch {torch.__version__}",
            self.context.device,
            self.context.precision.name,
            "DALI" if config.dali else "Pillow",
            config.batch_size,
            f" ({world} processes x {config.grad_accum_steps} passes x {config.batch_size // parts})"
            * (parts > 1),
            self.trainer.steps,
        )
        position = self.trainer.position
        if self.resumed_from is not None:
            log.info("from epoch %d, after %d of its steps", position.epoch + 1, position.epoch_step)
        for change in self.changes[len(self.changes) - len(self._new_changes) :]:
            log.info("%s", change)

    def checkpoint(self, rows: list[EpochMetrics]) -> dict[str, Any]:
        """Returns the content of a checkpoint; see `save_checkpoint`."""
        state, net = self.trainer.state, self.trainer.eval_net
        replicated = part_states(state.replicated)
        return {
            "model": self.arguments,
            "classes": list(self.splits.classes.names),
            "spec": self.spec.to_dict(),
            "weights": net.state_dict() if self._probe is None else self._probe.weights(net),
            "training": {
                "replicated": replicated,
                "per_rank": self.context.dist.gather(part_states(state.per_rank)),
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


# Fields of WebDataset samples, which evaluation has to read too.
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
