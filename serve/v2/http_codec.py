"""The V2 protocol's HTTP form: JSON, with binary tensor data behind it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from alexnet_fast.serve.errors import malformed, too_large
from alexnet_fast.serve.v2.types import InferRequest, InputTensor, RequestedOutput, check_id, timeout_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alexnet_fast.serve.config import Limits
    from alexnet_fast.serve.v2.types import AnswerTensor, InferAnswer

HEADER_LENGTH = "inference-header-content-length"
# The product of a shape's sizes stays a machine's integer.
_Size = Annotated[int, Meta(ge=0, lt=1 << 31)]
# No tensor of this server has more dimensions.
_Shape = Annotated[list[_Size], Meta(min_length=1, max_length=8)]


class _Object(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A JSON object; members that this server would have to ignore are refused."""


class _InputParameters(_Object, frozen=True):
    binary_data_size: Annotated[int, Meta(ge=0)] | UnsetType = UNSET


class _Input(_Object, frozen=True):
    name: str
    datatype: str
    shape: _Shape
    data: list[Any] | UnsetType = UNSET
    parameters: _InputParameters = _InputParameters()


class _OutputParameters(_Object, frozen=True):
    binary_data: bool | UnsetType = UNSET
    classification: Annotated[int, Meta(ge=1)] = 0


class _Output(_Object, frozen=True):
    name: str
    parameters: _OutputParameters = _OutputParameters()


class _Parameters(_Object, frozen=True):
    timeout: int | None = None
    binary_data_output: bool = False


class _Request(_Object, frozen=True):
    inputs: list[_Input]
    outputs: list[_Output] = []
    parameters: _Parameters = _Parameters()
    id: str | UnsetType = UNSET
    # kserve's client names the model in the body too.
    model_name: str | UnsetType = UNSET


def parse_object(text: bytes, limits: Limits) -> dict[str, Any]:
    """Parses a JSON object.

    The standard library does it, because msgspec's parser accepts a repeated key and keeps the last value.

    Raises:
        RequestError: The text is too long (413); is not a JSON object, nests too deep, repeats a key, or
            holds NaN or Infinity (400).
    """
    if len(text) > limits.json_bytes:
        raise too_large(f"the JSON has {len(text)} bytes, at most {limits.json_bytes} are allowed")
    too_deep = malformed(f"the JSON nests deeper than {limits.json_depth}")
    try:
        value = json.loads(text.decode("utf-8"), parse_constant=_constant, object_pairs_hook=_unique)
    except UnicodeDecodeError as error:
        raise malformed(f"the JSON is not UTF-8 (byte {error.start})") from error
    except RecursionError as error:
        raise too_deep from error
    except ValueError as error:
        raise malformed(f"the body is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise malformed("the body must be a JSON object")
    if _deeper_than(value, limits.json_depth):
        raise too_deep
    return value


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    plain = dict(pairs)
    if len(plain) < len(pairs):
        raise ValueError("a key is there twice")
    return plain


def _deeper_than(value: Any, depth: int) -> bool:
    """Returns whether JSON nests deeper; walks level by level, which no depth breaks."""
    level = [value]
    for _ in range(depth):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def parse_request(
    model: str, version: str | None, body: bytes, header_length: str | None, limits: Limits
) -> InferRequest:
    """Reads the body of an inference request.

    Args:
        model: Name of the model in the path.
        version: Version in the path.
        body: JSON, or JSON followed by binary data.
        header_length: The header that holds the length of the JSON; None if the body is nothing else.
        limits: See `Limits`.

    Raises:
        RequestError: The body does not follow the protocol.
    """
    split = _json_length(header_length, len(body))
    request = _validated(parse_object(body[:split] if split < len(body) else body, limits))
    if request.model_name not in (UNSET, model):
        raise malformed(f"'model_name' is {str(request.model_name)[:100]!r}, the path says {model!r}")
    binary = request.parameters.binary_data_output
    return InferRequest(
        id=None if isinstance(request.id, UnsetType) else check_id(request.id),
        version=version,
        timeout=None if request.parameters.timeout is None else timeout_of(request.parameters.timeout),
        inputs=_inputs(request.inputs, memoryview(body)[split:]),
        outputs=tuple(_output(output, binary) for output in request.outputs),
        binary=binary,
    )


def _validated(plain: dict[str, Any]) -> _Request:
    """Checks a JSON object against the protocol.

    Raises:
        RequestError: A member is missing, unknown, or of another type; the reason has its path.
    """
    try:
        return msgspec.convert(plain, _Request)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:
        raise malformed(f"the request does not follow the protocol: {str(error)[:300]}") from error


def _json_length(header: str | None, length: int) -> int:
    """Returns how many bytes of a body are JSON."""
    if header is None:
        return length
    if not (header.isascii() and header.isdecimal() and len(header) < 12):
        raise malformed(f"the header {HEADER_LENGTH} must be a number of bytes, not {header[:40]!r}")
    if int(header) > length:
        raise malformed(f"the header {HEADER_LENGTH} says {int(header)} bytes, the body has {length}")
    return int(header)


def _inputs(inputs: list[_Input], binary: memoryview) -> tuple[InputTensor, ...]:
    """Gives each input its data; all binary data must belong to one of them."""
    tensors, used = [], 0
    for tensor in inputs:
        where, size = f"input {tensor.name[:100]!r}", tensor.parameters.binary_data_size
        data: Sequence[Any] | memoryview
        if not isinstance(tensor.data, UnsetType) and isinstance(size, UnsetType):
            data = tensor.data
        elif isinstance(tensor.data, UnsetType) and not isinstance(size, UnsetType):
            data = binary[used : used + size]
            if len(data) < size:
                raise malformed(f"{where} announces {size} binary bytes, {len(data)} are there")
            used += size
        else:
            raise malformed(f"{where} must have either 'data' or the parameter 'binary_data_size'")
        tensors.append(
            InputTensor(name=tensor.name, datatype=tensor.datatype, shape=tuple(tensor.shape), data=data)
        )
    if used != len(binary):
        raise malformed(f"{len(binary)} bytes follow the JSON, the inputs announce {used}")
    return tuple(tensors)


def _output(output: _Output, all_binary: bool) -> RequestedOutput:
    binary = output.parameters.binary_data
    return RequestedOutput(
        name=output.name,
        binary=all_binary if isinstance(binary, UnsetType) else binary,
        top=output.parameters.classification,
    )


def write_answer(answer: InferAnswer) -> tuple[bytes, dict[str, str]]:
    """Returns the body of an answer and its headers."""
    plain: dict[str, Any] = {"model_name": answer.model, "model_version": answer.version}
    if answer.id is not None:
        plain["id"] = answer.id
    written = [_written(tensor) for tensor in answer.outputs]
    plain["outputs"] = [output for output, _ in written]
    head, data = json.dumps(plain).encode(), [data for _, data in written if data is not None]
    if not data:
        return head, {"content-type": "application/json"}
    headers = {"content-type": "application/octet-stream", HEADER_LENGTH: str(len(head))}
    return b"".join([head, *data]), headers


def _written(tensor: AnswerTensor) -> tuple[dict[str, Any], bytes | None]:
    """Returns an output's JSON, and its data if they follow the JSON."""
    output: dict[str, Any] = {
        "name": tensor.requested.name,
        "datatype": tensor.datatype,
        "shape": list(tensor.shape),
    }
    if not tensor.requested.binary:
        return {**output, "data": tensor.values()}, None
    data = tensor.binary()
    return {**output, "parameters": {"binary_data_size": len(data)}}, data
