"""Links to nowhere, loops, pipes, devices and folders with names of images: skipped by name, or refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import pytest
from PIL import Image

from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.image_loader import ImageLoader
from alexnet_fast.pipelines.spec import AugmentSpec

SPEC = AugmentSpec(resize=32, crop=32, jitter=None)
REASONS = {
    "gone.jpg": "no such file behind the link",
    "self.jpg": "too many levels of symbolic links",
    "pipe.png": "not a regular file",
    "zero.jpg": "not a regular file",
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two classes of three images each, and in one of them entries that are no files."""
    for kind in ("cat", "dog"):
        (tmp_path / kind).mkdir()
        for number in range(3):
            Image.new("RGB", (40, 36), (80 * number, 9, 9)).save(tmp_path / kind / f"{number}.jpg")
    cat = tmp_path / "cat"
    (cat / "gone.jpg").symlink_to("nowhere.jpg")
    (cat / "self.jpg").symlink_to("self.jpg")
    (cat / "zero.jpg").symlink_to("/dev/zero")
    os.mkfifo(cat / "pipe.png")
    (cat / "folder.jpg").mkdir()
    (cat / "folder.jpg" / "deep.jpg").symlink_to("../0.jpg")
    (cat / "folder.jpg" / "up").symlink_to("../..")
    return tmp_path


@pytest.mark.parametrize("kind", ["torch", "dali"])
def test_skipping_names_each_and_goes_on(data: Path, kind: Literal["torch", "dali"]) -> None:
    loader = ImageLoader(
        data, train=False, batch_size=4, spec=SPEC, loader=kind, device="cpu", workers=1, on_bad_image="skip"
    )
    seen = sum(len(labels) for _, labels in loader)
    assert seen == 7
    assert {Path(name).name: reason for name, reason in loader.bad_images.reasons.items()} == REASONS


@pytest.mark.parametrize("kind", ["torch", "dali"])
def test_the_default_ends_in_one_sentence(data: Path, kind: Literal["torch", "dali"]) -> None:
    loader = ImageLoader(data, train=False, batch_size=4, spec=SPEC, loader=kind, device="cpu", workers=1)
    with pytest.raises(UserError, match=r"cannot decode .*cat/(gone|self|pipe|zero)"):
        list(loader)
