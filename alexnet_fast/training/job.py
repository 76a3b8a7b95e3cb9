"""A training run from its options to its files."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import torch

from alexnet_fast import __version__
from alexnet_fast.data import Splits, open_data
from alexnet_fast.device import choose_device
from alexnet_fast.errors import UserError
from alexnet_fast.files import link_atomically
from alexnet_fast.models import create_model, model_spec
from alexnet_fast.pipelines.loader import Loader, LoaderConfig, make_loader
from alexnet_fast.pipelines.plan import Schedule
from alexnet_fast.pipelines.spec import LIGHTING_JITTER, ORIGINAL_JITTER, AugmentSpec
from alexnet_fast.training.any_side import take_any_side
from alexnet_fast.training.augmentation import RANDOM_PARTS, random_parts
from alexnet_fast.training.checkpoint import load_checkpoint, save_checkpoint
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.history import EpochRow, History, best_row
from alexnet_fast.training.precision import Precision, choose_precision
from alexnet_fast.training.run_folder import RunFolder
from alexnet_fast.training.run_log import log, logging_to
from alexnet_fast.training.trained import load_trained, save_weights
from alexnet_fast.training.trainer import Progress, Trainer


def run_training(
    config: TrainConfig, *, resume: bool = False, show: Callable[[Progress], None] = lambda _: None
) -> dict[str, Any]:
    """Trains until progress stops or the epochs are over, and leaves a run folder behind.

    Args:
        config: The options.
        resume: Go on with the run in `config.run` where there is one.
        show: Receives the progress within an epoch.

    Returns:
        The object that `alexnet-fast train --json` prints.

    Raises:
        UserError: The data, the options or the run folder do not allow it.
    """
    run = RunFolder(config.run)
    run.check(resume=resume)
    splits = open_data(config.data, val_fraction=config.val_fraction)
    device = choose_device(config.device)
    precision = choose_precision(config.amp, device)
    saved = load_checkpoint(run.last, device) if run.last.exists() else None
    # The folder is made when nothing can be wrong with the options any more.
    with logging_to(None):
        session = _Session(config, splits, precision, saved, show)
    run.make()
    with logging_to(run.log):
        config.save(run.config)
        splits.classes.save(run.classes)
        session.announce(resumed=saved is not None)
        return session.train(run)


class _Session:
    """One call of `run_training`: what is built from the options, and the loop over epochs."""

    def __init__(
        self,
        config: TrainConfig,
        splits: Splits,
        precision: Precision,
        saved: dict[str, Any] | None,
        show: Callable[[Progress], None],
    ) -> None:
        self.config, self.splits, self.precision = config, splits, precision
        self.fingerprint = _fingerprint(config, splits)
        if saved is not None:
            _refuse_other_run(config, saved["training"]["fingerprint"], self.fingerprint)
            self.spec = AugmentSpec.from_dict(saved["spec"])
        else:
            self.spec = _spec(config, splits, precision)
        self.arguments = _model_arguments(config, splits, self.spec)
        self.trainer = self._trainer(show)
        self.resumed_from: int | None = None
        self._rows: list[EpochRow] = []
        if saved is not None:
            self._rows = [EpochRow(**row) for row in saved["training"]["rows"]]
            self.trainer.net.load_state_dict(saved["weights"])
            self.trainer.load_state_dict(saved["training"]["state"])
            self.resumed_from = self.trainer.epoch

    def train(self, run: RunFolder) -> dict[str, Any]:
        """Runs the epochs that are left and returns the run's result."""
        started = time.perf_counter()
        history = History(run.metrics, run.tensorboard, self._rows)
        try:
            while not self.trainer.finished:
                row = self.trainer.run_epoch()
                self._save(run, [*history.rows, row])
                history.add(row)
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
            len(self.trainer.train_loader),
        )

    def _trainer(self, show: Callable[[Progress], None]) -> Trainer:
        """Builds network, loaders and trainer."""
        torch.manual_seed(self.config.seed)
        device = self.precision.device
        torch.backends.cudnn.benchmark = device.type == "cuda"
        net = create_model(**self.arguments)
        net = net.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        course = self.spec.progressive
        if course is not None:
            take_any_side(net, own=self.spec.crop, smallest=min(course.start, course.end))
        train, val = _loaders(self.config, self.splits, self.spec, self.precision)
        return Trainer(net, train, val, self.config, self.precision, show)

    def _save(self, run: RunFolder, rows: list[EpochRow]) -> None:
        """Writes the checkpoint of an epoch; where it is the best one, `best` names the same file.

        `best` comes first, so that `last` never points past it.
        """
        row = rows[-1]
        content = {
            "model": self.arguments,
            "classes": list(self.splits.classes.names),
            "spec": self.spec.to_dict(),
            "weights": self.trainer.net.state_dict(),
            "training": {
                "state": self.trainer.state_dict(),
                "rows": [dataclasses.asdict(row) for row in rows],
                "fingerprint": self.fingerprint,
            },
            "provenance": {
                "run": run.root.name,
                "epoch": row.epoch,
                "val_top1": row.val_top1,
                "seed": self.config.seed,
                "val_fraction": self.config.val_fraction,
                "torch": str(torch.__version__),
                "alexnet_fast": __version__,
            },
        }
        if best_row(rows) is row:
            save_checkpoint(run.best, content)
            link_atomically(run.best, run.last)
        else:
            save_checkpoint(run.last, content)

    def _result(self, run: RunFolder, rows: list[EpochRow], seconds: float) -> dict[str, Any]:
        """Returns what `--json` prints."""
        best = best_row(rows)
        rates = sorted(row.images_per_second for row in rows)
        trainer = self.trainer
        return {
            "run": str(run.root),
            "epochs": trainer.epoch,
            "steps": trainer.step,
            "best": {"epoch": best.epoch, "top1": best.val_top1, "top5": best.val_top5},
            "images_per_second": rates[len(rates) // 2],
            "bad_images": len(trainer.train_loader.bad) + len(trainer.val_loader.bad),
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


def _loaders(
    config: TrainConfig, splits: Splits, spec: AugmentSpec, precision: Precision
) -> tuple[Loader, Loader]:
    """Makes the loaders of training and validation."""
    settings = _loader_config(config, precision)
    train = Schedule(pictures=len(splits.train), batch_size=config.batch_size, shuffle=True, seed=config.seed)
    val = Schedule(pictures=len(splits.val), batch_size=config.batch_size, shuffle=False)
    return (
        make_loader(splits.train, spec, "train", train, settings),
        make_loader(splits.val, spec, "centre", val, settings),
    )


def _loader_config(config: TrainConfig, precision: Precision) -> LoaderConfig:
    """Returns how the pictures are loaded; fp16 networks get fp16 pixels."""
    return LoaderConfig(
        kind="dali" if config.dali else "torch",
        device=precision.device,
        threads=config.threads,
        half=precision.dtype is torch.float16,
        on_bad_image=config.on_bad_image,
    )


def _spec(config: TrainConfig, splits: Splits, precision: Precision) -> AugmentSpec:
    """Builds the augmentation spec: the model's sizes and normalisation, the options, the data's colours."""
    own = model_spec(config.model).input
    jitters = {"original": ORIGINAL_JITTER, "lighting": LIGHTING_JITTER, "data": None, "off": None}
    spec = AugmentSpec(
        resize=config.resize or own.resize,
        crop=config.crop or own.crop,
        mean=own.mean,
        std=own.std,
        jitter=jitters[config.pca],
        **random_parts(config),
    )
    if "data" not in (config.pca, config.mean):
        return spec
    from alexnet_fast.pipelines.statistics import measure_colours

    schedule = Schedule(pictures=len(splits.train), batch_size=min(32, len(splits.train)), shuffle=False)
    loader = make_loader(splits.train, spec, "square", schedule, _loader_config(config, precision))
    log.info("measuring the colours of %d training pictures", len(splits.train))
    colours = measure_colours(loader.epoch(0))
    return dataclasses.replace(
        spec,
        mean=colours.mean if config.mean == "data" else spec.mean,
        jitter=colours.jitter if config.pca == "data" else spec.jitter,
    )


def _model_arguments(config: TrainConfig, splits: Splits, spec: AugmentSpec) -> dict[str, Any]:
    """Returns the arguments of `create_model`."""
    arguments: dict[str, Any] = {
        "name": config.model,
        "num_classes": len(splits.classes),
        "image_size": spec.crop,
    }
    if config.dropout is not None:
        arguments["dropout"] = config.dropout
    return arguments


# Options that must be the same for a run to go on as if it had not been cut off.
_SAME = (
    "model",
    "batch_size",
    "seed",
    "momentum",
    "weight_decay",
    "schedule",
    "dropout",
    "resize",
    "crop",
    "pca",
    "mean",
    *RANDOM_PARTS,
    "dali",
)


def _fingerprint(config: TrainConfig, splits: Splits) -> dict[str, Any]:
    """Returns what a resumed run must share with the run it goes on with."""
    # A cosine depends on its length; with a plateau more epochs may be added.
    same = (*_SAME, "epochs") if config.schedule == "cosine" else _SAME
    options = {"--" + name.replace("_", "-"): getattr(config, name) for name in same}
    return {
        **options,
        "the training pictures": splits.train.fingerprint(),
        "the validation pictures": splits.val.fingerprint(),
    }


def _refuse_other_run(config: TrainConfig, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuses to go on with a run that was another one, naming what differs."""
    for name, value in now.items():
        # A run of an older version had what is now an option's default.
        if before.get(name, _default_of(name)) == value:
            continue
        if name.startswith("--"):
            raise UserError(
                f"the run in {config.run} has {name} {before.get(name)}, not {value}",
                "go on with the same value, or start another --run",
            )
        raise UserError(
            f"{name} in {config.data} have changed since the run in {config.run} began",
            "restore them, or start another --run",
        )


def _default_of(name: str) -> Any:
    """Returns the default of an option, by its name in a fingerprint."""
    defaults = {field.name: field.default for field in dataclasses.fields(TrainConfig)}
    return defaults.get(name.removeprefix("--").replace("-", "_"))
