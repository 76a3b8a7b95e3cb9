"""The V2 protocol's HTTP form: JSON, with the data of tensors behind it where they are binary."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from alexnet_fast.serve.errors import malformed, too_large
from alexnet_fast.serve.v2.types import InferRequest, InputTensor, RequestedOutput, check_id, timeout_of

if TYPE_CHECKING:
    from alexnet_fast.serve.config import Limits


def parse_object(text: bytes, limits: Limits) -> dict[str, Any]:
    """Parses a JSON object.

    Raises:
        RequestError: It is too long (413); is no JSON or no object, nests too deep, repeats a key, or holds
            NaN or Infinity (400).
    """
    if len(text) > limits.json_bytes:
        raise too_large(f"the JSON has {len(text)} bytes, at most {limits.json_bytes} are taken")
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
        raise malformed(f"the body must be a JSON object, not {kind_of(value)}")
    if _deeper_than(value, limits.json_depth):
        raise too_deep
    return value


def member(plain: dict[str, Any], key: str, kind: type, where: str) -> Any:
    """Returns a value that must be there and of one type.

    Args:
        plain: A JSON object.
        key: Its member.
        kind: str, int, list or dict; True and False are no int.
        where: The object, for messages.

    Raises:
        RequestError: It is not there or of another type.
    """
    if key not in plain:
        raise malformed(f"{where} lacks {key!r}")
    return typed(plain[key], kind, f"{key!r} of {where}")


def typed(value: Any, kind: type, what: str) -> Any:
    """Returns a value that must be of one type; see `member`."""
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise malformed(f"{what} must be {_NAMES[kind]}, not {kind_of(value)}")
    return value


def only(plain: dict[str, Any], known: tuple[str, ...], where: str) -> None:
    """Refuses members that this server would have to ignore.

    Raises:
        RequestError: There is one.
    """
    for key in plain:
        if key not in known:
            raise malformed(f"{where} has {key!r}, which this server does not know")


_NAMES = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


def kind_of(value: Any) -> str:
    """Returns how JSON calls the type of a value."""
    return _NAMES[type(value)]


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    plain = dict(pairs)
    if len(plain) < len(pairs):
        raise ValueError("a key is there twice")
    return plain


def _deeper_than(value: Any, depth: int) -> bool:
    """Walks level by level, so that no nesting is too deep for the walk itself."""
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


if TYPE_CHECKING:
    from collections.abc import Sequence

    from alexnet_fast.serve.config import Limits
    from alexnet_fast.serve.v2.types import AnswerTensor, InferAnswer

HEADER_LENGTH = "inference-header-content-length"
# No tensor of this server has more dimensions, and the product of its sizes stays a machine's integer.
_MAX_DIMENSIONS, _MAX_SIZE = 8, 1 << 31


def parse_request(model: str, body: bytes, header_length: str | None, limits: Limits) -> InferRequest:
    """Reads the body of an inference request.

    Args:
        model: Name of the model in the path.
        body: JSON, or JSON followed by binary data.
        header_length: The header that says how long the JSON is; None where all of it is JSON.
        limits: See `Limits`.

    Raises:
        RequestError: It is not what the protocol says.
    """
    split = _json_length(header_length, len(body))
    plain = parse_object(body[:split] if split < len(body) else body, limits)
    # kserve's client says in the body, too, which model it means.
    only(plain, ("model_name", "id", "parameters", "inputs", "outputs"), "the request")
    if plain.get("model_name", model) != model:
        raise malformed(f"'model_name' is {str(plain['model_name'])[:100]!r}, the path says {model!r}")
    parameters = _parameters(plain, ("timeout", "binary_data_output"), "the request")
    all_binary = typed(parameters.get("binary_data_output", False), bool, "'binary_data_output'")
    inputs = _inputs(member(plain, "inputs", list, "the request"), memoryview(body)[split:])
    wanted = typed(plain.get("outputs", []), list, "'outputs'")
    outputs = [_output(typed(output, dict, "an output"), all_binary) for output in wanted]
    timeout = parameters.get("timeout")
    return InferRequest(
        id=check_id(typed(plain["id"], str, "'id'")) if "id" in plain else None,
        timeout=None if timeout is None else timeout_of(typed(timeout, int, "'timeout'")),
        inputs=inputs,
        outputs=tuple(outputs),
        binary=all_binary,
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
    """Returns an output's JSON, and its data where they stand behind all JSON."""
    output: dict[str, Any] = {
        "name": tensor.wanted.name,
        "datatype": tensor.datatype,
        "shape": list(tensor.shape),
    }
    if not tensor.wanted.binary:
        return {**output, "data": tensor.values()}, None
    data = tensor.binary()
    return {**output, "parameters": {"binary_data_size": len(data)}}, data


def _json_length(header: str | None, length: int) -> int:
    """Returns how many bytes of a body are JSON."""
    if header is None:
        return length
    if not (header.isascii() and header.isdecimal() and len(header) < 12):
        raise malformed(f"the header {HEADER_LENGTH} must be a number of bytes, not {header[:40]!r}")
    if int(header) > length:
        raise malformed(f"the header {HEADER_LENGTH} says {int(header)} bytes, the body has {length}")
    return int(header)


def _inputs(plain: list[Any], binary: memoryview) -> tuple[InputTensor, ...]:
    """Reads the inputs; all binary data must belong to one of them."""
    tensors, used = [], 0
    for value in plain:
        tensor, size = _input(typed(value, dict, "an input"), binary[used:])
        tensors.append(tensor)
        used += size
    if used != len(binary):
        raise malformed(f"{len(binary)} bytes follow the JSON, the inputs speak of {used}")
    return tuple(tensors)


def _input(plain: dict[str, Any], binary: memoryview) -> tuple[InputTensor, int]:
    """Reads an input and how many of the binary bytes it takes."""
    only(plain, ("name", "shape", "datatype", "parameters", "data"), "an input")
    name = member(plain, "name", str, "an input")
    where = f"input {name[:100]!r}"
    shape = _shape(member(plain, "shape", list, where), where)
    datatype = member(plain, "datatype", str, where)
    size = _parameters(plain, ("binary_data_size",), where).get("binary_data_size")
    if (size is None) == ("data" not in plain):
        raise malformed(f"{where} must have either 'data' or the parameter 'binary_data_size'")
    if size is None:
        data: Sequence[Any] | memoryview = member(plain, "data", list, where)
        return InputTensor(name=name, datatype=datatype, shape=shape, data=data), 0
    if not 0 <= typed(size, int, "'binary_data_size'") <= len(binary):
        raise malformed(f"{where} speaks of {size} binary bytes, {len(binary)} are there")
    return InputTensor(name=name, datatype=datatype, shape=shape, data=binary[:size]), size


def _shape(sizes: list[Any], where: str) -> tuple[int, ...]:
    if not 1 <= len(sizes) <= _MAX_DIMENSIONS:
        raise malformed(f"the shape of {where} has {len(sizes)} dimensions")
    for size in sizes:
        if not 0 <= typed(size, int, f"a size in the shape of {where}") < _MAX_SIZE:
            raise malformed(f"the shape of {where} has the size {size}")
    return tuple(sizes)


def _output(plain: dict[str, Any], all_binary: bool) -> RequestedOutput:
    only(plain, ("name", "parameters"), "an output")
    name = member(plain, "name", str, "an output")
    parameters = _parameters(plain, ("binary_data", "classification"), f"output {name[:100]!r}")
    top = typed(parameters.get("classification", 0), int, "'classification'")
    if "classification" in parameters and top < 1:
        raise malformed(f"'classification' must be positive, not {top}")
    binary = typed(parameters.get("binary_data", all_binary), bool, "'binary_data'")
    return RequestedOutput(name=name, binary=binary, top=top)


def _parameters(plain: dict[str, Any], known: tuple[str, ...], where: str) -> dict[str, Any]:
    """Returns the parameters of something; those that would have to be ignored are refused."""
    parameters: dict[str, Any] = typed(plain.get("parameters", {}), dict, f"'parameters' of {where}")
    only(parameters, known, f"'parameters' of {where}")
    return parameters
