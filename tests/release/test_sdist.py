"""The source distribution holds all that the repository builds, and installs."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path

import pytest
from installed_copy import InstalledCopy

# Each builds or installs a package.
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def contents(sdist: Path) -> set[str]:
    """Returns the names of the files without the leading folder."""
    with tarfile.open(sdist) as tar:
        return {member.name.partition("/")[2] for member in tar if member.isfile()}


def test_every_file_that_git_knows_is_in_it_once(sdist: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    # Links stand for the folders at the top, which are there themselves.
    known = {name for name in listed.stdout.splitlines() if (ROOT / name).is_file()}
    names = contents(sdist)
    assert known - names == set()
    made = {"PKG-INFO", "setup.cfg"}
    assert {name for name in names - known if not name.startswith("alexnet_fast.egg-info/")} == made


def test_it_installs_and_runs(sdist: Path, exported: Path, cells, tmp_path: Path) -> None:
    installed = InstalledCopy(tmp_path, sdist)
    assert "Usage: alexnet-fast" in installed.command("--help")
    assert installed.json_of("doctor")["can"]["torch"]
    answer = installed.json_of("predict", exported / "model.onnx", cells["poly"][0])
    assert len(answer["predictions"][0]["classes"]) == 2
    where = installed.run(installed.bin / "python", "-c", "import alexnet_fast; print(alexnet_fast.__file__)")
    assert where.strip() == str(installed.site / "alexnet_fast" / "__init__.py")
