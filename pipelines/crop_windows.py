"""Locate stage: the window of each image of a batch, computed outside the graph."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from alexnet_fast.pipelines.augment.random_resized_crop import random_boxes
from alexnet_fast.pipelines.geometry import crop_starts, resized_sizes
from alexnet_fast.pipelines.sampler import AREAS, PLACE
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.utils.arrays import Floats, Integers

View = Literal["train", "eval", "square"]

# Pixels decoded around a window besides the reach of the resizing filter: room for rounding.
_SPARE = 2.0

# An aligned view begins at most this many of its sides from the image's beginning, since everything in front
# of it is resized for nothing: an image of 60,000 x 100 would be resized to 153,600 x 256 for one view.
_FAR = 4

# Inputs of a graph.
_GRAPH_FIELDS = ("start", "end", "roi_start", "roi_end", "size", "needs_resize")


@dataclasses.dataclass(frozen=True, kw_only=True)
class CropWindows:
    """Windows of a batch; (row, column) everywhere.

    Args:
        start: int32 (B, 2), first pixels of the part of each upright file to decode.
        end: int32 (B, 2), one past its last pixels.
        roi_start: float32 (B, 2), begin of the view in that part, in fractions of its pixels.
        roi_end: float32 (B, 2), end of the view in that part.
        size: float32 (B, 2), pixels of the view.
        needs_resize: bool (B,), whether that part has to be resized to become the view.
        scale: float64 (B, 2), pixels of the file per pixel of the view.
        aligned: bool (B,), whether the part begins where its image (or random area) does, so that each
            pixel of the resized part is one of the whole image resized.
        corner: int64 (B, 2), first pixel of the view in the resized image (or random area).
    """

    start: npt.NDArray[np.int32]
    end: npt.NDArray[np.int32]
    roi_start: Floats
    roi_end: Floats
    size: Floats
    needs_resize: npt.NDArray[np.bool_]
    scale: npt.NDArray[np.float64]
    aligned: npt.NDArray[np.bool_]
    corner: Integers

    def view_size(self) -> tuple[int, int]:
        """Returns height and width of the views."""
        height, width = self.size[0].tolist()
        return int(height), int(width)

    @classmethod
    def concatenate(cls, parts: Sequence[CropWindows]) -> CropWindows:
        """Returns the windows of a batch whose parts were computed one by one."""
        return cls(
            **{name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])}
        )

    def dali_inputs(self) -> dict[str, Any]:
        """Returns the inputs of a graph, by name."""
        return {name: values for name, values in vars(self).items() if name in _GRAPH_FIELDS}


def view_windows(
    sizes: Integers, random_params: Floats, spec: AugmentSpec, view: View, *, align: bool = False
) -> CropWindows:
    """Computes the windows of a batch.

    Args:
        sizes: (B, 2), height and width of each upright file, in pixels.
        random_params: As in `sampler.BatchIndices`; read for the view "train" alone.
        spec: Geometry of one epoch (`AugmentSpec.in_epoch`).
        view: Part of the image.
        align: Let the parts that are resized begin where their image does, as torch's resizing needs it;
            DALI's can begin between pixels. Views very far from the image's beginning are not aligned.
    """
    side = spec.resize if view == "square" else spec.crop
    if view == "train" and spec.random_resized_crop is not None:
        corner, extent = random_boxes(
            sizes, random_params[:, PLACE], random_params[:, AREAS], spec.random_resized_crop
        )
        # The area is cut first, then resized: nothing outside it is seen.
        start, end = begin, finish = corner.astype(np.float64), (corner + extent).astype(np.float64)
        needs_resize = (extent != side).any(axis=1)
        scale, corner = extent / side, np.zeros_like(corner)
        aligned = np.ones(len(sizes), np.bool_)
    else:
        tall_wide = resized_sizes(sizes, spec.resize)
        places = random_params[:, PLACE] if view == "train" else None
        corner = (tall_wide - side) // 2 if places is None else crop_starts(places, tall_wide, side)
        needs_resize = sizes.min(axis=1) != spec.resize
        scale = sizes / tall_wide
        start, end, begin, finish = _source_spans(sizes, scale, corner, side, needs_resize)
        aligned = needs_resize & align & (corner.max(axis=1) < _FAR * side)
        start = np.where(aligned[:, None], 0, start)
    return CropWindows(
        start=start.astype(np.int32),
        end=end.astype(np.int32),
        roi_start=(begin - start).astype(np.float32),
        roi_end=(finish - start).astype(np.float32),
        size=np.full((len(sizes), 2), side, np.float32),
        needs_resize=needs_resize,
        scale=scale,
        aligned=aligned,
        corner=corner,
    )


def _source_spans(
    sizes: Integers,
    scale: npt.NDArray[np.float64],
    corner: Integers,
    side: int,
    needs_resize: npt.NDArray[np.bool_],
) -> tuple[npt.NDArray[np.float64], ...]:
    """Maps views back to the pixels of their files.

    Args:
        sizes: (B, 2), sizes of the files.
        scale: (B, 2), pixels of the file per pixel after resizing.
        corner: (B, 2), first pixels of the views, after resizing.
        side: Side of the views, after resizing.
        needs_resize: (B,), whether anything is resized.

    Returns:
        The first pixels to decode, one past the last, and begin and end of the view; all (B, 2).
    """
    begin, finish = corner * scale, (corner + side) * scale
    # The filter reaches as far as the scale; without resizing exactly the view is decoded.
    reach = needs_resize[:, None] * (np.maximum(scale, 1.0) + _SPARE)
    return np.maximum(np.floor(begin - reach), 0), np.minimum(np.ceil(finish + reach), sizes), begin, finish
