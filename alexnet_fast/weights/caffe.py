"""Reads a `.caffemodel`: a NetParameter message of protocol buffers, of which five fields matter here.

Field numbers are those of BVLC/caffe, src/caffe/proto/caffe.proto. Both kinds of layers are read:
LayerParameter, and V1LayerParameter, which the published files have.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from alexnet_fast.errors import UserError, system_reason
from alexnet_fast.utils.special_files import read_given
from alexnet_fast.weights.wire import Field, WireError, fields, varints

_NET_NAME, _NET_LAYERS_V1, _NET_LAYER = 1, 2, 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Numbers:
    """Field numbers of a layer: its name and its blobs."""

    name: int
    blobs: int


_KINDS = {_NET_LAYERS_V1: _Numbers(name=4, blobs=6), _NET_LAYER: _Numbers(name=1, blobs=7)}
# BlobProto: the sides of before 2014, packed floats, the shape, packed doubles.
_SIDES, _DATA, _SHAPE, _DOUBLES = (1, 2, 3, 4), 5, 7, 8
_SHAPE_DIM = 1

Arrays = dict[str, list[npt.NDArray[np.float32]]]


def read_caffe_model(path: Path) -> tuple[str, Arrays]:
    """Reads the network's name, and the blobs of every layer that has some.

    Args:
        path: The file.

    Returns:
        The name, and weights and biases by layer. A matrix of before 2014 has shape (1, 1, out, in).

    Raises:
        UserError: The file is missing, damaged or something else.
    """
    try:
        content = memoryview(read_given(path))
    except OSError as error:
        raise UserError(f"cannot read {path}: {system_reason(error)}") from error
    try:
        name, layers = _net(content)
    except (WireError, ValueError) as error:
        raise UserError(
            f"{path} is not a .caffemodel, or is damaged ({error})", "get the file again"
        ) from error
    if not layers:
        raise UserError(f"{path} holds no layer with weights", "give a trained .caffemodel")
    return name, layers


def _net(content: memoryview) -> tuple[str, Arrays]:
    name, layers = "", {}
    for field in fields(content):
        if field.number == _NET_NAME:
            name = field.text
        elif field.number in _KINDS:
            layer, blobs = _layer(field.message, _KINDS[field.number])
            if blobs:
                layers[layer] = blobs
    return name, layers


def _layer(content: memoryview, numbers: _Numbers) -> tuple[str, list[npt.NDArray[np.float32]]]:
    name, blobs = "", []
    for field in fields(content):
        if field.number == numbers.name:
            name = field.text
        elif field.number == numbers.blobs:
            blobs.append(_blob(field.message))
    return name, blobs


def _blob(content: memoryview) -> npt.NDArray[np.float32]:
    """Reads an array; a shape that does not fit its numbers raises ValueError."""
    sides = dict.fromkeys(_SIDES, 0)
    shape: list[int] | None = None
    parts = []
    for field in fields(content):
        if field.number in sides:
            sides[field.number] = field.number_value
        elif field.number == _SHAPE:
            shape = list(_dimensions(field.message))
        elif field.number in (_DATA, _DOUBLES):
            parts.append(_floats(field))
    old = [max(1, side) for side in sides.values()] if any(sides.values()) else [sum(map(len, parts))]
    numbers = np.concatenate(parts) if parts else np.empty(0, np.float32)
    return numbers.reshape(old if shape is None else shape)


def _floats(field: Field) -> npt.NDArray[np.float32]:
    """Numbers come packed, or, from old writers, one a field."""
    return np.frombuffer(field.payload, "<f4" if field.number == _DATA else "<f8").astype(np.float32)


def _dimensions(content: memoryview) -> Iterator[int]:
    for field in fields(content):
        if field.number == _SHAPE_DIM:
            yield from varints(field.message) if field.packed else [field.number_value]
