"""Reads a `.caffemodel`, and gives its arrays the names and axes of PyTorch.

The file is a NetParameter message of protocol buffers. `_MESSAGES` describes the few fields that matter here,
with the numbers of BVLC/caffe, src/caffe/proto/caffe.proto; protobuf skips all others. Both kinds of layers
are read: LayerParameter, and V1LayerParameter, which the published files have.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, unknown_fields
from google.protobuf.message import DecodeError

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


_Field = descriptor_pb2.FieldDescriptorProto
# Messages, and their fields: number, type, whether it is repeated. Names are bytes: they need not be UTF-8.
# Packed numbers are bytes too: NumPy reads them in place, protobuf would make a Python object of each.
_MESSAGES: dict[str, dict[str, tuple[int, int | str, bool]]] = {
    "Shape": {"dim": (1, _Field.TYPE_INT64, True)},
    "Blob": {
        # The sides of before 2014.
        "num": (1, _Field.TYPE_INT32, False),
        "channels": (2, _Field.TYPE_INT32, False),
        "height": (3, _Field.TYPE_INT32, False),
        "width": (4, _Field.TYPE_INT32, False),
        "data": (5, _Field.TYPE_BYTES, True),
        "shape": (7, "Shape", False),
        "double_data": (8, _Field.TYPE_BYTES, True),
    },
    "V1Layer": {"name": (4, _Field.TYPE_BYTES, False), "blobs": (6, "Blob", True)},
    "Layer": {"name": (1, _Field.TYPE_BYTES, False), "blobs": (7, "Blob", True)},
    "Net": {
        "name": (1, _Field.TYPE_BYTES, False),
        "layers": (2, "V1Layer", True),
        "layer": (100, "Layer", True),
    },
}
_FLOATS, _DOUBLES = _MESSAGES["Blob"]["data"][0], _MESSAGES["Blob"]["double_data"][0]


@functools.cache
def _net_class() -> Any:
    """Returns the class of a NetParameter message, in a pool of its own: pycaffe may be in the process."""
    file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
    for message, fields in _MESSAGES.items():
        described = file.message_type.add(name=message)
        for name, (number, kind, repeated) in fields.items():
            field = described.field.add(name=name, number=number)
            field.label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
            if isinstance(kind, str):
                field.type, field.type_name = _Field.TYPE_MESSAGE, f".caffe.{kind}"
            else:
                field.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("caffe.Net"))


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
        net = _net_class().FromString(read_given(path))
        layers = {_text(layer.name): list(map(_blob, layer.blobs)) for layer in _layers_with_blobs(net)}
    except OSError as error:
        raise UserError(f"cannot read {path}: {system_reason(error)}") from error
    except (DecodeError, ValueError) as error:
        raise UserError(
            f"{path} is not a .caffemodel, or is damaged ({error})", "get the file again"
        ) from error
    if not layers:
        raise UserError(f"{path} holds no layer with weights", "give a trained .caffemodel")
    return _text(net.name), layers


def _layers_with_blobs(net: Any) -> Iterator[Any]:
    """Yields the layers of either kind that have weights."""
    yield from (layer for layer in (*net.layers, *net.layer) if layer.blobs)


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")


def _blob(blob: Any) -> npt.NDArray[np.float32]:
    """Returns a blob as an array.

    Raises:
        ValueError: Its shape does not fit its numbers.
    """
    parts = [np.frombuffer(part, "<f4") for part in (*blob.data, *_unpacked(blob, _FLOATS, "<u4"))]
    parts += [np.frombuffer(part, "<f8") for part in (*blob.double_data, *_unpacked(blob, _DOUBLES, "<u8"))]
    numbers = np.concatenate(parts).astype(np.float32, copy=False) if parts else np.empty(0, np.float32)
    sides = (blob.num, blob.channels, blob.height, blob.width)
    old = tuple(max(1, side) for side in sides) if any(sides) else numbers.shape
    shape = tuple(blob.shape.dim) if blob.HasField("shape") else old
    if math.prod(shape) != len(numbers):
        raise ValueError(f"{len(numbers)} numbers do not fit the shape {list(shape)}")
    return numbers.reshape(shape)


def _unpacked(blob: Any, number: int, kind: str) -> list[bytes]:
    """Returns the numbers that an old writer wrote as a field each; to protobuf these are unknown fields."""
    wire_type = {"<u4": 5, "<u8": 1}[kind]
    values = [
        field.data
        for field in unknown_fields.UnknownFieldSet(blob)
        if (field.field_number, field.wire_type) == (number, wire_type)
    ]
    return [np.array(values, kind).tobytes()] if values else []
