"""Calibrates int8: finds the scales by running a network on images that it was trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from alexnet_fast.errors import UserError
from alexnet_fast.export.config import QMAX, QuantScales
from alexnet_fast.export.layers import Conv, Linear, Relu, UnknownLayerError, read_layers, sequence
from alexnet_fast.export.net_copy import evaluation_copy
from alexnet_fast.export.verify import batches
from alexnet_fast.pipelines.ten_crop import take_crops
from alexnet_fast.utils.arrays import Floats

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from alexnet_fast.export.layers import Layer
    from alexnet_fast.export.progress import Progress
    from alexnet_fast.pipelines.spec import AugmentSpec
    from alexnet_fast.pipelines.ten_crop import Crops
    from alexnet_fast.utils.arrays import Pixels

_BINS = 2048


class HistogramObserver:
    """Collects a histogram of the magnitudes of a tensor's values."""

    def __init__(self) -> None:
        self._end = 0.0
        self._counts = np.zeros(_BINS, np.int64)

    def add(self, x: Floats) -> None:
        """Counts the magnitudes of finite numbers of any shape."""
        magnitudes = np.abs(x, dtype=np.float32).ravel()
        largest = float(magnitudes.max(initial=0))
        if largest == 0:
            return
        if self._end == 0:
            self._end = largest
        while largest > self._end:
            self._counts = np.concatenate(
                [self._counts.reshape(-1, 2).sum(1), np.zeros(_BINS // 2, np.int64)]
            )
            self._end *= 2
        # Every scale expresses zero exactly, and after a ReLU most values are zero.
        self._counts += np.histogram(magnitudes[magnitudes > 0], _BINS, (0, self._end))[0]

    def scale(self) -> float:
        """Returns the scale of int8 with the smallest squared error; 1 if all values were zero."""
        if self._end == 0:
            return 1.0
        centres = (np.arange(_BINS) + 0.5) * (self._end / _BINS)
        # Below 128 bins the width of a bin would decide, not the rounding.
        ends = np.arange(QMAX + 1, _BINS + 1) * (self._end / _BINS)
        errors = [self._squared_error(centres, end / QMAX) for end in ends]
        return float(ends[int(np.argmin(errors))] / QMAX)

    def _squared_error(self, centres: np.ndarray[Any, np.dtype[Any]], scale: float) -> float:
        rounded = np.minimum(np.rint(centres / scale), QMAX) * scale
        return float(self._counts @ (centres - rounded) ** 2)


def calibrate(
    net: torch.nn.Module,
    spec: AugmentSpec,
    images_nhwc_u8: Pixels,
    crops: Crops,
    *,
    progress: Progress | None = None,
) -> QuantScales:
    """Measures the inputs and outputs of each convolution and matrix product.

    Args:
        net: A sequential network; it is copied, not changed.
        spec: Sizes and normalisation that it was trained with.
        images_nhwc_u8: uint8 (N, resize, resize, 3), RGB, of the training images; at least one.
        crops: The crops that the exported graph takes; each image shows one of them, in turn.
        progress: Called after each batch.

    Raises:
        UserError: There are no images, or the network cannot be described.
    """
    import torch

    if len(images_nhwc_u8) == 0:
        raise UserError("there are no images to calibrate int8 on", "give a data set with --calibration-data")
    points = _points(net)
    observers = {name: HistogramObserver() for name in points}
    reference = evaluation_copy(net)
    with torch.inference_mode():
        for batch in batches(images_nhwc_u8, "calibrating int8", progress):
            x = _one_crop_each(batch, spec, crops)
            for name, module in sequence(reference):
                if f"{name}/input" in points:
                    observers[f"{name}/input"].add(x.numpy())
                x = module(x)
                if name in points:
                    observers[name].add(x.numpy())
    scales = {name: observer.scale() for name, observer in observers.items()}
    return QuantScales(
        inputs={name.removesuffix("/input"): scales[name] for name in points if name.endswith("/input")},
        outputs={product: scales[name] for name, product in points.items() if product is not None},
    )


def _one_crop_each(images: Pixels, spec: AugmentSpec, crops: Crops) -> torch.Tensor:
    """Returns the first crop of the first image, the second of the second …: (N, 3, crop, crop)."""
    import torch

    count = len(images)
    all_crops = take_crops(torch.tensor(images), spec, crops)
    return all_crops[[place % (len(all_crops) // count) * count + place for place in range(count)]]


def _points(net: torch.nn.Module) -> dict[str, str | None]:
    """Returns the points to measure at: "NAME/input", or the name of a module for its output.

    Returns:
        Maps each point to the convolution or matrix product whose output it is; None for an input.
    """
    try:
        layers = {layer.name: layer for layer in read_layers(net)}
    except UnknownLayerError as unknown:
        raise unknown.in_int8() from unknown
    names = [name for name, _ in sequence(net)]
    points: dict[str, str | None] = {}
    for layer in layers.values():
        if isinstance(layer, Conv | Linear):
            points[f"{layer.name}/input"] = None
            end = _end_of(layer, names, layers)
            if isinstance(layer, Conv) or isinstance(layers.get(end), Relu):
                points[end] = layer.name
    return points


def _end_of(product: Conv | Linear, names: Sequence[str], layers: Mapping[str, Layer]) -> str:
    """Returns the module that ends a layer: behind everything folded into the layer, and its ReLU."""
    at = names.index(product.name)
    for name in names[at + 1 :]:
        following = layers.get(name)
        if following is not None and not isinstance(following, Relu):
            break
        at += 1
        if following is not None:
            break
    return names[at]
