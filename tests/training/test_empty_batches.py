"""A batch in which every image is bad comes empty, and no figure suffers from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from alexnet_fast.data import ClassMap, ImageList
from alexnet_fast.inference.evaluate import evaluate
from alexnet_fast.models import create_model
from alexnet_fast.pipelines.crop_windows import View
from alexnet_fast.pipelines.factory import make_loader
from alexnet_fast.pipelines.loader import Loader, LoaderConfig
from alexnet_fast.pipelines.sampler import EpochSampler
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.training.metrics import validate
from alexnet_fast.training.precision import choose_precision

SPEC = AugmentSpec(resize=72, crop=64)


def loader_of(cells: dict[str, list[Path]], bad: tuple[Path, ...], view: View) -> Loader:
    """Loads four good images, with `bad` in the middle, in batches of two."""
    names = [*cells["mono"][:2], *bad, *cells["poly"][:2]]
    images = ImageList(
        root=Path("/"),
        names=tuple(map(str, names)),
        labels=(0, 0, *(0 for _ in bad), 1, 1),
        classes=ClassMap(("mono", "poly")),
    )
    sampler = EpochSampler(num_images=len(names), batch_size=2, shuffle=False)
    return make_loader(images, SPEC, view, sampler, LoaderConfig(on_bad_image="skip"))


class Constant:
    """Says the same of every image, as an exported model would."""

    spec, classes = SPEC, ("mono", "poly")

    def probabilities(self, images_nhwc: np.ndarray, crops: str, *, jitter: bool = False) -> np.ndarray:
        assert len(images_nhwc) > 0
        return np.tile(np.array([[0.7, 0.3]], np.float32), (len(images_nhwc), 1))


@pytest.fixture
def bad(tmp_path: Path) -> tuple[Path, ...]:
    """Two files that are no images."""
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_text("hello", encoding="utf-8")
    return tmp_path / "a.jpg", tmp_path / "b.jpg"


def test_validation_and_evaluation_are_those_of_the_good_images(
    cells: dict[str, list[Path]], bad: tuple[Path, ...]
) -> None:
    net = create_model("alexnet-64", 2, image_size=64)
    precision = choose_precision("off", torch.device("cpu"))
    assert validate(net, loader_of(cells, bad, "eval"), precision) == validate(
        net, loader_of(cells, (), "eval"), precision
    )
    found = evaluate(Constant(), loader_of(cells, bad, "square"), ["single"], on_progress=lambda _: None)
    assert (found.images, found.bad_images, found.by_crops["single"].top1) == (4, 2, 0.5)
