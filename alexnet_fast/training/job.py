"""A training run from its options to its files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from alexnet_fast.data import open_data
from alexnet_fast.device import choose_device
from alexnet_fast.training.checkpoint import load_checkpoint
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.precision import choose_precision
from alexnet_fast.training.run_folder import RunFolder
from alexnet_fast.training.run_log import logging_to
from alexnet_fast.training.session import Session
from alexnet_fast.training.trainer import Progress


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
        session = Session(config, splits, precision, saved, show)
    run.make()
    with logging_to(run.log):
        config.save(run.config)
        splits.classes.save(run.classes)
        session.announce(resumed=saved is not None)
        return session.train(run)
