"""What `make release` leaves: packages for the index, their contents and checksums, and one version."""

from __future__ import annotations

import hashlib
import json
import subprocess
import zipfile
from email.parser import Parser
from pathlib import Path
from typing import Any

import onnx
import pytest
from installed_copy import InstalledCopy

import alexnet_fast

# Each builds or installs a package.
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
VERSION = alexnet_fast.__version__


def test_the_index_would_take_both_packages(dist: Path) -> None:
    said = (dist.parent / "said.txt").read_text(encoding="utf-8")
    assert said.count("PASSED") == 2
    assert {file.suffix for file in dist.iterdir()} == {".whl", ".gz", ".json", ""}


def test_the_checksums_are_those_of_the_files(dist: Path) -> None:
    lines = [line.split("  ") for line in (dist / "SHA256SUMS").read_text().splitlines()]
    assert {name for _, name in lines} == {file.name for file in dist.iterdir()} - {"SHA256SUMS"}
    for digest, name in lines:
        assert hashlib.sha256((dist / name).read_bytes()).hexdigest() == digest


def test_the_bill_of_materials_names_runtime_dependencies_only(
    dist: Path,
) -> None:
    bom = json.loads((dist / "sbom.json").read_text())
    root = bom["metadata"]["component"]
    assert (bom["bomFormat"], root["name"], root["version"]) == ("CycloneDX", "alexnet-fast", VERSION)
    versions = {one["name"]: one["version"] for one in bom["components"]}
    assert {"torch", "nvidia-dali-cuda120", "onnxruntime-gpu", "numpy", "uvicorn", "sympy"} <= versions.keys()
    assert not {"pytest", "ruff", "mypy", "twine", "openvino", "cyclonedx-bom"} & versions.keys()
    assert versions["numpy"] == __import__("numpy").__version__
    assert str(ROOT) not in json.dumps(bom)


def test_every_place_says_the_same_version(
    wheel: Path, sdist: Path, installed: InstalledCopy, exported: Path, diagnosis: dict[str, Any]
) -> None:
    (metadata,) = [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith("dist-info/METADATA")]
    model = onnx.load(exported / "model.onnx")
    properties = {one.key: one.value for one in model.metadata_props}
    manifest = json.loads((exported / "manifest.json").read_text())
    said = {
        "wheel's name": wheel.name.split("-")[1],
        "source distribution's name": sdist.name.removesuffix(".tar.gz").split("-")[1],
        "wheel's metadata": Parser().parsestr(zipfile.ZipFile(wheel).read(metadata).decode())["Version"],
        "--version": installed.command("--version").split()[-1],
        "doctor": diagnosis["packages"]["alexnet-fast"],
        "exported file": properties["alexnet_fast.version"],
        "manifest": manifest["metadata"]["alexnet_fast.version"],
    }
    assert said == dict.fromkeys(said, VERSION)


def test_a_nonempty_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    done = subprocess.run([ROOT / ".ci" / "release", tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == f"release: {tmp_path} is not empty; move its files away, or give another folder\n"
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]
