"""The checkpoints of a run: which is the newest good one, which are kept."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from alexnet_fast.errors import UserError
from alexnet_fast.training.checkpoint.format import load_checkpoint, peek_checkpoint, save_checkpoint
from alexnet_fast.training.checkpoint.state import Position
from alexnet_fast.training.log import log
from alexnet_fast.training.run_dir import RunDir
from alexnet_fast.utils.atomic import link_atomically


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckpointInfo:
    """A checkpoint in the folder.

    Args:
        path: The file.
        position: Where the run was when it was made.
        processes: How many processes made it.
    """

    path: Path
    position: Position
    processes: int

    @property
    def order(self) -> tuple[int, int]:
        """What newer ones have more of."""
        return (self.position.epoch, self.position.epoch_step)


class CheckpointManager:
    """The files `epoch-E-step-S.pt`, and the links `last.pt` and `best.pt` to two of them.

    Args:
        run: The run's folder.
        keep: How many of the last ones stay, besides the best and that of the last epoch's end.
    """

    def __init__(self, run: RunDir, keep: int) -> None:
        self._run, self._keep = run, keep
        self._known: list[CheckpointInfo] = []

    def save(self, content: dict[str, Any], *, best: bool) -> None:
        """Writes a checkpoint, lets `last` and, where it is the best, `best` name it, and drops old ones.

        Raises:
            UserError: It cannot be written; those before are left.
        """
        position = position_of(content)
        path = self._run.checkpoints / f"epoch-{position.epoch:05d}-step-{position.step:09d}.pt"
        save_checkpoint(path, content)
        saved = _info(path, content)
        # `last` comes last, so that it never points past `best`.
        self.point_at(saved, best=best)
        self._drop_old(saved)

    def point_at(self, found: CheckpointInfo, *, best: bool) -> None:
        """Lets the links name a checkpoint, as `save` does; a killed run may not have come so far.

        Raises:
            UserError: They cannot be written.
        """
        for link in (self._run.best, self._run.last) if best else (self._run.last,):
            if found.path != link:
                link_atomically(found.path, link)

    def latest(self) -> CheckpointInfo | None:
        """Returns the newest good checkpoint by what the files hold, whatever their names and dates.

        Returns:
            None where the folder holds no checkpoint at all.

        Raises:
            UserError: There are some, and all are damaged.
        """
        self._known, damaged = self._list()
        found = self._first_good(self._known)
        if found is None and (self._known or damaged):
            raise UserError(
                f"no checkpoint in {self._run.checkpoints} is good", "restore one, or start another --run"
            )
        return found

    def boundary_before(self, found: CheckpointInfo) -> CheckpointInfo | None:
        """Returns the newest good checkpoint of an epoch's end before one that `newest` gave."""
        return self._first_good(
            [each for each in self._known if each.position.at_boundary and each.order <= found.order]
        )

    def _first_good(self, candidates: list[CheckpointInfo]) -> CheckpointInfo | None:
        """Returns the newest checkpoint that matches its fingerprint, and reports those that do not."""
        for found in sorted(candidates, key=lambda each: each.order, reverse=True):
            try:
                load_checkpoint(found.path)
            except UserError as error:  # noqa: PERF203 - each file is tried by itself
                log.warning("left aside: %s", error.problem)
            else:
                return found
        return None

    def _list(self) -> tuple[list[CheckpointInfo], list[UserError]]:
        """Returns the checkpoints whose place can be read, and why the others' cannot."""
        candidates: list[CheckpointInfo] = []
        damaged: list[UserError] = []
        seen: set[tuple[int, int]] = set()
        # A file is known by its numbered name rather than by that of a link to it.
        for path in sorted(self._run.checkpoints.glob("*.pt"), key=lambda each: (not _numbered(each), each)):
            status = path.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            try:
                candidates.append(_info(path, peek_checkpoint(path)))
            except UserError as error:
                damaged.append(error)
                log.warning("left aside: %s", error.problem)
        return candidates, damaged

    def _drop_old(self, saved: CheckpointInfo) -> None:
        """Removes the numbered files that are not kept; the links keep what they name.

        Files of a later place are of a run that was left when this one went on from before them.
        """
        known = [each for each in self._known if each.path != saved.path and _numbered(each.path)]
        before = [each for each in known if each.order < saved.order]
        line = [*sorted(before, key=lambda each: each.order), saved]
        ends = [each for each in line if each.position.at_boundary]
        self._known = [each for each in line if each in line[-self._keep :] or each in ends[-1:]]
        for each in known:
            if each not in self._known:
                each.path.unlink(missing_ok=True)


def _numbered(path: Path) -> bool:
    """Tells whether a file is a checkpoint itself and no link to one."""
    return path.name.startswith("epoch-")


def position_of(content: dict[str, Any]) -> Position:
    """Returns where the run was when a checkpoint was made."""
    return Position(**content["training"]["replicated"]["position"])


def _info(path: Path, content: dict[str, Any]) -> CheckpointInfo:
    """Describes a checkpoint."""
    return CheckpointInfo(
        path=path, position=position_of(content), processes=len(content["training"]["per_rank"])
    )
