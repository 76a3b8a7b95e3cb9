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
import torch

from alexnet_fast.errors import UserError, system_reason
from alexnet_fast.models import CAFFE_INPUT, InputSpec
from alexnet_fast.utils.special_files import read_given

Arrays = dict[str, list[npt.NDArray[np.float32]]]

# Simonyan and Zisserman's mean, on the 0..255 scale (their Caffe models' page: BGR 103.939, 116.779, 123.68).
_VGG_INPUT = InputSpec(crop=224, resize=256, mean=(123.68, 116.779, 103.939), std=(1.0, 1.0, 1.0))


def from_caffe(arrays: Arrays) -> dict[str, torch.Tensor]:
    """Names Caffe's blobs as PyTorch does, and turns BGR to RGB.

    Args:
        arrays: Weights and biases by layer. Kernels (out, in / groups, height, width), as ours; matrices
            (out, in) or (1, 1, out, in), the inputs by channel, row, column, as ours.
    """
    tensors = {}
    for name, blobs in arrays.items():
        weight = blobs[0].squeeze() if blobs[0].shape[:2] == (1, 1) else blobs[0]
        tensors[f"{name}.weight"] = torch.from_numpy(weight.copy())
        if len(blobs) > 1:
            tensors[f"{name}.bias"] = torch.from_numpy(blobs[1].reshape(-1).copy())
    return _to_rgb(tensors)


def from_tensorflow(arrays: Arrays) -> dict[str, torch.Tensor]:
    """The same for arrays that were turned around for TensorFlow, as `bvlc_alexnet.npy` has them.

    Args:
        arrays: Kernels (height, width, in / groups, out); matrices (in, out), those of the first one by row,
            column, channel.
    """
    turned, channels, before = {}, 0, False
    for name, (weight, *bias) in arrays.items():
        if weight.ndim == 4:
            channels, before = weight.shape[3], True
            turned[name] = [weight.transpose(3, 2, 0, 1), *bias]
            continue
        matrix = weight.T
        if before and weight.ndim == 2:
            matrix = _by_channel(matrix, channels)
        before = False
        turned[name] = [matrix, *bias]
    return from_caffe(turned)


def _by_channel(matrix: npt.NDArray[np.float32], channels: int) -> npt.NDArray[np.float32]:
    """Orders inputs that come by row, column, channel by channel, row, column; maps are squares."""
    outputs, inputs = matrix.shape
    side = round((inputs / channels) ** 0.5)
    if side * side * channels != inputs:
        return matrix
    return matrix.reshape(outputs, side, side, channels).transpose(0, 3, 1, 2).reshape(outputs, inputs)


def _to_rgb(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Reverses the input channels of the first convolution: Caffe reads images as BGR."""
    first = next((name for name, tensor in tensors.items() if tensor.dim() == 4), None)
    if first is not None and tensors[first].shape[1] == 3:
        tensors[first] = tensors[first].flip(1)
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def caffe_input(tensors: dict[str, torch.Tensor]) -> InputSpec:
    """The images of Caffe's published networks: 0..255 less a mean, VGG's or ILSVRC's."""
    return _VGG_INPUT if "conv1_1.weight" in tensors else CAFFE_INPUT


def caffe_model(tensors: dict[str, torch.Tensor], net_name: str = "") -> str | None:
    """The network of ours that computes what Caffe's does, by its layers and the name that it was given."""
    if "conv1_1.weight" in tensors:
        return "vgg16" if "conv5_3.weight" in tensors else None
    if "conv5.weight" not in tensors:
        return None
    return "caffenet" if net_name.lower() == "caffenet" else "alexnet-caffe"


_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class WireError(Exception):
    """The bytes are no message."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Field:
    """One field of a message.

    Args:
        number: Its number in the message's description.
        packed: Whether it is a stretch of bytes: text, a message or packed numbers.
        payload: Its bytes; of a varint those that encode it.
    """

    number: int
    packed: bool
    payload: memoryview

    @property
    def message(self) -> memoryview:
        """The bytes of a message.

        Raises:
            WireError: The field is a number.
        """
        if not self.packed:
            raise WireError(f"field {self.number} is a number, not a message")
        return self.payload

    @property
    def text(self) -> str:
        """The field as text."""
        return bytes(self.message).decode("utf-8", "replace")

    @property
    def number_value(self) -> int:
        """The field as a whole number.

        Raises:
            WireError: It is none.
        """
        if self.packed:
            raise WireError(f"field {self.number} is not a number")
        return next(varints(self.payload))


def fields(content: memoryview) -> Iterator[Field]:
    """Yields the fields of a message.

    Raises:
        WireError: It is cut short, or no message.
    """
    at = 0
    while at < len(content):
        tag, at = _varint(content, at)
        number, kind = tag >> 3, tag & 7
        start = at
        if kind == _VARINT:
            _, at = _varint(content, at)
        elif kind == _BYTES:
            length, start = _varint(content, at)
            at = start + length
        elif kind in (_FIXED32, _FIXED64):
            at += 4 if kind == _FIXED32 else 8
        else:
            raise WireError(f"wire type {kind}")
        if at > len(content) or not number:
            raise WireError("it ends within a field")
        yield Field(number=number, packed=kind == _BYTES, payload=content[start:at])


def varints(content: memoryview) -> Iterator[int]:
    """Yields packed whole numbers."""
    at = 0
    while at < len(content):
        value, at = _varint(content, at)
        yield value


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    """Returns a number in groups of seven bits, lowest first, and where the next thing begins."""
    value = 0
    for shift in range(0, 64, 7):
        if at >= len(content):
            raise WireError("it ends within a number")
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise WireError("a number has more than 64 bits")


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
