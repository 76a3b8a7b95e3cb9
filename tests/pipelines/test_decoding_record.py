"""The record of the batches being decoded, and images that are never decoded again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alexnet_fast.data import ClassMap, ImageList
from alexnet_fast.pipelines import AugmentSpec
from alexnet_fast.pipelines.decoding_record import (
    DecoderDeathError,
    OpenBatches,
    current_record,
    read_record,
    recording,
)
from alexnet_fast.pipelines.factory import make_loader
from alexnet_fast.pipelines.loader import Loader, LoaderConfig
from alexnet_fast.pipelines.sampler import EpochSampler

SPEC = AugmentSpec(resize=72, crop=64)


@pytest.fixture
def listed(directory: Path, tmp_path: Path) -> Callable[[str], ImageList]:
    """Lists the images, or arrays of twelve of them."""

    def make(kind: str) -> ImageList:
        files = sorted(directory.glob("*/*.png"))
        if kind == "array":
            files = [tmp_path / f"{number}.npy" for number in range(48)]
            for file in files:
                np.save(file, np.full((80, 90, 3), 99, np.uint8))
        return ImageList(
            root=Path("/"),
            names=[str(file) for file in files],
            labels=[0] * len(files),
            classes=ClassMap(("x", "y")),
            encoding="array" if kind == "array" else "image",
        )

    return make


def loader_of(images: ImageList, kind: str, **options: Any) -> Loader:
    """Makes a loader of six batches."""
    sampler = EpochSampler(num_images=len(images), batch_size=8, shuffle=True, seed=3)
    settings = {
        "kind": "torch" if kind == "torch" else "dali",
        "workers": 1,
        "on_bad_image": "skip",
        **options,
    }
    return make_loader(images, SPEC, "train", sampler, LoaderConfig(**settings))


@pytest.mark.parametrize("kind", ["dali", "torch", "array"])
def test_the_batches_that_are_being_decoded_are_noted(
    kind: str, listed: Callable[[str], ImageList], tmp_path: Path
) -> None:
    path, images = tmp_path / "run" / ".decoding-0", listed(kind)
    loader = loader_of(images, kind)
    with recording(path):
        assert not path.exists()
        batches = loader.epoch(2, 1)
        next(batches)
        (found,) = read_record(path).batches
        assert (found.epoch, found.first) == (2, 1)
        next(batches)
        # The second one is in the caller's hands only when the third is asked for.
        (found,) = read_record(path).batches
        assert found == OpenBatches(loader=loader.describe(), epoch=2, first=2, end=min(6, 3 + loader.ahead))
        assert found.loader["images"] == images.fingerprint()
        list(batches)
        assert read_record(path).batches == ()
    assert not path.parent.exists()


def test_an_error_clears_the_record_and_the_death_of_a_worker_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / ".decoding-0"
    for error, kept in ((KeyboardInterrupt(), False), (DecoderDeathError("a worker died", "it", "go"), True)):
        with contextlib.suppress(BaseException), recording(path):
            record = current_record()
            assert record is not None
            block = record.add({"view": "train"})
            assert block is not None
            record.note(block, 0, 3, 5)
            raise error
        assert path.exists() == kept
        assert current_record() is None
    left = read_record(path)
    assert left.fault == "a worker died"
    assert left.batches == (OpenBatches(loader={"view": "train"}, epoch=0, first=3, end=5),)


def test_a_disk_that_takes_no_record_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_bytes(b"")
    with recording(tmp_path / "file" / ".decoding-0"):
        record = current_record()
        assert record is not None
        for epoch in range(3):
            assert record.add({}) is not None
            record.note(0, epoch, 0, 1)
    assert caplog.text.count("the next run will not know its batch") == 1


@pytest.mark.parametrize(
    "spoil", [lambda c: c[:100], lambda c: bytes([c[0] ^ 1]) + c[1:], lambda c: c[:28] + b"{" * 99]
)
def test_a_damaged_record_says_nothing(spoil: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / ".decoding-0"
    with contextlib.suppress(DecoderDeathError), recording(path):
        record = current_record()
        assert record is not None
        record.note(record.add({"view": "train"}) or 0, 0, 3, 5)
        raise DecoderDeathError("a worker died", "it", "go")
    path.write_bytes(spoil(path.read_bytes()))
    assert read_record(path).batches == ()


@pytest.mark.parametrize("kind", ["dali", "torch", "array"])
def test_blocked_images_are_lost_without_being_read(kind: str, listed: Callable[[str], ImageList]) -> None:
    images = listed(kind)
    blocked = images.blocking({5: "a decoder died of it", 7: "and of it"})
    assert blocked.fingerprint() == images.fingerprint()
    loader = loader_of(blocked, kind)
    assert loader.bad.reasons == {images.path(5): "a decoder died of it", images.path(7): "and of it"}
    used = [int(index) for batch in loader.epoch(0) for index in batch.indices]
    assert sorted(used) == sorted(set(range(len(images))) - {5, 7})
    assert len(loader.bad) == 2


def test_blocked_images_stay_so_in_a_selection(listed: Callable[[str], ImageList]) -> None:
    blocked = listed("dali").blocking({5: "a", 7: "b"})
    assert blocked.select([7, 0, 5, 7]).blocked == {0: "b", 2: "a", 3: "b"}
    assert blocked.blocking({}) is blocked
