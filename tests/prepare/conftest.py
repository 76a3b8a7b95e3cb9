"""`prepare` as a user runs it, and a source with images of many kinds."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from warm_commands import run_command

COMMAND = [sys.executable, "-m", "alexnet_fast", "prepare"]


@pytest.fixture(scope="session")
def prepare_command() -> list[str]:
    """The words that start the command."""
    return COMMAND


@pytest.fixture(scope="session")
def prepare() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `alexnet-fast prepare` in a process of its own."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return run_command("prepare", "--workers", 2, *arguments, timeout=120)

    return run


@pytest.fixture(scope="session")
def json_of_prepare(prepare) -> Callable[..., dict[str, Any]]:
    """Runs it with `--json`; returns the object on the only line of stdout."""

    def run(*arguments: object) -> dict[str, Any]:
        done = prepare(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.splitlines()) == 1, done.stdout
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    return run


@pytest.fixture(scope="session")
def many_kinds(photographs: list[Image.Image], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train/ and val/ with cats and dogs, 320 x 214 unless the name says otherwise."""
    root = tmp_path_factory.mktemp("kinds")
    cats, dogs, val = root / "train" / "cats", root / "train" / "dogs", root / "val" / "cats"
    for directory in (cats / "deeper", dogs, val):
        directory.mkdir(parents=True)
    china, flower = (image.resize((320, 214)) for image in photographs)
    china.save(cats / "plain.jpg", quality=95)
    china.save(cats / "deeper" / "wavelet.jp2")
    china.convert("CMYK").save(cats / "cmyk.jpeg")
    exif = Image.Exif()
    exif[0x0112] = 6
    flower.save(cats / "turned.jpg", exif=exif)
    china.save(cats / "twin.jpg")
    flower.save(cats / "twin.png")
    flower.save(dogs / "image.gif")
    flower.convert("L").save(dogs / "grey.PNG")
    flower.convert("RGBA").save(dogs / "alpha.png")
    china.resize((40, 30)).save(dogs / "small.png")
    photographs[0].resize((192, 128)).save(dogs / "exact-128.jpg", quality=71)
    flower.save(val / "plain.webp", lossless=True)
    china.save(val / "cut.jpg")
    return root


@pytest.fixture(scope="session")
def tree() -> Callable[[Path], dict[str, str]]:
    """Returns the SHA-256 of every file below a folder, hidden ones too."""

    def digest(root: Path) -> dict[str, str]:
        return {
            str(file.relative_to(root)): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in sorted(root.rglob("*"))
            if file.is_file()
        }

    return digest
