"""Decides which layers the crops of an image share, and what each crop computes by itself.

The crops overlap, so a layer may run once on the whole image and, for ten crops, once on its mirror image,
and the crops' maps are cut from the results, the "shared maps". Only the rows and columns that a crop's own
zero padding reaches differ, on the sides where the crop ends inside the image. They are computed again from
strips of the crop. Everything here counts pixels along one axis; both axes are alike.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from alexnet_fast.export.layers import BatchNorm, Conv, Layer, Lrn, MaxPool, Relu
from alexnet_fast.pipelines.ten_crop import crop_offsets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alexnet_fast.pipelines.spec import AugmentSpec

# Five crops of the image; the other five of ten are the same crops of its mirror image.
_CROPS = 5
# Three of the five crops end inside the image on each of the four sides.
_STRIPS = 12
# The cost of putting the crops' maps together, in multiply-accumulates, of which two AVX-512 cores do about
# 200 per nanosecond: per number copied (three passes over memory), and for the sixty small nodes of a stage.
# From profiles of `alexnet` in onnxruntime. They decide whether a stage pays, not what it computes.
_MACS_PER_COPY = 128
_MACS_PER_STAGE = 200_000_000


class CannotShareError(Exception):
    """A layer's maps cannot be cut into the crops' maps."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Level:
    """The maps between two layers.

    Args:
        crop: Side of a crop's map.
        image: Side of the shared map.
        centre: Where the centre crop begins in the shared map.
        far: Where the last crop begins in the shared map.
        low: Number of first rows of a crop's map that differ from the shared map.
        high: Number of last rows that differ.
    """

    crop: int
    image: int
    centre: int
    far: int
    low: int = 0
    high: int = 0

    @property
    def width(self) -> int:
        """Rows of the strips: enough for either end."""
        return max(self.low, self.high)

    def after(self, layer: Layer) -> Level:
        """Returns the level behind a layer.

        Raises:
            CannotShareError: The crops do not lie on the layer's grid, or it has no map as its output.
        """
        if isinstance(layer, Relu | Lrn | BatchNorm):
            return self
        if not isinstance(layer, Conv | MaxPool):
            raise CannotShareError(f"{layer.name} takes whole crops")
        window = sliding_window(layer)
        if self.centre % window.stride or self.far % window.stride:
            raise CannotShareError(
                f"crops begin at 0, {self.centre} and {self.far} in the input of {layer.name}, and its stride"
                f" is {window.stride}"
            )
        # A window is spoiled if it touches a spoiled row or the padding.
        first_spoiled = max(0, -((window.reach - 1 - window.low - self.crop + self.high) // window.stride))
        level = Level(
            crop=window.places(self.crop),
            image=window.places(self.image),
            centre=self.centre // window.stride,
            far=self.far // window.stride,
            low=-(-(self.low + window.low) // window.stride),
            high=window.places(self.crop) - first_spoiled,
        )
        if level.low + level.high >= level.crop:
            raise CannotShareError(f"the padding of {layer.name} reaches everything in a crop")
        return level


@dataclasses.dataclass(frozen=True, kw_only=True)
class SlidingWindow:
    """The window of a layer along one axis: reach and stride in pixels, and the padding at both ends."""

    reach: int
    stride: int
    low: int
    high: int

    def places(self, side: int) -> int:
        """Returns the side of the output for that of the input."""
        return (side + self.low + self.high - self.reach) // self.stride + 1


def sliding_window(layer: Conv | MaxPool) -> SlidingWindow:
    """Returns the window of a layer, which must be the same along both axes.

    Raises:
        CannotShareError: The axes differ, or the layer rounds up.
    """
    if isinstance(layer, MaxPool) and layer.ceil:
        raise CannotShareError(f"{layer.name} rounds up, and so pads crops and images differently")
    if isinstance(layer, Conv):
        kernel, pads = layer.weight.shape[2:], layer.pads
        reach = [d * (k - 1) + 1 for d, k in zip(layer.dilations, kernel, strict=True)]
    else:
        reach, pads = list(layer.kernel), (*layer.pads, *layer.pads)
    alike = reach[0] == reach[1] and layer.strides[0] == layer.strides[1] and pads[0] == pads[1]
    if not (alike and pads[2] == pads[3]):
        raise CannotShareError(f"{layer.name} slides differently along rows and columns")
    return SlidingWindow(reach=reach[0], stride=layer.strides[0], low=pads[0], high=pads[2])


@dataclasses.dataclass(frozen=True, kw_only=True)
class SharedStage:
    """Layers that run on shared maps, between two points where the crops' maps are put together.

    Args:
        layers: The layers.
        before: Its input.
        after: Its output.
        strips: Whether each crop's spoiled rows come from strips; if not, the layers run on whole crops too.
        images: Number of shared maps: one of the image, and for ten crops one of its mirror image.
    """

    layers: tuple[Layer, ...]
    before: Level
    after: Level
    strips: bool = True
    images: int

    def strip(self, end: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Returns the rows of a crop that a strip of the output needs, and the padding before and after them.

        Args:
            end: 0 for the first rows, 1 for the last.
        """
        side, width = self.after.crop, self.after.width
        first, last = (0, width) if end == 0 else (side - width, side)
        for layer in reversed(self.layers):
            if isinstance(layer, Conv | MaxPool):
                window = sliding_window(layer)
                first = first * window.stride - window.low
                last = (last - 1) * window.stride - window.low + window.reach
        rows = (max(0, first), min(self.before.crop, last))
        return rows, (rows[0] - first, last - rows[1])

    @property
    def macs_saved(self) -> int:
        """Multiply-accumulates saved per image, less the cost of copying; negative if sharing costs more."""
        conv = self.layers[0]
        if not isinstance(conv, Conv):
            return 0
        maps, rows = self.before.after(conv), self.after.width
        for layer in self.layers[1:]:
            if isinstance(layer, MaxPool):
                window = sliding_window(layer)
                rows = (rows - 1) * window.stride + window.reach
        places = self.images * (_CROPS * maps.crop**2 - maps.image**2)
        if not self.after.width:
            return places * conv.weight.size
        places -= self.images * _STRIPS * rows * maps.crop
        copied = self.images * _CROPS * len(conv.weight) * self.after.crop**2
        return places * conv.weight.size - copied * _MACS_PER_COPY - _MACS_PER_STAGE


@dataclasses.dataclass(frozen=True, kw_only=True)
class StemPlan:
    """How a network's layers run.

    Args:
        stages: What is shared; empty for the plain graph.
        rest: What runs on whole crops.
        start: The image and its crops.
        why: Why no more layers are shared.
        mirrored: Whether there are ten crops, five of them mirror images; else there are five.
    """

    stages: tuple[SharedStage, ...]
    rest: tuple[Layer, ...]
    start: Level
    why: str
    mirrored: bool

    def describe(self) -> str:
        """Returns in one line what the crops share, and why no more."""
        crops = "ten" if self.mirrored else "five"
        if not self.stages:
            return f"the {crops} crops share nothing: {self.why}"
        names = [layer.name for stage in self.stages for layer in stage.layers]
        return f"the {crops} crops share {names[0]} to {names[-1]}: {self.why}"


def plan_stem(
    layers: Sequence[Layer], spec: AugmentSpec, *, mirrored: bool = True, eager: bool = False
) -> StemPlan:
    """Decides how far down the crops share their layers.

    Args:
        layers: A network from `read_layers`.
        spec: Its sizes, with a margin.
        mirrored: Ten crops; else five.
        eager: Share everything that the geometry allows, whether or not it pays.

    Returns:
        The plan; without stages if the geometry allows none.
    """
    (_, _, _, (far, _), (centre, _)) = crop_offsets(spec, "ten")
    start = level = Level(crop=spec.crop, image=spec.resize, centre=centre, far=far)
    stages: list[SharedStage] = []
    units, done, why = _units(layers), 0, "there are no more layers"
    while units:
        try:
            count, next_stages = _next_stages(units, level, 1 + mirrored)
        except CannotShareError as error:
            why = str(error)
            break
        if not eager and sum(stage.macs_saved for stage in next_stages) <= 0:
            why = f"to share {next_stages[-1].layers[0].name} would cost more than it saves"
            break
        stages += next_stages
        level, units, done = next_stages[-1].after, units[count:], done + sum(map(len, units[:count]))
    return StemPlan(stages=tuple(stages), rest=tuple(layers[done:]), start=start, why=why, mirrored=mirrored)


def _units(layers: Sequence[Layer]) -> list[tuple[Layer, ...]]:
    """Groups each layer with the pointwise layers that follow it."""
    units: list[tuple[Layer, ...]] = []
    for layer in layers:
        if units and isinstance(layer, Relu | Lrn | BatchNorm):
            units[-1] = (*units[-1], layer)
        else:
            units.append((layer,))
    return units


def _next_stages(
    units: Sequence[tuple[Layer, ...]], level: Level, images: int
) -> tuple[int, list[SharedStage]]:
    """Returns the number of units up to the next shared convolution, and their stages.

    Raises:
        CannotShareError: No convolution follows, or it cannot be shared.
    """
    if isinstance(units[0][0], MaxPool) and len(units) > 1:
        pool = SharedStage(
            layers=units[0], before=level, after=_after(units[0], level), strips=False, images=images
        )
        count, stages = _next_stages(units[1:], pool.after, images)
        return 1 + count, [pool, *stages]
    alone = SharedStage(layers=units[0], before=level, after=_after(units[0], level), images=images)
    if not isinstance(units[0][0], Conv):
        raise CannotShareError(f"{units[0][0].name} is no convolution")
    if len(units) > 1 and isinstance(units[1][0], MaxPool) and units[1][0].pads == (0, 0):
        both = (*units[0], *units[1])
        try:
            pooled = SharedStage(layers=both, before=level, after=_after(both, level), images=images)
        except CannotShareError:
            return 1, [alone]
        # The strips of a pooled map reach further into the convolution, but its maps are smaller to copy.
        if pooled.macs_saved > alone.macs_saved:
            return 2, [pooled]
    return 1, [alone]


def _after(layers: Sequence[Layer], level: Level) -> Level:
    for layer in layers:
        level = level.after(layer)
    return level
