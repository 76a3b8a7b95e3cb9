"""A training run from its options to its files."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from typing import Any

from alexnet_fast.data import Splits
from alexnet_fast.data.split_rule import CURRENT_RULE, recorded_rule
from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.color_stats import ColorStats
from alexnet_fast.pipelines.decoding_record import recording
from alexnet_fast.training.adapting import fit_batch
from alexnet_fast.training.checkpoint.compatibility import record_images
from alexnet_fast.training.checkpoint.format import load_checkpoint
from alexnet_fast.training.checkpoint.manager import CheckpointInfo, CheckpointManager
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.console import Progress
from alexnet_fast.training.crash_report import blocked_images, without_blocked
from alexnet_fast.training.data import open_splits
from alexnet_fast.training.distributed.group import (
    DistributedContext,
    StopSignals,
    joined,
    launched,
    local_device,
)
from alexnet_fast.training.diverged import before_divergence
from alexnet_fast.training.log import log, logging_to_console, logging_to_file
from alexnet_fast.training.loop import TrainLoop
from alexnet_fast.training.metrics_log import best_row
from alexnet_fast.training.precision import choose_precision
from alexnet_fast.training.run_dir import RunDir, RunDirLock
from alexnet_fast.training.tensorboard import writer_errors_told_once
from alexnet_fast.training.training_run import TrainingRun
from alexnet_fast.utils.atomic import disk_errors


def train(
    config: TrainConfig,
    *,
    resume: bool = False,
    redo_epoch: bool = False,
    adaptable: Collection[str] = (),
    on_progress: Callable[[Progress], None] = lambda _: None,
    colours: ColorStats | None = None,
) -> dict[str, Any]:
    """Trains until progress stops or the epochs are over, and leaves a run folder behind.

    This is the work of one process. One that torchrun has started trains together with the others; the first
    of them writes the files.

    Args:
        config: The options.
        resume: Go on with the run in `config.run` where there is one.
        redo_epoch: Where another number of processes stopped within an epoch, go back to its start.
        adaptable: Names of options that nobody gave: "batch_size" is made to fit the data.
        on_progress: Receives the progress within an epoch, in the first process.
        colours: Those of the training images, where they have been measured and the options ask for them.

    Returns:
        The object that `alexnet-fast train --json` prints.

    Raises:
        UserError: The data, the options or the run folder do not allow it.
    """
    if max(config.processes, config.gpus or 1) > 1 and not launched():
        raise UserError(
            "train is one process of many", "call it in each, or use alexnet-fast train", exit_code=2
        )
    device, run = local_device(config.device), RunDir(config.run)
    with (
        disk_errors(config.run),
        writer_errors_told_once(),
        joined(device) as processes,
        StopSignals() as signals,
        RunDirLock(run, resume=resume) as claim,
        logging_to_console(processes.rank),
    ):
        processes.run_on_main(claim.check)
        directory = CheckpointManager(run, config.keep_checkpoints)
        found = processes.run_on_main(
            lambda: _choose(run, directory, processes.world, redo_epoch) if resume else None
        )
        saved = load_checkpoint(found.path) if found else None
        precision = choose_precision(config.amp, device)
        rule = recorded_rule(saved["provenance"]) if saved else CURRENT_RULE
        splits = _agreed_splits(config, processes, rule)
        config, line = _fitted(config, splits, processes, adaptable)
        # Before any process decodes: the records of those that died are still there.
        blocked = processes.run_on_main(lambda: blocked_images(run, splits, config.on_bad_image))
        with recording(run.decoding(processes.rank)):
            shown = on_progress if processes.is_main else _mute
            splits = without_blocked(splits, blocked)
            session = TrainingRun(config, splits, precision, processes, saved, shown, colours)
            # The folder is made when nothing can be wrong with the options any more.
            processes.run_on_main(lambda: _begin(claim, session, directory, found))
            with logging_to_file(run.log if processes.is_main else None):
                session.announce()
                if line:
                    log.info("%s", line)
                return TrainLoop(session, run, directory, signals).train()


def _choose(
    run: RunDir, directory: CheckpointManager, processes: int, redo_epoch: bool
) -> CheckpointInfo | None:
    """Returns the checkpoint to go on from; None begins anew.

    Raises:
        UserError: None is good, or the newest is of other processes and within an epoch.
    """
    found = directory.latest()
    if found is not None:
        found = before_divergence(run, directory, found)
    if found is None or found.position.at_boundary or found.processes == processes:
        return found
    if not redo_epoch:
        raise UserError(
            f"{found.path} was saved by {found.processes} processes within epoch {found.position.epoch + 1},"
            f" and {processes} cannot go on there",
            f"go on with {found.processes}, or give --redo-epoch to go back to the start of that epoch",
        )
    log.info("going back to the start of epoch %d", found.position.epoch + 1)
    return directory.boundary_before(found)


def _fitted(
    config: TrainConfig, splits: Splits, processes: DistributedContext, adaptable: Collection[str]
) -> tuple[TrainConfig, str]:
    """Makes a batch that nobody gave fit the data; returns a line about it where it had to be changed."""
    if "batch_size" not in adaptable:
        return config, ""
    images = len(splits.train)
    size = fit_batch(config, images, processes.world)
    if size == config.batch_size:
        return config, ""
    shared = f" and {processes.world} processes" if processes.world > 1 else ""
    line = f"batches of {size} instead of {config.batch_size}: there are {images} training images{shared}"
    return dataclasses.replace(config, batch_size=size), line


def _agreed_splits(config: TrainConfig, processes: DistributedContext, rule: int) -> Splits:
    """Lists the images.

    Raises:
        UserError: Two processes, on two machines, see other images.
    """
    splits = open_splits(config, rule)
    seen = processes.gather((splits.train.fingerprint(), splits.val.fingerprint()))
    if len(set(seen)) > 1:
        raise UserError(
            f"the processes of the job see different images in {config.data}",
            "give all machines the same data at the same path",
        )
    return splits


def _begin(
    claim: RunDirLock, session: TrainingRun, directory: CheckpointManager, found: CheckpointInfo | None
) -> None:
    """Makes the folder, and brings it into the state that the checkpoint has left it in."""
    claim.make()
    session.config.save(claim.run.config, notes=session.changes)
    session.splits.classes.save(claim.run.classes)
    if not claim.run.images.exists():
        record_images(claim.run.images, session.splits)
    if found is not None:
        rows = session.rows
        directory.point_at(found, best=found.position.at_boundary and best_row(rows) is rows[-1])


def _mute(progress: Progress) -> None:
    """Shows nothing: the first process speaks for all."""
    del progress
