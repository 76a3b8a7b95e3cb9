"""`ImageLoader` replaces a DataLoader in a user's script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_loaders import KINDS, equal, loader_of

from alexnet_fast.errors import UserError
from alexnet_fast.pipelines import TORCHVISION_SPEC, ImageLoader
from alexnet_fast.pipelines.image_dataset import list_data


@KINDS
def test_batches_are_pairs_and_the_classes_are_those_of_an_image_folder(directory: Path, kind: str) -> None:
    loader = loader_of(str(directory), loader=kind)
    batches = list(loader)
    assert len(batches) == len(loader) == 6
    for images, labels in batches:
        assert images.shape == (8, 3, 64, 64)
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert labels.dtype == torch.int64
    assert loader.dataset.classes == ["mono", "poly"]
    assert loader.dataset.class_to_idx == {"mono": 0, "poly": 1}
    assert len(loader.dataset) == len(loader.sampler) == 48
    path, label = loader.dataset.samples[30]
    assert (Path(path).parent.name, label) == ("poly", 1) == ("poly", loader.dataset.targets[30])
    assert sorted(label for _, labels in batches for label in labels.tolist()) == loader.dataset.targets


def test_the_default_pixels_are_those_that_torchvisions_weights_expect(directory: Path) -> None:
    loader = ImageLoader(directory, batch_size=4, device="cpu", workers=2)
    images, _ = next(iter(loader))
    assert images.shape == (4, 3, 224, 224)
    assert -2.2 < images.min() < images.max() < 2.7
    assert torch.allclose(
        torch.tensor(TORCHVISION_SPEC.mean) / 255, torch.tensor([0.485, 0.456, 0.406]), atol=1e-6
    )


def test_pairs_of_path_and_label_are_a_list(directory: Path) -> None:
    pairs = loader_of(directory).dataset.samples[20:28]
    loader = loader_of(pairs, train=False, classes=["one", "other"])
    ((images, labels),) = list(loader)
    assert labels.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert loader.dataset.classes == ["one", "other"]
    # The loader's evaluation view is the data set's item, but for DALI's rounding: one level of 255.
    item, label = loader.dataset[5]
    assert label == 1
    assert (images[5] - item).abs().max() <= 1.01


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ([], {}, "the list of images is empty"),
        ([("a.jpg", -1)], {}, "labels run from -1 to -1"),
        ([("a.jpg", 2)], {"classes": ["a", "b"]}, "labels run from 2 to 2, and there are 2 classes"),
        ("nowhere", {}, "no such folder: nowhere"),
        (None, {"rank": 1}, "rank 1 without world None"),
        (None, {"rank": 2, "world": 2}, "rank 2 is not among 2 processes"),
        (None, {"batch_size": 49}, "--batch-size 49 exceeds the 48"),
        (None, {"device": "tpu"}, "--device tpu is not a device"),
    ],
)
def test_a_mistake_is_named(directory: Path, data: object, options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        loader_of(directory if data is None else data, **options)


def test_every_pass_is_the_next_epoch_and_set_epoch_chooses_it(directory: Path) -> None:
    loader = loader_of(directory)
    first, second = list(loader), list(loader)
    assert not equal(first, second)
    loader.set_epoch(0)
    assert equal(loader, first)
    loader.sampler.set_epoch(1)
    assert equal(loader, second)
    # A pass left early counts, as with a DataLoader; looking at one batch first takes nothing from an epoch.
    loader.set_epoch(0)
    next(iter(loader))
    assert equal(loader, second)
    next(iter(loader))
    loader.set_epoch(loader.epoch)
    assert len(list(loader)) == 6


def test_an_evaluation_goes_through_the_list_in_order_with_a_smaller_last_batch(directory: Path) -> None:
    loader = loader_of(directory, train=False, batch_size=20)
    batches = list(loader)
    assert [len(labels) for _, labels in batches] == [20, 20, 8]
    assert [label for _, labels in batches for label in labels.tolist()] == loader.dataset.targets
    assert equal(loader, batches)


def test_the_last_images_are_dropped_or_not_as_asked(directory: Path) -> None:
    for train, drop, sizes in [(True, True, [20, 20]), (True, False, [20, 20, 8]), (False, True, [20, 20])]:
        loader = loader_of(directory, train=train, batch_size=20, drop_last=drop)
        assert [len(labels) for _, labels in loader] == sizes
        assert len(loader) == len(sizes)
        assert loader.drop_last == drop


def test_processes_without_drop_last_take_as_many_images_each(directory: Path) -> None:
    streams = [
        list(loader_of(directory, batch_size=4, drop_last=False, rank=rank, world=5)) for rank in range(5)
    ]
    # 48 images for 5 processes: 10 each, so that 2 come twice.
    assert [[len(labels) for _, labels in stream] for stream in streams] == [[4, 4, 2]] * 5


NO_NUMBERS = [
    1.5,
    1.0,
    np.float32(1),
    float("nan"),
    torch.tensor(1.0),
    torch.tensor([1]),
    np.array([1]),
    True,
    None,
]


@pytest.mark.parametrize("label", [*NO_NUMBERS, np.True_, torch.tensor(True), b"cat", 1j], ids=repr)
def test_a_label_that_is_neither_a_whole_number_nor_text_is_refused(label: Any) -> None:
    with pytest.raises(
        UserError, match=r"the label of b.jpg is .*; give whole numbers from 0, or class names"
    ):
        list_data([("a.jpg", 0), ("b.jpg", label)])


@pytest.mark.parametrize("label", [1, np.int64(1), np.uint8(1), np.array(1), torch.tensor(1)], ids=repr)
def test_whole_numbers_of_every_library_are_labels(label: Any) -> None:
    assert list_data([("a.jpg", 0), (b"b.jpg", label)]).labels.tolist() == [0, 1]


def test_labels_may_be_class_names() -> None:
    pairs = [("a.jpg", "dog"), ("b.jpg", "cat"), ("c.jpg", np.str_("dog"))]
    by_name, chosen = list_data(pairs), list_data(pairs, ["dog", "ant", "cat"])
    assert (by_name.classes.names, by_name.labels.tolist()) == (("cat", "dog"), [1, 0, 1])
    assert (chosen.classes.names, chosen.labels.tolist()) == (("dog", "ant", "cat"), [0, 2, 0])


@pytest.mark.parametrize(
    ("data", "classes", "message"),
    [
        ([("a.jpg", "dgo")], ["dog"], "the label of a.jpg is 'dgo'; did you mean dog"),
        (
            [("a.jpg", "dog")],
            None,
            "the only label is 'dog', which does not say the classes; give all of them",
        ),
        ([("a.jpg", "dog"), ("b.jpg", 1)], None, "the label of b.jpg is 1, and others are class names"),
        ([("a.jpg", 2**70)], None, "the largest label is 1180591620717411303424"),
        ([("a.jpg", 0)], "ab", "classes='ab' are no class names"),
        ([("a.jpg", 0)], [1, 2], r"classes=.1, 2. are no class names"),
        (["a.jpg"], None, r"no .path, label. pairs .'a.jpg' has no label."),
        (["ab"], None, r"no .path, label. pairs .'ab' has no label."),
        ([("a.jpg",)], None, r"no .path, label. pairs"),
        ([(1, 0)], None, r"no .path, label. pairs"),
        (5, None, r"no .path, label. pairs"),
    ],
    ids=str,
)
def test_what_is_no_list_of_pairs_is_an_error(data: Any, classes: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        list_data(data, classes)


def test_the_default_batch_fits_a_small_data_set(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    loader = ImageLoader(directory, workers=1, device="cpu")
    assert (loader.batch_size, len(loader)) == (len(loader.dataset), 1)
    assert f"batches of {loader.batch_size} instead of 256" in caplog.text
    assert ImageLoader(directory, workers=1, device="cpu", train=False).batch_size == 256
