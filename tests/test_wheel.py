"""The wheel installs one name at the top level, with everything in it, and works from there."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Builds a wheel from the files that git knows, as a fresh clone has them."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        file = ROOT / name
        if name.startswith("tests/") or not file.exists():
            continue
        copy = source / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if file.is_symlink():
            copy.symlink_to(file.readlink())
        else:
            copy.write_bytes(file.read_bytes())
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = out.glob("*.whl")
    return built


def test_only_alexnet_fast_stands_at_the_top(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"alexnet_fast"}


def test_every_module_and_the_type_marker_are_in_it(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "alexnet_fast/py.typed" in names
    assert "alexnet_fast/recipes/modern.toml" in names
    folders = {"alexnet_fast": ROOT / "alexnet_fast"}
    folders |= {f"alexnet_fast/{name}": ROOT / name for name in ("pipelines", "export", "serve")}
    for place, folder in folders.items():
        for file in folder.rglob("*.py"):
            # Scripts of the other projects' loaders run in an environment of their own.
            if "peers" in file.relative_to(folder).parts:
                continue
            assert f"{place}/{file.relative_to(folder)}" in names


def test_it_runs_from_the_wheel_in_any_folder(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    (tmp_path / "pipelines.py").write_text("raise RuntimeError('a project of the user')", encoding="utf-8")
    code = (
        "import alexnet_fast.pipelines.spec as spec, alexnet_fast.export.metadata, alexnet_fast.serve\n"
        "print(spec.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(tmp_path / "site")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(tmp_path / "site" / "alexnet_fast" / "pipelines" / "spec.py")
