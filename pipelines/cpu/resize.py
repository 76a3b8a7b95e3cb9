"""Resize on the CPU with the antialiased triangular filter, on uint8.

torch's kernel gives Pillow's pixels, but for one level on one value in a thousand, in a third of the CPU time
of DALI's (238 against 697 microseconds from 335 x 335 to 224 x 224). On a GPU the graph resizes
(`dali.graph`).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from alexnet_fast.utils.arrays import Floats, Integers, Pixels

_Geometry = tuple[npt.NDArray[np.float64], Integers, tuple[int, int]]


def resized_view(
    part: Pixels, scale: npt.NDArray[np.float64], corner: Integers, size: tuple[int, int]
) -> Pixels:
    """Resizes a part of an image and cuts a view out of it.

    The pixels are exactly those of the view in the whole resized image, if the part begins where the image
    does and reaches as far beyond the view as the filter does. Beyond its border an image is extended with
    the colour of the border, as in DALI.

    Args:
        part: uint8 (H, W, 3), writable.
        scale: Pixels of the part per pixel of the resized part, vertically and horizontally.
        corner: First row and column of the view in the resized part.
        size: Height and width of the view.

    Returns:
        uint8 (height, width, 3), not contiguous.
    """
    pixels = _resized(part, scale, corner, size)
    for axis in (0, 1):
        # A filter of at most two pixels sees nothing beyond the border that it does not see inside.
        if scale[axis] <= 1:
            continue
        if corner[axis] == 0:
            _extend_border(pixels, part, (scale, corner, size), axis, 0)
        if (corner[axis] + size[axis] + 0.5) * scale[axis] > part.shape[axis]:
            _extend_border(pixels, part, (scale, corner, size), axis, -1)
    return pixels


def resized_box(part: Pixels, start: Floats, end: Floats, size: tuple[int, int]) -> Pixels:
    """Resizes an area that may begin between two pixels, with Pillow; slower.

    Args:
        part: uint8 (H, W, 3).
        start: Begin of the area, row and column.
        end: End of the area.
        size: Height and width of the view.

    Returns:
        uint8 (height, width, 3).
    """
    reach = math.ceil(((end - start) / size).max()) + 1
    padded = np.pad(part, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    (top, left), (bottom, right) = (start + reach).tolist(), (end + reach).tolist()
    box = (left, top, right, bottom)
    return np.array(Image.fromarray(padded).resize(size[::-1], Image.Resampling.BILINEAR, box=box))


def _resized(part: Pixels, scale: npt.NDArray[np.float64], corner: Integers, size: tuple[int, int]) -> Pixels:
    """Returns a view as torch resizes it: pixels inside the border also take the weight of those beyond."""
    height, width = (corner + size).tolist()
    # In the order in which pixels are stored; otherwise torch's kernel would write channel by channel.
    resized = torch.empty(1, height, width, 3, dtype=torch.uint8).permute(0, 3, 1, 2)
    # `interpolate(antialias=True)` is this operator, but it takes either a size or a scale.
    torch.ops.aten._upsample_bilinear2d_aa.out(
        torch.from_numpy(part).permute(2, 0, 1)[None],
        [height, width],
        align_corners=False,
        scales_h=1 / float(scale[0]),
        scales_w=1 / float(scale[1]),
        out=resized,
    )
    pixels: Pixels = resized[0].permute(1, 2, 0).numpy()
    return pixels[corner[0] :, corner[1] :]


def _extend_border(pixels: Pixels, part: Pixels, geometry: _Geometry, axis: int, end: int) -> None:
    """Extends the image beyond a border with the border's colours; changes the view's outermost line there.

    Args:
        pixels: The view.
        part: As in `resized_view`.
        geometry: Scale, corner and size, as in `resized_view`.
        axis: 0 for the top or bottom border, 1 for the left or right one.
        end: 0 for the first, -1 for the last.
    """
    scale, corner, size = (np.array(values) for values in geometry)
    inside = _weight_inside(float(scale[axis]))
    scale[axis], corner[axis], size[axis] = 1, 0, 1
    border = np.ascontiguousarray(part.take([end], axis))
    # Columns come after rows: columns are already extended above and below, rows not yet at the sides.
    resize = resized_view if axis else _resized
    colors = resize(border, scale, corner, (int(size[0]), int(size[1])))
    line = pixels.swapaxes(0, axis)[end]
    line[...] = np.rint(line * inside + colors.swapaxes(0, axis)[0] * (1 - inside))


def _weight_inside(scale: float) -> float:
    """Returns the fraction of the filter inside the image, for the pixel next to its border."""
    taps = np.arange(-math.ceil(scale), 2 * math.ceil(scale))
    weights = np.maximum(0, 1 - np.abs(taps + 0.5 - scale / 2) / scale)
    return float(weights[taps >= 0].sum() / weights.sum())
