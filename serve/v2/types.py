"""Requests and answers of the V2 inference protocol, independent of HTTP and gRPC.

The protocol: https://github.com/kserve/open-inference-protocol. A model takes one input, `images`: UINT8
[N, side, side, 3], or BYTES [N], each element an encoded image (JPEG, PNG, WebP).
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import itertools
import math
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from alexnet_fast.runtime.metadata import INPUT, LOGITS, OUTPUT, TENSOR_TYPES
from alexnet_fast.runtime.prediction import top_k
from alexnet_fast.serve.errors import malformed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alexnet_fast.runtime.manifest import TensorInfo
    from alexnet_fast.utils.arrays import AnyArray, Pixels

_PROTOCOL_NAMES = {kind.numpy: kind.protocol for kind in TENSOR_TYPES.values()}
# The length before each element of a BYTES tensor, little-endian (binary tensor extension).
_LENGTH = struct.Struct("<I")
_DATATYPES = ("UINT8", "BYTES")


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputTensor:
    """An input tensor as it was received.

    Args:
        name: Name of the input.
        datatype: Name in the protocol.
        shape: Sizes, not negative.
        data: Binary (elements of BYTES preceded by their lengths), or a list of numbers, base64 texts or
            bytes.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: bytes | memoryview | Sequence[Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RequestedOutput:
    """A requested output and its form.

    Args:
        name: Name of the output.
        binary: Whether it is sent as bytes behind the JSON of an HTTP answer.
        top: Number of classes to name (classification extension); 0 for all values.
    """

    name: str
    binary: bool = False
    top: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class InferRequest:
    """A well-formed request.

    Args:
        id: Sent back unchanged; None if the request has none.
        version: The requested version of the model; None for any.
        timeout: Seconds that the request may take; None for the server's default.
        inputs: Tensors.
        outputs: Requested outputs; all of them if empty.
        binary: Whether outputs that are not named are sent as bytes.
    """

    id: str | None
    version: str | None
    timeout: float | None
    inputs: tuple[InputTensor, ...]
    outputs: tuple[RequestedOutput, ...]
    binary: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnswerTensor:
    """One output for the images of one request.

    Args:
        requested: The output and its form.
        array: (N, ...), float32 or int64.
        classes: Names of the classes.
    """

    requested: RequestedOutput
    array: AnyArray
    classes: tuple[str, ...]

    @property
    def datatype(self) -> str:
        """Name of the type in the protocol."""
        return "BYTES" if self.requested.top else _PROTOCOL_NAMES[self.array.dtype]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of what is sent."""
        if self.requested.top:
            return (len(self.array), min(self.requested.top, len(self.classes)))
        return tuple(self.array.shape)

    def values(self) -> list[Any]:
        """Returns the output as a flat list."""
        if self.requested.top:
            return self.labels()
        flat: list[Any] = self.array.ravel().tolist()
        return flat

    def binary(self) -> bytes:
        """Returns the output in the binary form of the protocol."""
        if not self.requested.top:
            return np.ascontiguousarray(self.array).tobytes()
        texts = [label.encode("utf-8", "surrogateescape") for label in self.labels()]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)

    def labels(self) -> list[str]:
        """Returns "value:index:name" of the top classes of each image, best first.

        The form is that of the classification extension of the protocol.
        """
        return [
            f"{score.probability:f}:{score.index}:{score.label}"
            for row in self.array
            for score in top_k(row, self.classes, self.requested.top)
        ]


@dataclasses.dataclass(frozen=True, kw_only=True)
class InferAnswer:
    """The answer to one request.

    Args:
        model: Name of the model.
        version: The version that answered.
        id: Identifier of the request.
        outputs: The requested outputs, in order.
    """

    model: str
    version: str
    id: str | None
    outputs: tuple[AnswerTensor, ...]


def check_id(value: str) -> str:
    """Returns an identifier if it may be sent back and logged.

    Raises:
        RequestError: The identifier is too long, or holds control characters.
    """
    if len(value) > 1000 or not value.isprintable():
        raise malformed("'id' must be at most 1000 printable characters")
    return value


def timeout_of(microseconds: int) -> float:
    """Returns the `timeout` parameter in seconds.

    Raises:
        RequestError: The number is not positive.
    """
    if microseconds < 1:
        raise malformed(f"'timeout' must be a positive number of microseconds, not {microseconds}")
    return microseconds / 1e6


def outputs_of(request: InferRequest, tensors: Sequence[TensorInfo]) -> tuple[RequestedOutput, ...]:
    """Returns the outputs that a request names, or all of them.

    Args:
        request: The request.
        tensors: The model's outputs, the probabilities first.

    Raises:
        RequestError: An output does not exist, is named twice, or has no values by which to rank classes.
    """
    available = [tensor.name for tensor in tensors]
    names = [output.name for output in request.outputs]
    for output in request.outputs:
        if output.name not in available:
            raise malformed(f"there is no output {output.name[:100]!r}, there is {', '.join(available)}")
        if names.count(output.name) > 1:
            raise malformed(f"the output {output.name!r} is requested {names.count(output.name)} times")
        if output.top and output.name not in (OUTPUT, LOGITS):
            raise malformed(f"the output {output.name!r} has no value per class by which to rank classes")
    return request.outputs or tuple(RequestedOutput(name=name, binary=request.binary) for name in available)


def images_of(request: InferRequest, side: int, max_batch_size: int) -> Pixels | list[bytes]:
    """Returns the images of a request: uint8 (N, side, side, 3), or N encoded ones.

    Args:
        request: The request.
        side: Side in pixels of the squares that the model takes.
        max_batch_size: Most images per request.

    Raises:
        RequestError: The name, type, shape or data do not fit the input.
    """
    if [tensor.name for tensor in request.inputs] != [INPUT]:
        names = ", ".join(repr(tensor.name) for tensor in request.inputs) or "none"
        raise malformed(f"the input of this model is {INPUT!r}, the request has {names}")
    (tensor,) = request.inputs
    if tensor.datatype not in _DATATYPES:
        raise malformed(f"{INPUT!r} must be UINT8 or BYTES, not {tensor.datatype!r}")
    encoded = tensor.datatype == "BYTES"
    _check_shape(tensor.shape, (1,) if encoded else (side, side, 3), encoded=encoded)
    if not 1 <= tensor.shape[0] <= max_batch_size:
        raise malformed(f"a request holds 1 to {max_batch_size} images, not {tensor.shape[0]}")
    return _elements(tensor) if encoded else _pixels(tensor)


def _check_shape(shape: tuple[int, ...], one: tuple[int, ...], *, encoded: bool) -> None:
    """Compares a shape with that of one image; encoded images may form a row or a column."""
    if shape[1:] == one or (encoded and len(shape) == 1):
        return
    expected = "[N]" if encoded else f"[N, {', '.join(map(str, one))}]"
    raise malformed(f"{INPUT!r} must have the shape {expected}, not {list(shape)}")


def _pixels(tensor: InputTensor) -> Pixels:
    """Returns a UINT8 tensor as an array; binary data are not copied."""
    size = math.prod(tensor.shape)
    if isinstance(tensor.data, bytes | memoryview):
        if len(tensor.data) != size:
            raise malformed(f"{INPUT!r} of {list(tensor.shape)} has {size} bytes, not {len(tensor.data)}")
        return np.frombuffer(tensor.data, np.uint8).reshape(tensor.shape)
    flat = _flat(tensor.data, tensor.shape)
    if len(flat) != size:
        raise malformed(f"{INPUT!r} of {list(tensor.shape)} has {size} values, not {len(flat)}")
    if set(map(type, flat)) != {int}:
        raise malformed(f"the values of {INPUT!r} must be integers")
    if min(flat) < 0 or max(flat) > 255:
        raise malformed(f"the values of {INPUT!r} must be 0 to 255")
    return np.array(flat, np.uint8).reshape(tensor.shape)


def _flat(data: Sequence[Any], shape: tuple[int, ...]) -> list[Any]:
    """Flattens lists that are nested according to the shape; a flat list stays as it is.

    Raises:
        RequestError: The nesting does not fit the shape.
    """
    flat = list(data)
    if not any(isinstance(value, list) for value in flat):
        return flat
    for size, inner in itertools.pairwise(shape):
        if len(flat) % size or not all(isinstance(row, list) and len(row) == inner for row in flat):
            raise malformed(f"the data of {INPUT!r} do not nest as its shape {list(shape)} says")
        flat = list(itertools.chain.from_iterable(flat))
    return flat


def _elements(tensor: InputTensor) -> list[bytes]:
    """Returns the elements of a BYTES tensor."""
    if isinstance(tensor.data, bytes | memoryview):
        elements = _split(memoryview(tensor.data))
    else:
        elements = [_element(value) for value in _flat(tensor.data, tensor.shape)]
    if len(elements) != tensor.shape[0]:
        raise malformed(f"{INPUT!r} of {list(tensor.shape)} has {len(elements)} elements")
    return elements


def _split(data: memoryview) -> list[bytes]:
    """Splits the binary form of a BYTES tensor."""
    elements: list[bytes] = []
    at = 0
    while at < len(data):
        start = at + _LENGTH.size
        if start > len(data):
            raise malformed(f"{INPUT!r} ends within the length of element {len(elements)}")
        (length,) = _LENGTH.unpack(data[at:start])
        at = start + length
        if at > len(data):
            raise malformed(
                f"element {len(elements)} of {INPUT!r} has {length} bytes, {len(data) - start} are there"
            )
        elements.append(bytes(data[start:at]))
    return elements


def _element(value: Any) -> bytes:
    """Returns one element of a list: bytes, or text in base64, since JSON cannot hold bytes."""
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise malformed(f"an element of BYTES {INPUT!r} must be a base64 text in JSON")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise malformed(f"an element of BYTES {INPUT!r} is not base64 ({error})") from error
