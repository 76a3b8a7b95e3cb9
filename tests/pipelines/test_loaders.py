"""Both loaders behave alike: layout, resume, bad images by policy."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from alexnet_fast.data import ClassMap, ImageList, list_images, open_data
from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.crop_windows import View
from alexnet_fast.pipelines.factory import make_loader
from alexnet_fast.pipelines.loader import Batch, Loader, LoaderConfig
from alexnet_fast.pipelines.sampler import EpochSampler
from alexnet_fast.pipelines.spec import AugmentSpec

SPEC = AugmentSpec(resize=72, crop=64)
KINDS = pytest.mark.parametrize("kind", ["dali", "torch"])


def loader_of(
    images: ImageList, kind: str, view: View = "train", batch_size: int = 8, policy: str = "fail"
) -> Loader:
    """Makes a loader with two threads."""
    sampler = EpochSampler(num_images=len(images), batch_size=batch_size, shuffle=view == "train", seed=5)
    config = LoaderConfig(kind=kind, workers=2, on_bad_image=policy)
    return make_loader(images, SPEC, view, sampler, config)


def equal(left: list[Batch], right: list[Batch]) -> bool:
    """Returns whether two streams are the same, bit for bit."""
    return len(left) == len(right) and all(
        torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels)
        for a, b in zip(left, right, strict=True)
    )


@KINDS
def test_batches_are_channels_last_float32_with_the_right_labels(two_classes: Path, kind: str) -> None:
    train = open_data(two_classes).train
    batches = list(loader_of(train, kind).epoch(0))
    assert len(batches) == 6
    for batch in batches:
        assert batch.images.shape == (8, 3, 64, 64)
        assert batch.images.dtype == torch.float32
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        assert batch.labels.tolist() == [train.labels[index] for index in batch.indices]


@KINDS
def test_squares_are_the_uint8_images_that_ten_crops_are_cut_from(two_classes: Path, kind: str) -> None:
    batches = list(loader_of(open_data(two_classes).val, kind, "square", batch_size=10).epoch(0))
    assert [tuple(batch.images.shape) for batch in batches] == [(10, 72, 72, 3), (6, 72, 72, 3)]
    assert batches[0].images.dtype == torch.uint8


@KINDS
def test_an_epoch_is_the_same_again_goes_on_in_the_middle_and_differs_from_the_next(
    two_classes: Path, kind: str
) -> None:
    loader = loader_of(open_data(two_classes).train, kind)
    first = list(loader.epoch(0))
    assert not equal(first, list(loader.epoch(1)))
    assert equal(list(loader.epoch(0)), first)
    assert equal(list(loader.epoch(0, start=4)), first[4:])


@KINDS
def test_an_epoch_left_early_leaves_nothing_behind(two_classes: Path, kind: str) -> None:
    loader = loader_of(open_data(two_classes).train, kind)
    wanted = list(loader.epoch(1))
    for _ in zip(range(2), loader.epoch(0), strict=False):
        pass
    assert equal(list(loader.epoch(1)), wanted)


def test_batches_kept_by_the_caller_are_not_overwritten(two_classes: Path) -> None:
    """DALI's buffers are handed out without a copy; they must belong to whoever holds the batch."""
    held, copies = [], []
    for batch in loader_of(open_data(two_classes).train, "dali").epoch(0):
        held.append(batch.images)
        copies.append(batch.images.clone())
    assert len(held) == 6
    assert all(torch.equal(a, b) for a, b in zip(held, copies, strict=True))


@pytest.fixture
def with_bad_ones(two_classes: Path, tmp_path: Path) -> Path:
    """A copy of the two classes with four files that no decoder takes."""
    for part in ("train", "val"):
        for kind in ("mono", "poly"):
            (tmp_path / part / kind).mkdir(parents=True)
            for file in (two_classes / part / kind).iterdir():
                (tmp_path / part / kind / file.name).symlink_to(file.resolve())
    directory = tmp_path / "train" / "mono"
    whole = next(iter(sorted(directory.iterdir()))).read_bytes()
    (directory / "empty.jpg").write_bytes(b"")
    (directory / "garbage.jpg").write_bytes(b"not an image at all" * 50)
    (directory / "cut.png").write_bytes(whole[: len(whole) // 2])
    (directory / "text.png").write_text("hello", encoding="utf-8")
    return tmp_path


@KINDS
def test_a_bad_image_fails_with_its_name(with_bad_ones: Path, kind: str) -> None:
    with pytest.raises(UserError, match=r"cannot decode .*mono/(empty|garbage|cut|text)\.\w+: \w+") as caught:
        list(loader_of(open_data(with_bad_ones).train, kind).epoch(0))
    assert "--on-bad-image skip" in str(caught.value)


def test_an_image_that_would_grow_beyond_all_measure_is_a_bad_image(
    two_classes: Path, tmp_path: Path
) -> None:
    """Pillow would resize the whole of it: 12 GB for 65,535 x 1 at 256. DALI resizes only what is seen."""
    shutil.copytree(two_classes, tmp_path / "data")
    Image.new("RGB", (60_000, 1)).save(tmp_path / "data" / "train" / "mono" / "narrow.png")
    with pytest.raises(
        UserError, match=r"narrow.png: 60000 x 1 would become 4320000 x 72, which is too large"
    ):
        list(loader_of(open_data(tmp_path / "data").train, "torch").epoch(0))


@KINDS
def test_bad_images_are_skipped_named_and_counted(
    with_bad_ones: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    train = open_data(with_bad_ones).train
    loader = loader_of(train, kind, batch_size=13, policy="skip")
    with caplog.at_level(logging.WARNING, "alexnet_fast"):
        batches = list(loader.epoch(0)) + list(loader.epoch(1))
    assert {Path(name).name for name in loader.bad.reasons} == {
        "empty.jpg",
        "garbage.jpg",
        "cut.png",
        "text.png",
    }
    assert len(caplog.records) == len(loader.bad) == 4
    good = [index for batch in batches for index in batch.indices.tolist()]
    assert sorted(good) == sorted(
        2 * [i for i, n in enumerate(train.names) if n.split("/")[1].startswith("cell")]
    )
    assert all(len(batch.labels) == len(batch.images) == len(batch.indices) for batch in batches)


def test_good_images_of_a_failed_batch_have_the_pixels_they_would_have_had(with_bad_ones: Path) -> None:
    train = open_data(with_bad_ones).train
    dali, plain = (
        {
            index: image
            for batch in loader_of(train, kind, policy="skip", batch_size=13).epoch(0)
            for index, image in zip(batch.indices.tolist(), batch.images, strict=True)
        }
        for kind in ("dali", "torch")
    )
    assert dali.keys() == plain.keys()
    assert max((dali[index] - plain[index]).abs().max().item() for index in dali) <= 1.01


def test_an_image_that_disappears_during_training_is_a_bad_image(with_bad_ones: Path) -> None:
    train = open_data(with_bad_ones).train
    (with_bad_ones / "train" / train.names[0]).unlink()
    loader = loader_of(train, "dali", policy="skip")
    list(loader.epoch(0))
    assert loader.bad.reasons[train.path(0)] == "no such file"


@KINDS
def test_a_pipe_among_the_images_is_a_bad_image(with_bad_ones: Path, kind: str) -> None:
    """Opening a pipe without a writer would block for ever."""
    train = open_data(with_bad_ones).train
    pipe = with_bad_ones / "train" / train.names[0]
    pipe.unlink()
    os.mkfifo(pipe)
    loader = loader_of(train, kind, policy="skip")
    list(loader.epoch(0))
    assert loader.bad.reasons[str(pipe)] == "not a regular file"


def test_a_file_replaced_by_one_of_another_size_is_read_anew(two_classes: Path, tmp_path: Path) -> None:
    """File sizes are remembered from the first epoch on; an outdated size is noticed."""
    for kind in ("mono", "poly"):
        (tmp_path / "train" / kind).mkdir(parents=True)
        for file in sorted((two_classes / "train" / kind).iterdir())[:4]:
            Image.open(file).convert("RGB").save(tmp_path / "train" / kind / file.name)
    train = list_images(tmp_path / "train", ClassMap(("mono", "poly")))
    loader = loader_of(train, "dali", policy="skip")
    list(loader.epoch(0))
    victim = Path(train.path(0))
    Image.open(victim).resize((150, 90)).save(victim)
    (batch,) = loader.epoch(1)
    (wanted,) = loader_of(train, "dali").epoch(1)
    assert not loader.bad
    assert equal([batch], [wanted])


def test_zero_workers_is_refused() -> None:
    with pytest.raises(UserError, match="workers=0"):
        LoaderConfig(workers=0)
