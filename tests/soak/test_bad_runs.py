"""200 trainings and 200 passes of `ImageLoader` with bad files of ten kinds: no signal, all named."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

Evidence = Callable[..., None]
RUNS, IN_A_PROCESS = 200, 25


def runs(what: str, directory: Path, count: int = RUNS, first: int = 0) -> Counter[str]:
    """Does them, some in each process."""
    script, found = Path(__file__).with_name("bad_runs.py"), Counter[str]()
    for number in range(first, first + count, IN_A_PROCESS):
        these = min(IN_A_PROCESS, first + count - number)
        done = subprocess.run(
            [sys.executable, str(script), what, str(directory), str(number), str(these)],
            capture_output=True,
            text=True,
            check=False,
            timeout=3600,
            cwd=script.parent,
        )
        assert done.returncode == 0, (done.returncode, sorted(directory.glob("*")), done.stderr[-3000:])
        found += Counter(json.loads(done.stdout.splitlines()[-1]))
    return found


@pytest.mark.soak
def test_trainings_with_bad_files(tmp_path: Path, evidence: Evidence) -> None:
    found = runs("train", tmp_path)
    assert (found["runs"], found["skipped"], found["failed"]) == (RUNS, RUNS // 2, RUNS // 2)
    assert found["named"] == RUNS // 2 * 20
    evidence("trainings with bad files of ten kinds", n=RUNS, signals=0, **found)


@pytest.mark.soak
def test_passes_of_the_image_loader_with_bad_files(tmp_path: Path, evidence: Evidence) -> None:
    found = runs("loader", tmp_path)
    assert (found["runs"], found["skipped"], found["failed"]) == (RUNS, RUNS // 2, RUNS // 2)
    assert found["named"] == RUNS // 2 * 10
    evidence("passes of ImageLoader over bad files of ten kinds", n=RUNS, signals=0, **found)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["train", "loader"])
def test_a_few_of_them(what: str, tmp_path: Path) -> None:
    """Those of 128 and 160, the default size among them."""
    assert runs(what, tmp_path, count=4, first=8)["runs"] == 4
