"""Writes weights as Caffe and as TensorFlow's users of Caffe's weights have them."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

Arrays = dict[str, list[np.ndarray]]


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def message(number: int, content: bytes) -> bytes:
    """A field that is text, a message or packed numbers."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def number(number: int, value: int) -> bytes:
    """A field that is a whole number."""
    return _varint(number << 3) + _varint(value)


def _old_blob(array: np.ndarray) -> bytes:
    sides = [1] * (4 - array.ndim) + list(array.shape)
    return b"".join(number(i, side) for i, side in enumerate(sides, 1)) + message(
        5, array.astype("<f4").tobytes()
    )


def _new_blob(array: np.ndarray) -> bytes:
    shape = message(1, b"".join(map(_varint, array.shape)))
    return message(7, shape) + message(5, array.astype("<f4").tobytes())


def write_caffe_model(path: Path, arrays: Arrays, *, old: bool, name: str = "AlexNet") -> Path:
    """Writes a `.caffemodel` with V1LayerParameter (`old`) or LayerParameter, and fields of no use here."""
    parts = [message(1, name.encode()), message(3, b"data"), number(5, 1)]
    if old:
        parts.append(message(2, message(4, b"relu1") + number(5, 18)))
        for layer, blobs in arrays.items():
            content = message(2, b"bottom") + message(4, layer.encode()) + number(5, 4)
            rate = _varint(8 << 3 | 5) + struct.pack("<f", 1.0)
            parts.append(message(2, content + b"".join(message(6, _old_blob(b)) for b in blobs) + rate))
    else:
        parts.append(message(100, message(1, b"relu1") + message(2, b"ReLU")))
        for layer, blobs in arrays.items():
            content = message(1, layer.encode()) + message(2, b"Convolution")
            parts.append(message(100, content + b"".join(message(7, _new_blob(b)) for b in blobs)))
    path.write_bytes(b"".join(parts))
    return path


def for_tensorflow(arrays: Arrays) -> Arrays:
    """Kernels as (height, width, in, out), matrices as (in, out), those of fc6 by row, column, channel."""
    turned, channels = {}, 0
    for name, (weight, bias) in arrays.items():
        if weight.ndim == 4:
            channels = len(weight)
            turned[name] = [weight.transpose(2, 3, 1, 0), bias]
            continue
        matrix = weight
        if name == "fc6":
            side = round((weight.shape[1] / channels) ** 0.5)
            maps = weight.reshape(len(weight), channels, side, side)
            matrix = maps.transpose(0, 2, 3, 1).reshape(weight.shape)
        turned[name] = [matrix.T, bias]
    return turned


def write_numpy(path: Path, arrays: Arrays) -> Path:
    """Writes a `.npy` file as `bvlc_alexnet.npy` is: a dictionary in an array of one object."""
    np.save(path, np.array(for_tensorflow(arrays), dtype=object), allow_pickle=True)
    return path
