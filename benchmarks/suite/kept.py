"""The figures of each part in a file of its own, so that an interrupted run can be resumed."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

from alexnet_fast.utils.atomic import write_atomically
from benchmarks.suite.parts import SuitePart


@dataclasses.dataclass(frozen=True, kw_only=True)
class Circumstances:
    """The conditions of a figure, besides its command.

    Args:
        commit: Commit of the source, with "+changes" and their hash if files differ from it; None outside its
            checkout.
        hardware: As in every report.
        versions: As in every report.
    """

    commit: str | None
    hardware: dict[str, Any]
    versions: dict[str, Any]


def source_commit(file: Path = Path(__file__)) -> str | None:
    """Returns the commit of this code, with a hash of later changes.

    Args:
        file: One of its files. A checkout that does not hold it, around a virtual environment, is another's.
    """
    answers = []
    for words in (["ls-files", "--error-unmatch", file.name], ["rev-parse", "HEAD"], ["diff", "HEAD"]):
        try:
            done = subprocess.run(["git", "-C", str(file.parent), *words], capture_output=True, check=False)
        except FileNotFoundError:
            return None
        if done.returncode:
            return None
        answers.append(done.stdout)
    _, commit, changes = answers
    name = commit.decode().strip()
    return f"{name}+changes-{hashlib.sha256(changes).hexdigest()[:8]}" if changes else name


def keep(directory: Path, part: SuitePart, around: Circumstances, **outcome: Any) -> dict[str, Any]:
    """Writes the outcome of a part.

    Args:
        directory: Folder of the parts.
        part: The part.
        around: The conditions.
        outcome: "result" or "error", and "seconds".

    Returns:
        The whole record.
    """
    record = {
        "part": part.name,
        "variant": part.variant,
        "device": part.device,
        "command": part.shown,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        **dataclasses.asdict(around),
        **outcome,
    }
    write_atomically(directory / f"{part.key}.json", json.dumps(record, indent=2).encode() + b"\n")
    return record


def kept(directory: Path, part: SuitePart, around: Circumstances) -> dict[str, Any] | None:
    """Returns an earlier result of the same command under the same conditions, or None.

    A part that failed, and a file that is damaged, are measured again.
    """
    try:
        record: dict[str, Any] = json.loads((directory / f"{part.key}.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    same = {"command": part.shown, **dataclasses.asdict(around)}
    if "result" not in record or any(record.get(name) != value for name, value in same.items()):
        return None
    return record
