"""The V2 protocol's gRPC form: reads the messages of requests, writes the messages of answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alexnet_fast.serve.errors import malformed
from alexnet_fast.serve.grpc.messages import message_class
from alexnet_fast.serve.v2.types import (
    InferRequest,
    InputTensor,
    RequestedOutput,
    check_id,
    timeout_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alexnet_fast.serve.v2.types import InferAnswer

_Answer = message_class("ModelInferResponse")
# The field of a message that holds the values of a data type.
_CONTENTS = {"UINT8": "uint_contents", "BYTES": "bytes_contents"}

# Triton's C++ client always sends the second one, which requests an empty message after the last answer to a
# request. Here each request has exactly one answer, so there is nothing to do.
_REQUEST_PARAMETERS = {"timeout": int, "triton_enable_empty_final_response": bool}


def read_request(message: Any, remaining: float | None) -> InferRequest:
    """Reads an inference request.

    Args:
        message: `ModelInferRequest`.
        remaining: Seconds until the deadline of the call; None without one.

    Raises:
        RequestError: The message does not follow the protocol.
    """
    parameters = _parameters(message.parameters, _REQUEST_PARAMETERS, "the request")
    raw = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        raise malformed(f"{len(raw)} raw_input_contents came for {len(message.inputs)} inputs")
    inputs = [_input(tensor, raw[place] if raw else None) for place, tensor in enumerate(message.inputs)]
    timeouts = [remaining, timeout_of(parameters["timeout"]) if "timeout" in parameters else None]
    return InferRequest(
        id=check_id(message.id) if message.id else None,
        version=message.model_version or None,
        timeout=min((timeout for timeout in timeouts if timeout is not None), default=None),
        inputs=tuple(inputs),
        outputs=tuple(_output(output) for output in message.outputs),
        binary=True,
    )


def write_answer(answer: InferAnswer) -> Any:
    """Returns the message of an answer; its data are raw, which all clients read."""
    message = _Answer(
        model_name=answer.model,
        model_version=answer.version,
        id=answer.id or "",
        raw_output_contents=[tensor.binary() for tensor in answer.outputs],
    )
    for tensor in answer.outputs:
        message.outputs.add(name=tensor.requested.name, datatype=tensor.datatype, shape=tensor.shape)
    return message


def _input(tensor: Any, raw: bytes | None) -> InputTensor:
    """Reads a tensor, whose data are either raw or in the field of its type."""
    _parameters(tensor.parameters, {}, f"input {tensor.name[:100]!r}")
    filled = [field.name for field, _ in tensor.contents.ListFields()]
    expected = _CONTENTS.get(tensor.datatype)
    if raw is not None and filled:
        raise malformed(f"input {tensor.name[:100]!r} has its data twice, raw and in {filled[0]}")
    if raw is None and expected and filled != [expected]:
        actual = ", ".join(filled) or "nothing"
        raise malformed(f"{tensor.datatype} data belong into {expected} or raw_input_contents, not {actual}")
    for size in tensor.shape:
        if not 0 <= size < 1 << 31:
            raise malformed(f"the shape of input {tensor.name[:100]!r} has the size {size}")
    data: bytes | Sequence[Any] | None = raw
    if data is None:
        data = list(getattr(tensor.contents, expected or "", ()))
    return InputTensor(name=tensor.name, datatype=tensor.datatype, shape=tuple(tensor.shape), data=data)


def _output(output: Any) -> RequestedOutput:
    parameters = _parameters(output.parameters, {"classification": int}, f"output {output.name[:100]!r}")
    top = parameters.get("classification", 0)
    if "classification" in parameters and top < 1:
        raise malformed(f"'classification' must be positive, not {top}")
    return RequestedOutput(name=output.name, binary=True, top=top)


def _parameters(plain: Any, known: dict[str, type], where: str) -> dict[str, Any]:
    """Returns parameters as values; refuses those that this server would have to ignore."""
    values = {}
    for name, parameter in plain.items():
        if name not in known:
            raise malformed(f"'parameters' of {where} has {name[:100]!r}, which this server does not know")
        choice = parameter.WhichOneof("value")
        value = getattr(parameter, choice) if choice else None
        if type(value) is not known[name]:
            raise malformed(f"{name!r} of {where} must be an {known[name].__name__}")
        values[name] = value
    return values
