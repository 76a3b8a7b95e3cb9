"""A release of the files as they are, made by the script that makes releases."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from installed_copy import InstalledCopy

ROOT = Path(__file__).parents[2]


def tree_of_the_files(index: Path) -> str:
    """Returns git's tree of the checkout as it stands, committed or not; the user's index is left alone."""
    environment = {**os.environ, "GIT_INDEX_FILE": str(index)}
    for words in (["add", "--all"], ["write-tree"]):
        done = subprocess.run(
            ["git", *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
    return done.stdout.strip()


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `make release` fills."""
    out = tmp_path_factory.mktemp("release") / "dist"
    tree = tree_of_the_files(out.parent / "index")
    done = subprocess.run([ROOT / ".ci" / "release", out, tree], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (out.parent / "said.txt").write_text(done.stdout, encoding="utf-8")
    return out


@pytest.fixture(scope="session")
def wheel(dist: Path) -> Path:
    """The wheel, which was built from the source distribution."""
    (found,) = dist.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def sdist(dist: Path) -> Path:
    """The source distribution."""
    (found,) = dist.glob("*.tar.gz")
    return found


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> InstalledCopy:
    """The wheel, installed."""
    return InstalledCopy(tmp_path_factory.mktemp("installed"), wheel)


@pytest.fixture(scope="session")
def exported(installed: InstalledCopy) -> Path:
    """A folder with fresh weights, exported by the installed copy: model.onnx and manifest.json."""
    code = (
        "import safetensors.torch as s, alexnet_fast\n"
        "s.save_file(alexnet_fast.create_model('linear', 2).state_dict(), 'fresh.safetensors')\n"
    )
    installed.run(installed.bin / "python", "-c", code)
    out = installed.directory / "exported"
    installed.command("export", "fresh.safetensors", "--model", "linear", "--onnx", "--output", out)
    return out


@pytest.fixture(scope="session")
def diagnosis(installed: InstalledCopy) -> dict[str, Any]:
    """What the installed copy's doctor found."""
    return installed.json_of("doctor")
