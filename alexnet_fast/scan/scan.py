"""A whole folder examined."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alexnet_fast.data.name_lists import written_name
from alexnet_fast.data.shard_fields import DEFAULT_FIELDS, ShardFields
from alexnet_fast.data.shard_files import is_tar
from alexnet_fast.scan.inspect import ImageReport, InTars, Member, Row, TarCount, examine, told_apart
from alexnet_fast.scan.listing import Listing
from alexnet_fast.scan.worker_pool import TaskFailed, run_tasks
from alexnet_fast.utils.atomic import write_atomically


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScanReport:
    """What a scan found.

    Args:
        images: Number of files that training would list.
        bad: (file, reason), sorted; files are named relative to the folder, with "/" between the parts.
        odd: (file, what), sorted.
        ignored: What training does not list, files and members of tars, with the reason, sorted.
        tars: What became of the members of each tar.
    """

    images: int
    bad: tuple[tuple[str, str], ...]
    warnings: tuple[tuple[str, str], ...]
    ignored: tuple[Row, ...] = ()
    tars: tuple[TarCount, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as plain JSON values."""
        return {
            "images": self.images,
            "bad": [{"file": file, "reason": reason} for file, reason in self.bad],
            "warnings": [{"file": file, "what": what} for file, what in self.warnings],
            "ignored": [{"file": file, "reason": why, "members": count} for file, why, count in self.ignored],
            "tars": [tar._asdict() for tar in self.tars],
        }

    def write_exclude_list(self, path: Path) -> None:
        """Writes the bad files, one per line, as `ExcludeList.load` reads them.

        Raises:
            UserError: The file cannot be written.
        """
        lines = "".join(f"{written_name(file)}\n" for file, _ in self.bad)
        write_atomically(path, lines.encode("utf-8", "surrogateescape"))


def scan_dir(
    root: Path,
    listing: Listing,
    *,
    workers: int,
    seconds: float,
    begin: Callable[[int], None] = lambda _: None,
    on_progress: Callable[[], None] = lambda: None,
    look: Callable[[str | Member], ImageReport] = examine,
    fields: ShardFields = DEFAULT_FIELDS,
) -> ScanReport:
    """Examines files in worker processes.

    Args:
        root: The folder.
        listing: Its files; see `list_for_scan`.
        workers: Number of processes.
        seconds: Maximum seconds for one file.
        begin: Receives the number of files and members of tars, before the first is examined.
        on_progress: Called after each.
        look: Examines one, given the full path of a file or a member.
        fields: The fields of a tar's samples that are image and label.

    Raises:
        UserError: No worker can be started.
    """
    inside = InTars()
    for name in filter(is_tar, listing.names):
        inside.look_into(root, name, fields)
    tasks: dict[str | Member, str] = {f"{root}/{name}": name for name in listing.names if not is_tar(name)}
    tasks |= {member: member.listed for member in told_apart(inside.members)}
    images = 0
    bad = [row[:2] for row in inside.bad]
    warnings = [row[:2] for row in inside.warnings]
    warnings += [(directory, "a class folder without images") for directory in listing.empty]
    begin(len(tasks))
    for task, found in run_tasks(look, list(tasks), workers=workers, seconds=seconds):
        report = ImageReport(image=True, error=found.reason) if isinstance(found, TaskFailed) else found
        images += report.image
        where = f" (in {Path(task.location.path).name})" if isinstance(task, Member) else ""
        if report.error:
            bad.append((tasks[task], report.error + where))
        warnings += [(tasks[task], what + where) for what in report.warnings]
        on_progress()
    ignored = [*inside.ignored, *(Row(file, reason) for file, reason in listing.ignored)]
    return ScanReport(
        images=images,
        bad=tuple(sorted(bad)),
        warnings=tuple(sorted(warnings)),
        ignored=tuple(sorted(ignored)),
        tars=tuple(inside.counts),
    )
