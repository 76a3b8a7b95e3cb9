"""Malformed gRPC messages, each wrong in one way, and the expected reasons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
from malformed_bodies import SIDE, SIZE

from alexnet_fast.serve.grpc.messages import message_class


def message(**changes: Any) -> Any:
    """A valid gRPC request but for the changes."""
    plain = {"model_name": "small", "raw_input_contents": [bytes(SIZE)], **changes}
    inputs = plain.pop("inputs", [{}])
    request = message_class("ModelInferRequest")(**plain)
    for tensor in inputs:
        fields = {"name": "images", "datatype": "UINT8", "shape": [1, SIDE, SIDE, 3], **tensor}
        request.inputs.add(**fields)
    return request


def with_parameter(**value: Any) -> Any:
    """A request with a timeout of any type."""
    request = message()
    request.parameters["timeout"].CopyFrom(message_class("InferParameter")(**value))
    return request


def with_output(name: str, top: int | None = None) -> Any:
    request = message()
    output = request.outputs.add(name=name)
    if top is not None:
        output.parameters["classification"].int64_param = top
    return request


CODE = grpc.StatusCode
MESSAGES: dict[str, tuple[grpc.StatusCode, str, Callable[[], Any]]] = {
    "no message": (CODE.INVALID_ARGUMENT, "cannot be parsed", lambda: b"\xff\xff\xff"),
    "nothing": (CODE.NOT_FOUND, "there is no model ''", lambda: b""),
    "another model": (CODE.NOT_FOUND, "there is no model 'big'", lambda: message(model_name="big")),
    "another version": (CODE.NOT_FOUND, "version '9'", lambda: message(model_version="9")),
    "no inputs": (CODE.INVALID_ARGUMENT, "for 0 inputs", lambda: message(inputs=[])),
    "more data than inputs": (
        CODE.INVALID_ARGUMENT,
        "2 raw_input_contents",
        lambda: message(raw_input_contents=[b"", b""]),
    ),
    "another input": (CODE.INVALID_ARGUMENT, "has 'x'", lambda: message(inputs=[{"name": "x"}])),
    "FP32": (CODE.INVALID_ARGUMENT, "UINT8 or BYTES", lambda: message(inputs=[{"datatype": "FP32"}])),
    "another shape": (
        CODE.INVALID_ARGUMENT,
        "the shape",
        lambda: message(inputs=[{"shape": [1, 3, 64, 64]}]),
    ),
    "a negative size": (
        CODE.INVALID_ARGUMENT,
        "size -1",
        lambda: message(inputs=[{"shape": [-1, 64, 64, 3]}]),
    ),
    "a byte too few": (
        CODE.INVALID_ARGUMENT,
        "has 12288 bytes",
        lambda: message(raw_input_contents=[bytes(9)]),
    ),
    "values in the wrong list": (
        CODE.INVALID_ARGUMENT,
        "belong into uint_contents",
        lambda: message(raw_input_contents=[], inputs=[{"contents": {"int_contents": [7] * SIZE}}]),
    ),
    "a value of 999": (
        CODE.INVALID_ARGUMENT,
        "0 to 255",
        lambda: message(raw_input_contents=[], inputs=[{"contents": {"uint_contents": [999] * SIZE}}]),
    ),
    "data twice": (
        CODE.INVALID_ARGUMENT,
        "twice",
        lambda: message(inputs=[{"contents": {"uint_contents": [7] * SIZE}}]),
    ),
    "no data": (CODE.INVALID_ARGUMENT, "not nothing", lambda: message(raw_input_contents=[])),
    "timeout is text": (CODE.INVALID_ARGUMENT, "must be an int", lambda: with_parameter(string_param="1")),
    "timeout is true": (CODE.INVALID_ARGUMENT, "must be an int", lambda: with_parameter(bool_param=True)),
    "timeout is nothing": (CODE.INVALID_ARGUMENT, "must be an int", with_parameter),
    "another output": (CODE.INVALID_ARGUMENT, "no output 'y'", lambda: with_output("y")),
    "0 classes": (CODE.INVALID_ARGUMENT, "positive", lambda: with_output("probabilities", 0)),
    "no image": (
        CODE.INVALID_ARGUMENT,
        "not an image",
        lambda: message(raw_input_contents=[b"\x03\0\0\0abc"], inputs=[{"datatype": "BYTES", "shape": [1]}]),
    ),
    "65 MiB": (CODE.RESOURCE_EXHAUSTED, "", lambda: bytes(65 << 20)),
}
