"""Images next to random training samples of them."""

from __future__ import annotations

import dataclasses
import textwrap

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alexnet_fast.data import ImageList
from alexnet_fast.pipelines.color import Color
from alexnet_fast.pipelines.factory import make_loader
from alexnet_fast.pipelines.io import image_at
from alexnet_fast.pipelines.loader import LoaderConfig, nothing_decoded
from alexnet_fast.pipelines.sampler import EpochSampler
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.plots.style import FAINT, SMALL, WIDTH, label_text, show_pixels, styled
from alexnet_fast.utils.arrays import Pixels

# Characters that fit into the width of a figure.
_LINE = 95


@styled
def augmented(
    images: ImageList,
    spec: AugmentSpec,
    *,
    samples: int = 4,
    seed: int = 0,
    config: LoaderConfig | None = None,
) -> Figure:
    """Draws each image and random training samples of it, one per epoch, as the network sees them.

    The samples come from a real loader's view "train"; only the normalisation is undone.

    Args:
        images: A few images, one row each (see `ImageList.select`).
        spec: Geometry, normalisation and jitter.
        samples: Samples per image.
        seed: Seed of the random parameters.
        config: The loader; by default DALI on the CPU.

    Raises:
        UserError: There is no image, or one cannot be decoded.
    """
    config = config or LoaderConfig()
    tiles = training_samples(images, spec, samples=samples, seed=seed, config=config)
    if not len(tiles):
        raise nothing_decoded(images.root)
    side = WIDTH / (1 + samples)
    figure = Figure(figsize=(WIDTH, 0.7 + (side + 0.35) * len(tiles)), layout="compressed")
    grid = figure.subplots(len(tiles), 1 + samples, squeeze=False)
    for row, (index, views) in zip(grid, tiles.items(), strict=True):
        _show_original(row[0], images, index, spec.background, letters=int(side / 0.09))
        for axes, view in zip(row[1:], views, strict=True):
            show_pixels(axes, view)
    grid[0][0].set_title("the file")
    for epoch, axes in enumerate(grid[0][1:], start=1):
        axes.set_title(f"epoch {epoch}")
    figure.supxlabel(_described(spec, config), fontsize=SMALL, color=FAINT, x=0.01, ha="left")
    return figure


def training_samples(
    images: ImageList, spec: AugmentSpec, *, samples: int, seed: int, config: LoaderConfig
) -> dict[int, list[Pixels]]:
    """Loads training views of each image.

    Returns:
        By position in `images`: `samples` arrays, uint8 (crop, crop, 3), RGB. Bad images are missing.
    """
    sampler = EpochSampler(num_images=len(images), batch_size=max(1, len(images)), shuffle=True, seed=seed)
    loader = make_loader(images, spec, "train", sampler, config)
    views: dict[int, list[Pixels]] = {index: [] for index in range(len(images))}
    for epoch in range(samples):
        for batch in loader.epoch(epoch):
            for index, image_chw in zip(batch.indices.tolist(), batch.images, strict=True):
                views[index].append(displayed(image_chw, spec))
    return {index: seen for index, seen in views.items() if len(seen) == samples}


def displayed(image_chw: torch.Tensor, spec: AugmentSpec) -> Pixels:
    """Undoes the normalisation of a network's input, float (3, H, W); returns uint8 (H, W, 3).

    Jitter can push a colour out of 0..255: the network sees it, a screen cannot show it, so it is clipped.
    """
    pixels_hwc = image_chw.permute(1, 2, 0).float().cpu().numpy() * np.array(spec.std) + np.array(spec.mean)
    shown: Pixels = pixels_hwc.round().clip(0, 255).astype(np.uint8)
    return shown


def _show_original(axes: Axes, images: ImageList, index: int, background: Color, *, letters: int) -> None:
    """Shows the original file, with its class (cut to `letters`) and its size in pixels below."""
    image = image_at(images, index, background)
    show_pixels(axes, np.asarray(image))
    name = label_text(images.classes.names[images.labels[index]], letters)
    axes.set_xlabel(f"{name}\n{image.width}x{image.height}", fontsize=SMALL)


def _described(spec: AugmentSpec, config: LoaderConfig) -> str:
    """Describes the loader and the augmentation of the samples."""
    area = spec.random_resized_crop
    parts = [
        f"shorter side {spec.resize}, random {spec.crop}x{spec.crop} crop"
        if area is None
        else f"{area.min_scale:.0%} to {area.max_scale:.0%} of the area, resized to {spec.crop}x{spec.crop}"
    ]
    parts += ["flip"] if spec.flip else []
    parts += [f"PCA jitter (sigma {spec.jitter.sigma:g})"] if spec.jitter else []
    parts += _additions(spec)
    return "\n".join(textwrap.wrap(f"Loaded by {loader_name(config)}: {', '.join(parts)}", _LINE))


def _additions(spec: AugmentSpec) -> list[str]:
    """Describes the augmentation beyond the paper's."""
    parts = []
    if spec.color_jitter is not None:
        amounts = dataclasses.asdict(spec.color_jitter)
        parts += [f"{name} {amount:g}" for name, amount in amounts.items() if amount]
    if spec.progressive is not None:
        course = spec.progressive
        parts.append(f"{course.start} to {course.end} pixels over {course.epochs} epochs")
    return parts


def loader_name(config: LoaderConfig) -> str:
    """Returns the name of the loader with version and device: "DALI 2.4.0 on the CPU"."""
    if config.kind == "torch":
        import PIL

        return f"Pillow {PIL.__version__} on the CPU"
    from nvidia import dali

    return f"DALI {dali.__version__} on the {'GPU' if config.device.type == 'cuda' else 'CPU'}"
