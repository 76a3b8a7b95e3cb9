"""Divergence: an infinite or undefined loss or weight, and the next `--resume`.

A checkpoint within the epoch may hold finite weights from which every next step fails, whatever the learning
rate. So the run records where it diverged, and `--resume` goes back to the start of that epoch.
"""

from __future__ import annotations

import json

from alexnet_fast.errors import UserError
from alexnet_fast.training.checkpoint.manager import CheckpointInfo, CheckpointManager
from alexnet_fast.training.checkpoint.state import Position
from alexnet_fast.training.log import log
from alexnet_fast.training.run_dir import RunDir
from alexnet_fast.utils.atomic import write_atomically


class DivergedError(UserError):
    """The loss or the weights are infinite or undefined."""


def remember_divergence(run: RunDir, position: Position) -> None:
    """Records where a run diverged.

    Raises:
        UserError: The file cannot be written.
    """
    place = {"epoch": position.epoch, "epoch_step": position.epoch_step}
    write_atomically(run.diverged, json.dumps(place).encode())


def before_divergence(
    run: RunDir, manager: CheckpointManager, latest: CheckpointInfo
) -> CheckpointInfo | None:
    """Returns the checkpoint to resume: `latest`, or one from before an epoch that diverged.

    Returns:
        None to start from the beginning.
    """
    if latest.position.at_boundary or _diverged_epoch(run) != latest.position.epoch:
        return latest
    log.info("the loss diverged in epoch %d: going back to its start", latest.position.epoch + 1)
    return manager.boundary_before(latest)


def forget_divergence(run: RunDir) -> None:
    """Removes the record of `remember_divergence`, once there is a later checkpoint."""
    run.diverged.unlink(missing_ok=True)


def _diverged_epoch(run: RunDir) -> int | None:
    """Returns the epoch, counted from 0, in which a run last diverged."""
    try:
        place = json.loads(run.diverged.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise UserError(f"{run.diverged} is damaged", "remove it") from error
    return int(place["epoch"]) if isinstance(place, dict) and "epoch" in place else None
