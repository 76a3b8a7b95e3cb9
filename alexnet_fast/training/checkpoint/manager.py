"""The checkpoints of a run: the latest good one, and which are kept."""

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
    """A checkpoint file.

    Args:
        path: The file.
        position: Position of the run.
        processes: Number of processes of the run.
    """

    path: Path
    position: Position
    processes: int

    @property
    def order(self) -> tuple[int, int]:
        """Sort key; later checkpoints have a larger one."""
        return (self.position.epoch, self.position.epoch_step)


class CheckpointManager:
    """The files `epoch-E-step-S.pt`, and the links `last.pt` and `best.pt` to two of them.

    Args:
        run: The run directory.
        keep: Number of latest checkpoints to keep, besides the best and the latest of an epoch's end.
    """

    def __init__(self, run: RunDir, keep: int) -> None:
        self._run, self._keep = run, keep
        self._known: list[CheckpointInfo] = []

    def save(self, content: dict[str, Any], *, best: bool) -> None:
        """Writes a checkpoint, links `last.pt` and, if it is the best, `best.pt` to it, and removes old ones.

        Raises:
            UserError: It cannot be written; the previous ones stay.
        """
        position = position_of(content)
        path = self._run.checkpoints / f"epoch-{position.epoch:05d}-step-{position.step:09d}.pt"
        save_checkpoint(path, content)
        saved = _info(path, content)
        # `last` is linked after `best`, so that it never points to a later checkpoint.
        self.point_at(saved, best=best)
        self._remove_old(saved)

    def point_at(self, info: CheckpointInfo, *, best: bool) -> None:
        """Links `last.pt` and `best.pt` to a checkpoint, as `save` does; a killed run may lack the links.

        Raises:
            UserError: A link cannot be written.
        """
        for link in (self._run.best, self._run.last) if best else (self._run.last,):
            if info.path != link:
                link_atomically(info.path, link)

    def latest(self) -> CheckpointInfo | None:
        """Returns the latest good checkpoint by the content of the files, not their names and dates.

        Returns:
            None if there is no checkpoint.

        Raises:
            UserError: All checkpoints are damaged.
        """
        self._known, damaged = self._list()
        latest = self._latest_good(self._known)
        if latest is None and (self._known or damaged):
            raise UserError(
                f"no checkpoint in {self._run.checkpoints} is good", "restore one, or start another --run"
            )
        return latest

    def boundary_before(self, info: CheckpointInfo) -> CheckpointInfo | None:
        """Returns the latest good checkpoint of an epoch's end up to a checkpoint of `latest`."""
        return self._latest_good(
            [each for each in self._known if each.position.at_boundary and each.order <= info.order]
        )

    def _latest_good(self, candidates: list[CheckpointInfo]) -> CheckpointInfo | None:
        """Returns the latest checkpoint that matches its hash; logs the others."""
        for info in sorted(candidates, key=lambda each: each.order, reverse=True):
            try:
                load_checkpoint(info.path)
            except UserError as error:  # noqa: PERF203 - each file is tried by itself
                log.warning("skipped: %s", error.problem)
            else:
                return info
        return None

    def _list(self) -> tuple[list[CheckpointInfo], list[UserError]]:
        """Returns the readable checkpoints, and the errors of the others."""
        candidates: list[CheckpointInfo] = []
        damaged: list[UserError] = []
        seen: set[tuple[int, int]] = set()
        # Numbered names come before the links to them.
        for path in sorted(self._run.checkpoints.glob("*.pt"), key=lambda each: (not _numbered(each), each)):
            status = path.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            try:
                candidates.append(_info(path, peek_checkpoint(path)))
            except UserError as error:
                damaged.append(error)
                log.warning("skipped: %s", error.problem)
        return candidates, damaged

    def _remove_old(self, saved: CheckpointInfo) -> None:
        """Removes old numbered files; the best one stays by its link.

        Files of a later position are of an abandoned line: the run has resumed from before them.
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
    """Returns whether a file is a checkpoint itself and no link to one."""
    return path.name.startswith("epoch-")


def position_of(content: dict[str, Any]) -> Position:
    """Returns the position of a checkpoint."""
    return Position(**content["training"]["replicated"]["position"])


def _info(path: Path, content: dict[str, Any]) -> CheckpointInfo:
    """Returns the description of a checkpoint."""
    return CheckpointInfo(
        path=path, position=position_of(content), processes=len(content["training"]["per_rank"])
    )
