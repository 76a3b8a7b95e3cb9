"""What a soak found, in a line that docs/reliability.md can quote, and one of runs/soak/results.jsonl."""

from __future__ import annotations

import datetime
import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent.parent / "runs" / "soak" / "results.jsonl"
_PACKAGES = ("alexnet-fast", "torch", "nvidia-dali-cuda120", "onnxruntime-gpu", "pillow", "uvicorn", "h11")


def found_line(command: str, what: str, figures: dict[str, Any]) -> dict[str, Any]:
    """Returns one finding with everything that it must be read beside.

    Args:
        command: Repeats it.
        what: Was done.
        figures: Came of it; "n" is how often it was done.
    """
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "what": what,
        **figures,
        "command": command,
        "hardware": f"{os.cpu_count()} cores, {_processor()}, {platform.system()} {platform.release()}",
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
    }


def keep(line: dict[str, Any]) -> None:
    """Appends a finding to `RESULTS`."""
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def quoted(line: dict[str, Any]) -> str:
    """Returns a finding without what is the same for all of them."""
    excluded = ("command", "hardware", "versions")
    return ", ".join(f"{name} {value}" for name, value in line.items() if name not in excluded)


def _processor() -> str:
    """Returns the processor's name as Linux tells it."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"
