"""Runs the parts one after the other, each in a process of its own, and stores their results."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alexnet_fast.bench import report
from alexnet_fast.errors import UserError
from alexnet_fast.runtime.cuda import driver_problem
from alexnet_fast.utils.atomic import make_dir, write_atomically
from benchmarks.suite.kept import Circumstances, keep, kept, source_commit
from benchmarks.suite.material import export_fresh, forget_other_sizes, lay_out_many
from benchmarks.suite.parts import FULL, QUICK, STARTUP, Device, Material, Scale, SuitePart, parts

# Timeout of a part in seconds: the longest takes three minutes on two cores.
PART_LIMIT = 900

Begin = Callable[[int], object]
OnProgress = Callable[[SuitePart, str], object]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Suite:
    """A full run.

    Args:
        files: Folder of JPEGs as they are.
        prepared: The same images prepared.
        output: Folder of the results.
        baselines: Folder of other projects' loaders, or None.
        quick: Whether only to show that everything runs.
    """

    files: Path
    prepared: Path
    output: Path
    baselines: Path | None
    quick: bool

    @property
    def scale(self) -> Scale:
        """The amount of work."""
        return QUICK if self.quick else FULL

    @property
    def devices(self) -> tuple[Device, ...]:
        """The CPU, and the GPU if there is one."""
        return ("cpu",) if driver_problem() else ("cpu", "cuda")

    @property
    def work(self) -> Path:
        """Folder for temporary files."""
        return self.output / "work"

    def material(self) -> Material:
        """The images and the model."""
        return Material(
            files=self.files,
            prepared=self.prepared,
            model=self.work / f"{self.scale.model}.onnx",
            many=self.work / "many",
            baselines=self.baselines,
            cores=len(os.sched_getaffinity(0)),
        )


def run_suite(
    suite: Suite, begin: Begin = lambda _: None, on_progress: OnProgress = lambda *_: None
) -> dict[str, Any]:
    """Measures the parts without an earlier result under these conditions.

    Args:
        suite: What to measure.
        begin: Receives the number of parts.
        on_progress: Called with each part and its state: "begins", "kept", "done" or the error.

    Returns:
        What is in results.json: "date", "commit", "hardware", "versions", "quick", "devices", "scale", and in
        "parts" a record of each part by name, with "result" or "error".

    Raises:
        UserError: There are no images, or the results cannot be written.
    """
    _check(suite)
    make_dir(suite.output / "parts")
    material = suite.material()
    # Temporary files of an interrupted run may come from other code, or be incomplete.
    shutil.rmtree(suite.work, ignore_errors=True)
    todo = [
        part for device in suite.devices for part in parts(suite.scale, material, device, quick=suite.quick)
    ]
    begin(len(todo))
    around = Circumstances(commit=source_commit(), **report.machine())
    records = {part.key: _one(suite, material, part, around, on_progress) for part in todo}
    shutil.rmtree(suite.work, ignore_errors=True)
    results = {
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        **dataclasses.asdict(around),
        "quick": suite.quick,
        "devices": list(suite.devices),
        "scale": dataclasses.asdict(suite.scale),
        "cores": material.cores,
        "parts": records,
    }
    text = json.dumps(results, indent=2, default=list)
    write_atomically(suite.output / "results.json", text.encode() + b"\n")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def _check(suite: Suite) -> None:
    """Checks at once the conditions that every part needs."""
    for directory in (suite.files, suite.prepared):
        if not directory.is_dir():
            raise UserError(f"there is no folder {directory}", "make bench makes both", exit_code=2)
    if suite.baselines is not None and not (suite.baselines / ".venv" / "bin" / "python").exists():
        raise UserError(
            f"the baselines in {suite.baselines} have no environment", "make baselines sets it up"
        )


def _one(
    suite: Suite, material: Material, part: SuitePart, around: Circumstances, show: OnProgress
) -> dict[str, Any]:
    """Measures one part, or reuses an earlier result."""
    directory = suite.output / "parts"
    before = kept(directory, part, around)
    if before is not None:
        show(part, "kept")
        return before
    show(part, "begins")
    _get_ready(suite, material, part)
    started = time.perf_counter()
    outcome = run_part(part)
    record = keep(directory, part, around, seconds=round(time.perf_counter() - started, 1), **outcome)
    show(part, str(outcome.get("error", "done")))
    return record


def _get_ready(suite: Suite, material: Material, part: SuitePart) -> None:
    """Creates the material of a part, unless it exists."""
    size = int(part.variant.split("-")[0]) if part.name == STARTUP else None
    forget_other_sizes(material.many, suite.scale, size)
    if size is not None:
        lay_out_many(material.prepared, material.many, size)
    if str(material.model) in part.command:
        export_fresh(suite.scale.model, material.model)


def run_part(part: SuitePart) -> dict[str, Any]:
    """Runs a part's command; returns its "result" or its "error"."""
    with subprocess.Popen(
        part.command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            answer, stderr = process.communicate(timeout=PART_LIMIT)
        except BaseException as error:
            # Servers and baselines that it started keep its pipes open; reading would wait for them.
            os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                return {"error": f"it was ended after {PART_LIMIT} s"}
            raise
    if process.returncode:
        words = stderr.strip().splitlines()[-1:]
        return {"error": "".join(words) or f"it ended with exit code {process.returncode}"}
    return {"result": json.loads(answer.splitlines()[-1])}
