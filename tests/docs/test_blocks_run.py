"""Every page of the documentation does what it says, block by block, on small real images.

Each page runs in a folder of its own. There is what its commands expect: images, a trained run and its
export. `alexnet-fast` is small_command.py.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from doc_blocks import PAGES, ROOT, SHELL, Block, all_blocks, commands_of, page_blocks, write_titled
from doc_exceptions import UNRUN
from other_projects import BASELINES, PYTHON, is_of_others
from page_session import page_session
from PIL import Image

import warm_commands

pytestmark = pytest.mark.slow

# The same on less, where a block of Python says how much: (page, what it says, what is run).
SMALLER = (
    ("docs/loader.md", "batch_size=256", "batch_size=8"),
    ("docs/loader.md", "range(train.epoch, 90)", "range(train.epoch, 2)"),
    (
        "docs/training.md",
        'model="alexnet-bn", batch_size=32',
        'model="my_nets:Small", crop=128, resize=144, batch_size=8',
    ),
    ("docs/training.md", "epochs=5", "epochs=1"),
)

# What small_command.py trains in the place of ours: network, shorter side, input.
NETWORKS = {"small.toml": ("my_nets:Small", 144, 128), "modern.toml": ("alexnet-bn-64", 64, 56)}

RUNNABLE = [block for block in all_blocks(SHELL, "python") if not block.title]
OF_OTHERS = [block for block in RUNNABLE if is_of_others(block)]


def excused(page: str, code: str) -> bool:
    """Tells whether a command or a block stands in the list of what is not run."""
    return any(entry.fits(page, code) for entry in UNRUN)


@pytest.fixture(scope="session")
def images(photographs: list[Image.Image], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the pages name: images, photo.jpg, bin/alexnet-fast, a run and its export."""
    directory = tmp_path_factory.mktemp("page")
    write_images(directory / "images", photographs, ("cat", "mug"))
    write_images(directory / "imagenet", photographs, ("n01440764", "n01443537"))
    for name, number in (("photo", 3), ("one", 5), ("two", 7)):
        cut(photographs[number % 2], number).save(directory / f"{name}.jpg")
    write_titled("docs/recipes.md", directory)
    for config, (model, resize, crop) in NETWORKS.items():
        lines = (
            f'model = "{model}"',
            f"resize = {resize}",
            f"crop = {crop}",
            f'progressive_resize = "{crop}:{crop}"',
        )
        (directory / config).write_text("\n".join(lines) + "\n", encoding="utf-8")
    (directory / "bin").mkdir()
    command = directory / "bin" / "alexnet-fast"
    script = Path(__file__).with_name("small_command.py")
    command.write_text(
        f'#!/bin/sh\nWARM_COMMANDS={warm_commands.address()} exec {sys.executable} -S {script} "$@"\n'
    )
    command.chmod(0o755)
    with page_session(directory) as session:
        session.run("alexnet-fast train images --run runs/first && alexnet-fast export runs/first")
    for name in ("other", "cells"):
        shutil.copytree(directory / "runs/first", directory / "runs" / name)
    for copy in ("cells", "cars", "."):
        (directory / copy).mkdir(exist_ok=True)
        shutil.copy(directory / "runs/first/model.onnx", directory / copy / "model.onnx")
    return directory


def write_images(directory: Path, photographs: list[Image.Image], classes: tuple[str, str]) -> None:
    """Writes cuts of two photographs, a class each: 16 to train on and 4 to validate.

    The last is of the other photograph, so that there is a mistake to show.
    """
    for name, photograph in zip(classes, photographs, strict=True):
        for part, numbers in (("train", range(16)), ("val", range(16, 20))):
            (directory / part / name).mkdir(parents=True)
            for number in numbers:
                shown = photographs[name == classes[0]] if number == 19 else photograph
                cut(shown, number).save(directory / part / name / f"{number}.jpg")


def cut(photograph: Image.Image, number: int) -> Image.Image:
    """Cuts 320 x 280 pixels out of a photograph."""
    return photograph.crop((8 * number, 5 * number, 8 * number + 320, 5 * number + 280))


@pytest.fixture
def directory(images: Path, tmp_path: Path) -> Path:
    """A copy of that folder for one page."""
    return Path(shutil.copytree(images, tmp_path / "page"))


@pytest.mark.parametrize("page", [p.relative_to(ROOT).as_posix() for p in PAGES])
def test_a_page_runs_from_its_first_block_to_its_last(page: str, directory: Path) -> None:
    blocks = [block for block in page_blocks(ROOT / page) if block in RUNNABLE and block not in OF_OTHERS]
    for run in runs_begun(blocks):
        shutil.rmtree(directory / run, ignore_errors=True)
    write_titled(page, directory)
    with page_session(directory) as session:
        for block in blocks:
            if block.language == "python":
                if not excused(page, block.code):
                    session.python(on_less(block), str(block))
            else:
                for command in commands_of(block):
                    if not excused(page, command):
                        session.run(command)


def runs_begun(blocks: list[Block]) -> list[str]:
    """Returns the run folders that a page begins with: training refuses one that holds a run."""
    commands = [command for block in blocks if block.language == SHELL for command in commands_of(block)]
    begun = [re.search(r"^alexnet-fast train .*--run (\S+)", command) for command in commands]
    return [found[1] for found in begun if found and "--resume" not in found[0]]


def on_less(block: Block) -> str:
    """Returns a block of Python with its numbers made small."""
    code = block.code
    for page, said, run in SMALLER:
        code = code.replace(said, run) if page == block.page else code
    return code


def test_every_replacement_is_found() -> None:
    for page, said, _ in SMALLER:
        assert any(block.page == page and said in block.code for block in RUNNABLE), said


@pytest.mark.skipif(not PYTHON.exists(), reason="needs torchvision, FFCV and timm: make baselines")
@pytest.mark.parametrize("block", OF_OTHERS, ids=str)
def test_code_for_other_projects_runs_there(block: Block, directory: Path) -> None:
    if "ffcv" in block.code and not list(PYTHON.parent.parent.glob("lib/python*/site-packages/ffcv")):
        packages = "pkg-config libopencv-dev libturbojpeg0-dev"
        pytest.skip(f"needs apt-get install {packages}, then without {PYTHON.parent.parent}: make baselines")
    # Worker processes import the file again.
    lines = ["import torchvision_beside_cpu_torch", *block.code.splitlines()]
    script = 'if __name__ == "__main__":\n' + "".join(f"    {line}\n" for line in lines)
    (directory / "block.py").write_text(script, encoding="utf-8")
    done = subprocess.run(
        [PYTHON, "block.py"], cwd=directory, env={**os.environ, "PYTHONPATH": str(BASELINES)},
        text=True, capture_output=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
