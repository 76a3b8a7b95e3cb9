"""Saliency maps: the pixels that drive a network's answer, next to its top five classes and the right one."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.cpu.pillow import normalize
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.plots.predictions import Sample, show_guesses
from alexnet_fast.plots.style import FAINT, SMALL, WIDTH, bare, label_text, show_pixels, styled
from alexnet_fast.utils.arrays import Floats, Pixels

# Smilkov et al. 2017, "SmoothGrad" (arXiv 1706.03825), section 3.3: noise of 10 to 20 % of the range of the
# input gives the sharpest maps, and beyond 50 samples little is gained.
NOISE = 0.15
SAMPLES = 25

# Pixels: two strides of the paper's conv1, whose grid would otherwise show on the smoothed map.
_NEIGHBOURHOOD = 9

# Percentile of a map that is drawn at full brightness: single pixels would otherwise darken all others
# (Smilkov et al. 2017, section 3.1).
_BRIGHTEST = 99.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Explained:
    """An image, a network's answer, and the saliency maps of its top class.

    Args:
        sample: The image, as the network sees it, and the answer.
        gradient: float32 (H, W), from `gradient_map`.
        smooth: float32 (H, W), from `smooth_map`.
    """

    sample: Sample
    gradient: Floats
    smooth: Floats


def gradient_map(net: nn.Module, view_chw: torch.Tensor, index: int) -> Floats:
    """Returns how strongly each pixel moves the score of a class.

    The largest absolute derivative of the three channels (Simonyan et al. 2014, arXiv 1312.6034, section 3).

    Args:
        net: In evaluation mode.
        view_chw: Normalised image, (3, H, W), on the network's device.
        index: The class.

    Returns:
        float32 (H, W), 0 or more.
    """
    return _strongest(_derivative(net, view_chw[None], index)[0])


def smooth_map(
    net: nn.Module, view_chw: torch.Tensor, index: int, *, samples: int = SAMPLES, seed: int = 0
) -> Floats:
    """Averages the derivative over noisy copies of the image, which keeps what they share (SmoothGrad).

    The map is then averaged over small neighbourhoods, so that it shows regions rather than single pixels.

    Args:
        net: In evaluation mode.
        view_chw: Normalised image, (3, H, W), on the network's device.
        index: The class.
        samples: Noisy copies.
        seed: Seed of the noise.

    Returns:
        float32 (H, W), 0 or more.
    """
    generator = torch.Generator().manual_seed(seed)
    spread = NOISE * float(view_chw.max() - view_chw.min())
    total = torch.zeros(view_chw.shape)
    for _ in range(samples):
        noise = torch.randn(view_chw.shape, generator=generator).to(view_chw)
        total += _derivative(net, (view_chw + spread * noise)[None], index)[0]
    return _averaged(_strongest(total / samples))


def view_of(square_hwc: Pixels, spec: AugmentSpec) -> tuple[Pixels, torch.Tensor]:
    """Cuts the centre crop that a network sees.

    Args:
        square_hwc: uint8 (resize, resize, 3).
        spec: Sizes and normalisation.

    Returns:
        The crop, uint8 (crop, crop, 3), and normalised, float32 (3, crop, crop).
    """
    start = spec.margin // 2
    pixels = np.ascontiguousarray(square_hwc[start : start + spec.crop, start : start + spec.crop])
    return pixels, torch.from_numpy(normalize(pixels, spec)).permute(2, 0, 1)


@styled
def saliency(explained: list[Explained], *, top: int = 5) -> Figure:
    """Draws one row per image: the image, both maps, and its top classes with the right one.

    Args:
        explained: The images.
        top: Classes per image.

    Raises:
        UserError: There is no image.
    """
    if not explained:
        raise UserError("there is no image to explain")
    side = WIDTH / 4.4
    figure = Figure(figsize=(WIDTH, 0.45 + len(explained) * (side + 0.24)), layout="constrained")
    grid = figure.subplots(len(explained), 4, squeeze=False, width_ratios=[1, 1, 1, 1.25])
    for row, image in zip(grid, explained, strict=True):
        _show_row(row, image, top)
    for axes, title in zip(grid[0][1:3], ("gradient", "smoothed gradient"), strict=True):
        axes.set_title(title, fontsize=SMALL, loc="center")
    note = "Bright pixels move the score of the top class most. Each map is scaled by itself."
    figure.supxlabel(note, fontsize=SMALL, color=FAINT, x=0.01, ha="left")
    return figure


def _show_row(row: list[Axes], explained: Explained, top: int) -> None:
    """Shows one image."""
    image, gradient, smooth, bars = row
    sample = explained.sample
    show_pixels(image, sample.pixels)
    if sample.truth is not None:
        image.set_title(f"true: {label_text(sample.truth, 16)}", fontsize=SMALL)
    for axes, values in ((gradient, explained.gradient), (smooth, explained.smooth)):
        brightest = float(np.percentile(values, _BRIGHTEST)) or 1.0
        axes.imshow(values, cmap="inferno", vmin=0, vmax=brightest, interpolation="antialiased")
        bare(axes)
    show_guesses(bars, sample, top)


def _derivative(net: nn.Module, view_nchw: torch.Tensor, index: int) -> torch.Tensor:
    """Returns d score[index] / d pixel, (N, 3, H, W), on the CPU."""
    # A copy: the first layer may work in place.
    pixels = view_nchw.detach().clone().requires_grad_()
    with torch.enable_grad():
        score = net(pixels)[:, index].sum()
    (derivative,) = torch.autograd.grad(score, pixels)
    return derivative.float().cpu()


def _strongest(derivative_chw: torch.Tensor) -> Floats:
    """Returns the largest absolute value of the channels, (H, W)."""
    strongest: Floats = derivative_chw.abs().amax(dim=0).numpy()
    return strongest


def _averaged(values: Floats) -> Floats:
    """Averages each value with those around it, (H, W) to the same."""
    averaged: Floats = torch.nn.functional.avg_pool2d(
        torch.from_numpy(values)[None, None],
        _NEIGHBOURHOOD,
        stride=1,
        padding=_NEIGHBOURHOOD // 2,
        count_include_pad=False,
    )[0, 0].numpy()
    return averaged
