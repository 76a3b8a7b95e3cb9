"""A loss or weights that are no numbers any more, and what the next `--resume` makes of it.

A checkpoint within the epoch may hold finite weights that were beyond rescue already: whatever the rate, the
next step would fail. So the run remembers where it diverged, and goes back to the start of that epoch.
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
    """The loss or the weights are infinite or no numbers."""


def remember_divergence(run: RunDir, position: Position) -> None:
    """Writes down where a run diverged.

    Raises:
        UserError: The file cannot be written.
    """
    place = {"epoch": position.epoch, "epoch_step": position.epoch_step}
    write_atomically(run.diverged, json.dumps(place).encode())


def before_divergence(
    run: RunDir, directory: CheckpointManager, found: CheckpointInfo
) -> CheckpointInfo | None:
    """Returns the checkpoint to go on from: `found`, or one from before an epoch that diverged.

    Returns:
        None to begin anew.
    """
    if found.position.at_boundary or _diverged_epoch(run) != found.position.epoch:
        return found
    log.info("the loss diverged in epoch %d: going back to its start", found.position.epoch + 1)
    return directory.boundary_before(found)


def forget_divergence(run: RunDir) -> None:
    """Removes what `remember_divergence` wrote, once there is a checkpoint from after it."""
    run.diverged.unlink(missing_ok=True)


def _diverged_epoch(run: RunDir) -> int | None:
    """Returns the epoch, counted from 0, in which a run diverged last."""
    try:
        place = json.loads(run.diverged.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise UserError(f"{run.diverged} is damaged", "remove it") from error
    return int(place["epoch"]) if isinstance(place, dict) and "epoch" in place else None
