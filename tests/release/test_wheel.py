"""The wheel installs one name at the top level, with everything in it, and works from there."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

# Each builds or installs a package.
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def test_only_alexnet_fast_stands_at_the_top(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"alexnet_fast"}


def test_every_module_and_the_type_marker_are_in_it(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "alexnet_fast/py.typed" in names
    assert {
        f"alexnet_fast/recipes/{file.name}" for file in (ROOT / "alexnet_fast/recipes").iterdir()
    } <= names
    assert {"alexnet_fast/serve/page.html", "alexnet_fast/report/report.html.j2"} <= names
    directories = {"alexnet_fast": ROOT / "alexnet_fast"}
    directories |= {f"alexnet_fast/{name}": ROOT / name for name in ("pipelines", "export", "serve")}
    for place, directory in directories.items():
        for file in directory.rglob("*.py"):
            # Scripts of the other projects' loaders run in an environment of their own.
            if "baselines" in file.relative_to(directory).parts:
                continue
            assert f"{place}/{file.relative_to(directory)}" in names


def test_the_installed_copy_runs_beside_a_users_own_pipelines(installed, tmp_path: Path) -> None:
    (installed.directory / "pipelines.py").write_text("raise RuntimeError('the user')", encoding="utf-8")
    code = (
        "import alexnet_fast.pipelines.spec as spec, alexnet_fast.runtime.metadata, alexnet_fast.serve\n"
        "print(spec.__file__)"
    )
    where = installed.run(installed.bin / "python", "-c", code).strip()
    assert where == str(installed.site / "alexnet_fast" / "pipelines" / "spec.py")


def test_help_doctor_and_predict_run_from_the_installed_copy(
    installed, diagnosis, exported: Path, cells
) -> None:
    assert "Usage: alexnet-fast" in installed.command("--help")
    assert diagnosis["can"]["onnxruntime"]
    answer = installed.json_of("predict", exported / "model.onnx", cells["mono"][0])
    (prediction,) = answer["predictions"]
    assert sum(one["probability"] for one in prediction["classes"]) > 0.999
