"""Recovery from a process that died while it decoded a batch.

The record that it left names the batches. They are decoded again in worker processes, as training decodes
them. An image that crashes a worker is named, or excluded from the run for good (`blocked_images.json`).
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alexnet_fast.data import ImageList, Splits
from alexnet_fast.errors import UserError, system_reason
from alexnet_fast.pipelines.decoding_record import LeftRecord, OpenBatches, read_record
from alexnet_fast.pipelines.loader import Policy
from alexnet_fast.training.log import log, logging_to_file
from alexnet_fast.training.run_dir import RunDir
from alexnet_fast.utils.atomic import write_atomically
from alexnet_fast.version import __version__

# A fault between threads does not show every time; after a mere kill one repetition is enough.
_REPEATS_AFTER_FAULT, _REPEATS_AFTER_KILL = 8, 1
_MOST_NAMED = 10

# Reason by part and name, such as "train/cat/1.jpg".
Blocked = dict[str, str]
_Batches = list[tuple[str, OpenBatches]]


def blocked_images(run: RunDir, splits: Splits, policy: Policy) -> Blocked:
    """Returns the images that the run must not decode, after it has examined the records of dead processes.

    Only rank 0 calls this, while no other process decodes.

    Args:
        run: The run directory.
        splits: The images.
        policy: What to do about an image that crashed a process.

    Raises:
        UserError: There is such an image and the policy is "fail"; or a file cannot be read or written.
    """
    known = _read(run.blocked)
    if known and policy == "fail":
        raise UserError(
            f"this run has left out what a decoder died of: {_listed(known)}",
            f"give --on-bad-image skip, or remove {run.blocked} once they are replaced",
        )
    left = sorted(run.root.glob(run.decoding_pattern))
    if not left:
        return known
    with logging_to_file(run.log if run.log.exists() else None):
        found = _examined([read_record(path) for path in left], splits)
        if found and policy == "fail":
            raise UserError(
                f"the last process of this run died of {_listed(found)}",
                "give --on-bad-image skip to leave it out, or put a good file in its place",
            )
        for name, reason in found.items():
            log.warning("left out %s: %s", name, reason)
    known |= found
    if found:
        write_atomically(run.blocked, json.dumps(known, indent=1).encode())
    for path in left:
        path.unlink(missing_ok=True)
    return known


def without_blocked(splits: Splits, blocked: Mapping[str, str]) -> Splits:
    """Returns the same images, of which the blocked ones will not be decoded."""
    if not blocked:
        return splits
    train, val = (_blocking(part, listed, blocked) for part, listed in _parts(splits).items())
    return dataclasses.replace(splits, train=train, val=val)


def _parts(splits: Splits) -> dict[str, ImageList]:
    """Returns the image lists of a run by name."""
    return {"train": splits.train, "val": splits.val}


def _blocking(part: str, images: ImageList, blocked: Mapping[str, str]) -> ImageList:
    """Returns an image list with the images of these names blocked."""
    names = ((index, f"{part}/{name}") for index, name in enumerate(images.names))
    return images.blocking({index: blocked[name] for index, name in names if name in blocked})


def _read(path: Path) -> Blocked:
    """Reads the images that were blocked before.

    Raises:
        UserError: The file is damaged.
    """
    if not path.exists():
        return {}
    try:
        found: Any = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        reason = system_reason(error) if isinstance(error, OSError) else str(error)
        raise UserError(f"cannot read {path}: {reason}", "restore it, or start another --run") from error
    if not isinstance(found, dict) or not all(isinstance(reason, str) for reason in found.values()):
        raise UserError(f"{path} is not what a run writes", "restore it, or start another --run")
    return found


def _examined(records: list[LeftRecord], splits: Splits) -> Blocked:
    """Examines and logs what dead processes were decoding."""
    batches = _known_batches(records, splits)
    if not batches:
        return {}
    fault = next((record.fault for record in records if record.fault), None)
    log.info(
        "the last process of this run %s while %s decoded: they are examined in processes that may die",
        f"ended ({fault})" if fault else "was killed",
        _describe(batches),
    )
    try:
        return _culprits(batches, splits, _REPEATS_AFTER_FAULT if fault else _REPEATS_AFTER_KILL)
    except UserError as error:
        log.warning("they cannot be examined (%s): going on without", error.problem)
        return {}


def _known_batches(records: list[LeftRecord], splits: Splits) -> _Batches:
    """Returns the batches of records by part, without those of other image lists."""
    parts = {images.fingerprint(): part for part, images in _parts(splits).items()}
    found = [batches for record in records for batches in record.batches]
    ours = [each for each in found if each.loader.get("version") == __version__]
    known = [(parts[each.loader["images"]], each) for each in ours if each.loader["images"] in parts]
    if len(known) < len(found):
        log.warning(
            "the images or the version have changed since a process died: what it decoded is not known"
        )
    return known


def _describe(batches: _Batches) -> str:
    """Describes batches for the log, counted from 1."""
    # Every validation is epoch 0 of its loader.
    names = {"train": "training in epoch {}", "val": "validation"}
    each = [
        f"batches {found.first + 1} to {found.end} of {names[part].format(found.epoch + 1)}"
        for part, found in batches
    ]
    return " and ".join(dict.fromkeys(each)) + (" were" if each else "")


def _culprits(batches: _Batches, splits: Splits, repeats: int) -> Blocked:
    """Returns the images that crash a process.

    Raises:
        UserError: No worker can be started.
    """
    # Imported late: it imports torch and DALI's loader, which most runs need later.
    from alexnet_fast.scan.culprits import Suspect, find_culprits, suspects

    parts = _parts(splits)
    each = {suspect: part for part, found in batches for suspect in suspects(found, parts[part])}

    def log_death(suspect: Suspect, how: str) -> None:
        log.info("batch %d of %s: %s; looking for the image", suspect.step + 1, each[suspect], how)

    blocked: Blocked = {}
    findings = find_culprits(list(each), repeats=repeats, on_death=log_death)
    for finding in findings:
        part = each[finding.suspect]
        blocked |= {f"{part}/{parts[part].names[i]}": reason for i, reason in finding.culprits.items()}
        if finding.unexplained:
            log.warning(
                "batch %d of %s: %s; no image of it could be found guilty: going on",
                finding.suspect.step + 1,
                part,
                finding.unexplained,
            )
    if not findings:
        log.info("no image among %d ends a process: going on", sum(len(s.plan) for s in each))
    return blocked


def _listed(found: Blocked) -> str:
    """Returns the first images and their reasons as text."""
    named = [f"{name} ({reason})" for name, reason in itertools.islice(found.items(), _MOST_NAMED)]
    more = len(found) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")
