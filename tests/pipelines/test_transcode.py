"""JPEG 2000 never reaches DALI's decoder, which a cut-off file crashes; its pixels are Pillow's."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet_fast.data import ClassMap, ImageList
from alexnet_fast.pipelines.color import WHITE
from alexnet_fast.pipelines.cpu.pillow import BadImageError
from alexnet_fast.pipelines.factory import make_loader
from alexnet_fast.pipelines.loader import LoaderConfig
from alexnet_fast.pipelines.sampler import EpochSampler
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.pipelines.transcode import for_dali, trusted_size


@pytest.fixture
def images(photographs: list[Image.Image], tmp_path: Path) -> ImageList:
    """A JPEG, a JPEG 2000 called JPEG, a bare code stream, and each of these two cut off."""
    small = photographs[0].resize((96, 64))
    small.save(tmp_path / "a.jpg")
    small.save(tmp_path / "b.jpg", "JPEG2000")
    small.save(tmp_path / "c.j2k", "JPEG2000", no_jp2=True)
    for name in ("b.jpg", "c.j2k"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / f"cut-{name}").write_bytes(content[: len(content) // 20])
    names = sorted(file.name for file in tmp_path.iterdir())
    return ImageList(root=tmp_path, names=names, labels=[0] * len(names), classes=ClassMap(("x", "y")))


def test_both_kinds_are_told_by_their_first_bytes(images: ImageList) -> None:
    contents = {name: Path(images.path(i)).read_bytes() for i, name in enumerate(images.names)}
    told = {name: trusted_size(content) for name, content in contents.items()}
    assert told == {"a.jpg": (64, 96), "b.jpg": None, "c.j2k": None, "cut-b.jpg": None, "cut-c.j2k": None}


def test_a_copy_has_the_pixels(images: ImageList) -> None:
    path = Path(images.path(1))
    copy = np.asarray(Image.open(io.BytesIO(for_dali(path.read_bytes(), WHITE).content)))
    assert np.array_equal(copy, np.asarray(Image.open(path)))


def test_a_bad_image_has_no_copy(images: ImageList) -> None:
    with pytest.raises(BadImageError):
        for_dali(b"\xff\x4f\xff\x51", WHITE)


def test_an_epoch_uses_the_good_and_names_the_cut_off(images: ImageList) -> None:
    spec = AugmentSpec(resize=64, crop=64, mean=(0, 0, 0), jitter=None)
    sampler = EpochSampler(num_images=len(images), batch_size=5, shuffle=False)
    loader = make_loader(images, spec, "square", sampler, LoaderConfig(on_bad_image="skip"))
    for _ in range(2):
        (batch,) = loader.epoch(0)
        assert batch.indices.tolist() == [0, 1, 2]
        lossless = np.asarray(Image.open(images.path(1)))[:, 16:80]
        assert np.array_equal(batch.images[1].numpy(), lossless)
    assert {Path(path).name for path in loader.bad.reasons} == {"cut-b.jpg", "cut-c.j2k"}
