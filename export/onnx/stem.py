"""Writes the shared stem: layers that run once on the image, and for ten crops once on its mirror image.

`stem_plan` decides what is shared. For ten crops a batch of N images becomes one of 2 N, the mirror images
last; each of the five crops then is a batch of 2 N as well.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

from alexnet_fast.export.layers import Conv, Relu
from alexnet_fast.export.onnx.crops import mirror
from alexnet_fast.export.onnx.ops import write_net
from alexnet_fast.export.onnx.stem_plan import sliding_window
from alexnet_fast.export.onnx.writer import GraphWriter, Value

if TYPE_CHECKING:
    from alexnet_fast.export.layers import Layer
    from alexnet_fast.export.onnx.stem_plan import Level, SharedStage, StemPlan

_ROWS, _COLUMNS = 2, 3
Span = tuple[int, int]


class Corner(NamedTuple):
    """The place of a crop: 0 at the image's beginning, 1 in the middle, 2 at its end."""

    row: int
    column: int


# In the order of `pipelines.ten_crop.crop_offsets`.
_CORNERS = (Corner(0, 0), Corner(0, 2), Corner(2, 0), Corner(2, 2), Corner(1, 1))


class Side(NamedTuple):
    """A side of the crops: its name, the axis across it, and the end of that axis."""

    name: str
    axis: int
    end: int

    def ends_inside(self, corner: Corner) -> bool:
        """Returns whether a crop ends inside the image here, not at the image's border."""
        return corner[self.axis - _ROWS] != 2 * self.end


_SIDES = (
    Side("top", _ROWS, 0),
    Side("bottom", _ROWS, 1),
    Side("left", _COLUMNS, 0),
    Side("right", _COLUMNS, 1),
)
Strips = dict[tuple[Side, Corner], str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Maps:
    """The maps of one level.

    Args:
        shared: The map of the images and their mirror images.
        level: The positions of the crops in it.
        crops: The map of each crop; empty if they are plain cuts of the shared map.
    """

    shared: Value
    level: Level
    crops: tuple[str, ...] = ()

    def cut(self, graph: GraphWriter, index: int, name: str, rows: Span, columns: Span) -> str:
        """Adds a cut of a part of a crop, in the crop's own coordinates."""
        if self.crops:
            return _cut(graph, self.crops[index], name, (self.level.crop, self.level.crop), (rows, columns))
        return cut_shared(graph, self, index, name, (rows, columns))


def write_stem(graph: GraphWriter, plan: StemPlan, pixels: Value) -> Value:
    """Appends the shared layers and the crops of their maps.

    Args:
        graph: Receives the nodes.
        plan: From `plan_stem`, with at least one stage.
        pixels: Normalised images, (batch, 3, resize, resize).

    Returns:
        The input of `plan.rest`: (crops * batch, channels, side, side), crop by crop.
    """
    start = pixels.name
    if plan.mirrored:
        start = graph.node("Concat", [start, mirror(graph, start)], "crops/both", axis=0)
    maps = Maps(shared=Value(start, pixels.shape), level=plan.start)
    for stage in plan.stages:
        maps = _write_stage(graph, stage, maps)
    side = plan.stages[-1].after.crop
    crops = maps.crops or [
        maps.cut(graph, index, f"crops/{index}", (0, side), (0, side)) for index in range(len(_CORNERS))
    ]
    whole = graph.node("Concat", list(crops), "crops/all", axis=0)
    return Value(whole, (maps.shared.shape[0], side, side))


def _write_stage(graph: GraphWriter, stage: SharedStage, maps: Maps) -> Maps:
    shared = write_net(graph, list(stage.layers), maps.shared)
    after = Maps(shared=shared, level=stage.after)
    if not stage.after.width:
        return after
    last = stage.layers[-1].name
    if not stage.strips:
        with graph.place("crops"):
            whole = graph.node("Concat", list(maps.crops), f"{stage.layers[0].name}/all", axis=0)
            side = stage.before.crop
            whole_crops = write_net(
                graph, list(stage.layers), Value(whole, (maps.shared.shape[0], side, side))
            )
            crops = graph.split(whole_crops.name, f"{last}/split", len(_CORNERS))
        return dataclasses.replace(after, crops=tuple(crops))
    strips = _write_strips(graph, stage, maps)
    crops = [_put_together(graph, stage, after, strips, index) for index in range(len(_CORNERS))]
    return dataclasses.replace(after, crops=tuple(crops))


def _write_strips(graph: GraphWriter, stage: SharedStage, maps: Maps) -> Strips:
    """Appends the strips, which the crops compute by themselves."""
    strips: Strips = {}
    # One kernel computes a convolution and the ReLU right behind it.
    fused = 2 if len(stage.layers) > 1 and isinstance(stage.layers[1], Relu) else 1
    for name, sides in (("rows", _SIDES[:2]), ("columns", _SIDES[2:])):
        ends = [_write_side(graph, stage, stage.layers[:fused], maps, side) for side in sides]
        keys = [(side, corner) for side in sides for corner in _CORNERS if side.ends_inside(corner)]
        with graph.place(name):
            first, last = stage.layers[0].name, stage.layers[-1].name
            x = Value(graph.node("Concat", [x.name for x in ends], f"{first}/all", axis=0), ends[0].shape)
            x = write_net(graph, list(stage.layers[fused:]), x)
            strips.update(zip(keys, graph.split(x.name, f"{last}/split", len(keys)), strict=True))
    return strips


def _write_side(
    graph: GraphWriter, stage: SharedStage, layers: tuple[Layer, ...], maps: Maps, side: Side
) -> Value:
    """Appends the strips along one side of all crops that end inside the image there."""
    conv, whole = stage.layers[0], (0, stage.before.crop)
    assert isinstance(conv, Conv)
    span, across = stage.strip(side.end)
    along = (sliding_window(conv).low, sliding_window(conv).high)
    rows = side.axis == _ROWS
    spans = (span, whole) if rows else (whole, span)
    with graph.place(side.name):
        pieces = [
            maps.cut(graph, index, f"{conv.name}/from{index}", *spans)
            for index, corner in enumerate(_CORNERS)
            if side.ends_inside(corner)
        ]
        width = spans[1][1] - spans[1][0]
        if not rows:
            pieces = [_widen(graph, x, f"{conv.name}/wide{i}", across) for i, x in enumerate(pieces)]
            width += sum(across)
            pads = (along[0], 0, along[1], 0)
        else:
            pads = (across[0], along[0], across[1], along[1])
        x = graph.node("Concat", pieces, f"{conv.name}/input", axis=0)
        value = Value(x, (maps.shared.shape[0], spans[0][1] - spans[0][0], width))
        return write_net(graph, [dataclasses.replace(conv, pads=pads), *layers[1:]], value)


def _widen(graph: GraphWriter, x: str, name: str, columns: Span) -> str:
    """Adds zero columns: onnxruntime computes those of a Conv's own padding one by one, at half the speed.

    They are added before the strips are joined, because onnxruntime would fuse a Pad right before a Conv.
    """
    before, behind = columns
    pads = graph.integers(0, 0, 0, before, 0, 0, 0, behind)
    return graph.node("Pad", [x, pads, graph.number("zero", 0)], name)


def _put_together(graph: GraphWriter, stage: SharedStage, after: Maps, strips: Strips, index: int) -> str:
    """Appends a crop's map: its own strips around a cut of the shared map."""
    corner, level = _CORNERS[index], stage.after
    name = f"{stage.layers[-1].name}/crop{index}"
    top, bottom, left, right = (
        (level.high if side.end else level.low) if side.ends_inside(corner) else 0 for side in _SIDES
    )
    rows, columns = (top, level.crop - bottom), (left, level.crop - right)
    width, side = level.width, level.crop

    def piece(which: int, part: tuple[Span, Span]) -> list[str]:
        if (_SIDES[which], corner) not in strips or not (top, bottom, left, right)[which]:
            return []
        strip = strips[_SIDES[which], corner]
        size = (width, side) if which < 2 else (side, width)
        return [_cut(graph, strip, f"{name}/{_SIDES[which].name}", size, part)]

    middle = [
        *piece(2, (rows, (0, left))),
        cut_shared(graph, after, index, f"{name}/shared", (rows, columns)),
        *piece(3, (rows, (width - right, width))),
    ]
    rows_of_parts = [
        *piece(0, ((0, top), (0, side))),
        _join(graph, middle, f"{name}/middle", _COLUMNS),
        *piece(1, ((width - bottom, width), (0, side))),
    ]
    return _join(graph, rows_of_parts, name, _ROWS)


def cut_shared(graph: GraphWriter, maps: Maps, index: int, name: str, part: tuple[Span, Span]) -> str:
    """Adds a cut of a part of a crop out of the shared map."""
    begins = (0, maps.level.centre, maps.level.far)
    down, along = (begins[place] for place in _CORNERS[index])
    (top, bottom), (left, right) = part
    return graph.cut(
        maps.shared.name, name, {_ROWS: (top + down, bottom + down), _COLUMNS: (left + along, right + along)}
    )


def _cut(graph: GraphWriter, x: str, name: str, size: Span, part: tuple[Span, Span]) -> str:
    """Adds a cut along those axes that it shortens."""
    spans = {
        axis: span
        for axis, span, side in zip((_ROWS, _COLUMNS), part, size, strict=True)
        if span != (0, side)
    }
    return graph.cut(x, name, spans) if spans else x


def _join(graph: GraphWriter, parts: list[str], name: str, axis: int) -> str:
    return graph.node("Concat", parts, name, axis=axis) if len(parts) > 1 else parts[0]
