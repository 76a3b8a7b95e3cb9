"""`train`: a training run from its options to its files."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from typing import Any

from alexnet_fast.data import Splits
from alexnet_fast.data.split_rule import CURRENT_RULE, recorded_rule
from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.color_stats import ColorStats
from alexnet_fast.pipelines.decoding_record import recording
from alexnet_fast.training.adapt_defaults import fit_batch
from alexnet_fast.training.checkpoint.compatibility import write_file_list
from alexnet_fast.training.checkpoint.format import load_checkpoint
from alexnet_fast.training.checkpoint.manager import CheckpointInfo, CheckpointManager
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.console import Progress
from alexnet_fast.training.context import TrainContext
from alexnet_fast.training.crash_report import blocked_images, without_blocked
from alexnet_fast.training.data import open_splits
from alexnet_fast.training.distributed.group import (
    DistributedContext,
    StopSignals,
    init_distributed,
    launched,
    local_device,
)
from alexnet_fast.training.diverged import before_divergence
from alexnet_fast.training.log import log, logging_to_console, logging_to_file
from alexnet_fast.training.loop import TrainLoop
from alexnet_fast.training.metrics_log import best_row
from alexnet_fast.training.precision import choose_precision
from alexnet_fast.training.run_dir import RunDir, RunDirLock
from alexnet_fast.training.tensorboard import quiet_writer_errors
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
    """Trains until progress stops or the last epoch, and writes a run directory.

    This is the work of one process. Processes that torchrun has started train together; rank 0 writes the
    files.

    Args:
        config: The options.
        resume: Resume the run in `config.run` if there is one.
        redo_epoch: If another number of processes stopped within an epoch, go back to its start.
        adaptable: Names of options with default values: "batch_size" is adapted to the data.
        on_progress: Receives the progress within an epoch, in rank 0.
        colours: Colours of the training images, if they have been measured and the options ask for them.

    Returns:
        The object that `alexnet-fast train --json` prints.

    Raises:
        UserError: The data, the options or the run directory do not allow it.
    """
    if max(config.processes, config.gpus or 1) > 1 and not launched():
        raise UserError(
            "train runs in each of several processes", "use alexnet-fast train or torchrun", exit_code=2
        )
    device, run = local_device(config.device), RunDir(config.run)
    with (
        disk_errors(config.run),
        quiet_writer_errors(),
        init_distributed(device) as dist,
        StopSignals() as signals,
        RunDirLock(run, resume=resume) as run_lock,
        logging_to_console(dist.rank),
    ):
        dist.run_on_main(run_lock.check)
        manager = CheckpointManager(run, config.keep_checkpoints)
        info = dist.run_on_main(lambda: _choose(run, manager, dist.world, redo_epoch) if resume else None)
        saved = load_checkpoint(info.path) if info else None
        splits = _same_splits(config, dist, recorded_rule(saved["provenance"]) if saved else CURRENT_RULE)
        config, line = _adapt_batch_size(config, splits, dist, adaptable)
        # Before any process decodes: the records of processes that died still exist.
        blocked = dist.run_on_main(lambda: blocked_images(run, splits, config.on_bad_image))
        context = TrainContext(config=config, precision=choose_precision(config.amp, device), dist=dist)
        if dist.is_main:
            context = dataclasses.replace(context, on_progress=on_progress)
        with recording(run.decoding(dist.rank)):
            training_run = TrainingRun(context, without_blocked(splits, blocked), saved, colours)
            # The directory is made once all options are checked.
            dist.run_on_main(lambda: _prepare_dir(run_lock, training_run, manager, info))
            with logging_to_file(run.log if dist.is_main else None):
                training_run.announce()
                if line:
                    log.info("%s", line)
                return TrainLoop(training_run, run, manager, signals).train()


def _choose(
    run: RunDir, manager: CheckpointManager, processes: int, redo_epoch: bool
) -> CheckpointInfo | None:
    """Returns the checkpoint to resume; None starts from the beginning.

    Raises:
        UserError: No checkpoint is good, or the last one is within an epoch of another number of processes.
    """
    info = manager.latest()
    if info is not None:
        info = before_divergence(run, manager, info)
    if info is None or info.position.at_boundary or info.processes == processes:
        return info
    if not redo_epoch:
        raise UserError(
            f"{info.path} was saved by {info.processes} processes within epoch {info.position.epoch + 1},"
            f" and {processes} cannot go on there",
            f"go on with {info.processes}, or give --redo-epoch to go back to the start of that epoch",
        )
    log.info("going back to the start of epoch %d", info.position.epoch + 1)
    return manager.boundary_before(info)


def _adapt_batch_size(
    config: TrainConfig, splits: Splits, dist: DistributedContext, adaptable: Collection[str]
) -> tuple[TrainConfig, str]:
    """Adapts a default batch size to the data; returns a line about the change, or an empty one."""
    if "batch_size" not in adaptable:
        return config, ""
    images = len(splits.train)
    size = fit_batch(config, images, dist.world)
    if size == config.batch_size:
        return config, ""
    shared = f" and {dist.world} processes" if dist.world > 1 else ""
    line = f"batches of {size} instead of {config.batch_size}: there are {images} training images{shared}"
    return dataclasses.replace(config, batch_size=size), line


def _same_splits(config: TrainConfig, dist: DistributedContext, rule: int) -> Splits:
    """Lists the images.

    Raises:
        UserError: Two processes, on two machines, see different images.
    """
    splits = open_splits(config, rule)
    fingerprints = dist.gather((splits.train.fingerprint(), splits.val.fingerprint()))
    if len(set(fingerprints)) > 1:
        raise UserError(
            f"the processes of the job see different images in {config.data}",
            "give all machines the same data at the same path",
        )
    return splits


def _prepare_dir(
    run_lock: RunDirLock, training_run: TrainingRun, manager: CheckpointManager, info: CheckpointInfo | None
) -> None:
    """Makes the run directory, or restores it to its state at the checkpoint."""
    run_lock.make()
    run, rows = run_lock.run, training_run.rows
    training_run.config.save(run.config, notes=training_run.changes)
    training_run.splits.classes.save(run.classes)
    if not run.images.exists():
        write_file_list(run.images, training_run.splits)
    if info is not None:
        manager.point_at(info, best=info.position.at_boundary and best_row(rows) is rows[-1])
