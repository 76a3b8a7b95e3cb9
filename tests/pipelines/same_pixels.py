"""Read images with every reader of the product and compare their pixels."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from alexnet_fast.data import ClassMap, ImageList
from alexnet_fast.data.image_list import FileLocation
from alexnet_fast.pipelines.cpu.pillow import BadImageError, centre_square, preprocess
from alexnet_fast.pipelines.factory import make_loader
from alexnet_fast.pipelines.io import open_image
from alexnet_fast.pipelines.loader import LoaderConfig
from alexnet_fast.pipelines.sampler import EpochSampler
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.prepare.transform import ResizeConfig
from alexnet_fast.serve.image import square_of
from alexnet_fast.utils.arrays import Pixels

Squares = dict[str, Pixels]


def loaded_by_dali(directory: Path, names: list[str], spec: AugmentSpec, batch: int = 64) -> Squares:
    """Squares of the training loader; those that it leaves out are missing."""
    images = ImageList(root=directory, names=names, labels=[0] * len(names), classes=ClassMap(("x", "y")))
    sampler = EpochSampler(num_images=len(names), batch_size=batch, shuffle=False)
    loader = make_loader(images, spec, "square", sampler, LoaderConfig(on_bad_image="skip"))
    found = {}
    for step in loader.epoch(0):
        found |= {names[index]: image.numpy() for index, image in zip(step.indices, step.images, strict=True)}
    return found


def loaded_by_pillow(directory: Path, names: list[str], spec: AugmentSpec) -> Squares:
    """Squares as the workers of the plain loader make them."""

    def read(name: str) -> Pixels:
        image = open_image(FileLocation(str(directory / name)), "image", spec.background)
        return centre_square(image, spec)

    return _all(names, read)


def served(directory: Path, names: list[str], spec: AugmentSpec) -> Squares:
    """Squares of the server and of `predict` with an exported model."""
    return _all(names, lambda name: square_of((directory / name).read_bytes(), spec))


def preprocessed(directory: Path, names: list[str], spec: AugmentSpec) -> Squares:
    """Squares of the Python interface."""
    return _all(names, lambda name: preprocess(directory / name, spec, "square"))


def prepared(directory: Path, names: list[str], spec: AugmentSpec) -> Squares:
    """Squares that `prepare --encoding raw --center-crop` stores."""
    colour = "#{:02x}{:02x}{:02x}".format(*spec.background)
    recipe = ResizeConfig(size=spec.resize, center_crop=True, encoding="raw", background=colour)
    return _all(names, lambda name: np.load(io.BytesIO(recipe.prepare((directory / name).read_bytes()))))


def _all(names: list[str], read) -> Squares:
    """Reads all; those that are refused are missing."""
    found = {}
    for name in names:
        try:
            found[name] = read(name)
        except BadImageError:  # noqa: PERF203 - each is tried by itself
            continue
        except Exception as error:
            if type(error).__name__ != "UserError":
                raise
    return found


def differences(one: Squares, other: Squares, tolerance: int = 1) -> dict[str, str]:
    """Returns how two readers differ: in a pixel by more than `tolerance`, or in accepting an image."""
    found = dict.fromkeys(one.keys() ^ other.keys(), "taken by one alone")
    for name in one.keys() & other.keys():
        levels = np.abs(one[name].astype(int) - other[name]).max()
        if levels > tolerance:
            found[name] = f"differs by {levels} levels"
    return found
