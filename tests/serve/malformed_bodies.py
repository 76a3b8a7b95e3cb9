"""Malformed bodies of inference requests, each wrong in one way, and the expected reasons."""

from __future__ import annotations

import json
from typing import Any

INFER = "/v2/models/small/infer"
SIDE = 64
SIZE = SIDE * SIDE * 3


def tensor(**changes: Any) -> dict[str, Any]:
    """A valid input but for the changes; None removes a member."""
    plain = {
        "name": "images",
        "datatype": "UINT8",
        "shape": [1, SIDE, SIDE, 3],
        "data": [7] * SIZE,
        **changes,
    }
    return {key: value for key, value in plain.items() if value is not None}


def body(**changes: Any) -> bytes:
    """A valid request but for the changes."""
    plain = {"inputs": [tensor()], **changes}
    return json.dumps({key: value for key, value in plain.items() if value is not None}).encode()


def with_tensor(**changes: Any) -> bytes:
    """A request whose input is valid but for the changes."""
    return body(inputs=[tensor(**changes)])


def nested(depth: int) -> bytes:
    """JSON of nested brackets."""
    return b'{"inputs":' + b"[" * depth + b"]" * depth + b"}"


def bytes_tensor(data: Any, shape: Any) -> bytes:
    """A request with encoded images in JSON."""
    return body(inputs=[{"name": "images", "datatype": "BYTES", "shape": shape, "data": data}])


# name: (status, part of the reason, body), all to the inference path.
BODIES: dict[str, tuple[int, str, bytes]] = {
    "empty body": (400, "not JSON", b""),
    "no JSON": (400, "not JSON", b"hello"),
    "half JSON": (400, "not JSON", body()[:100]),
    "two values": (400, "not JSON", body() + b"{}"),
    "a list": (400, "must be a JSON object", b"[]"),
    "null": (400, "must be a JSON object", b"null"),
    "a number": (400, "must be a JSON object", b"1"),
    "UTF-16": (400, "not UTF-8", body().decode().encode("utf-16")),
    "Latin-1": (400, "not UTF-8", b'{"id": "\xe4"}'),
    "a byte order mark": (400, "not JSON", b"\xef\xbb\xbf" + body()),
    "NaN": (400, "NaN is not JSON", b'{"inputs": NaN}'),
    "Infinity": (400, "Infinity is not JSON", b'{"inputs": -Infinity}'),
    "a key twice": (400, "a key is there twice", b'{"id": "a", "id": "b", "inputs": []}'),
    "101 brackets": (400, "nests deeper than 100", nested(101)),
    "100,000 brackets": (400, "nests deeper than 100", nested(100_000)),
    "a number of 5,000 digits": (400, "not JSON", b'{"inputs": ' + b"9" * 5000 + b"}"),
    "another model in the body": (400, "the path says 'small'", body(model_name="big")),
    "a number for the model": (400, "Expected `str`, got `int` - at `$.model_name`", body(model_name=7)),
    "an unknown member": (400, "Object contains unknown field `input`", body(input=[])),
    "a key with half a surrogate pair": (400, "surrogates not allowed", b'{"inputs": [], "\\ud800": 1}'),
    "an unknown parameter": (
        400,
        "Object contains unknown field `priority` - at `$.parameters`",
        body(parameters={"priority": 1}),
    ),
    "shared memory": (
        400,
        "Object contains unknown field `shared_memory_region` - at `$.inputs[0].parameters`",
        with_tensor(parameters={"shared_memory_region": "a"}),
    ),
    "parameters are a list": (400, "Expected `object`, got `array` - at `$.parameters`", body(parameters=[])),
    "timeout is text": (
        400,
        "Expected `int | null`, got `str` - at `$.parameters.timeout`",
        body(parameters={"timeout": "1"}),
    ),
    "timeout is true": (
        400,
        "Expected `int | null`, got `bool` - at `$.parameters.timeout`",
        body(parameters={"timeout": True}),
    ),
    "timeout is 0": (400, "positive number of microseconds", body(parameters={"timeout": 0})),
    "binary_data_output is 1": (
        400,
        "Expected `bool`, got `int` - at `$.parameters.binary_data_output`",
        body(parameters={"binary_data_output": 1}),
    ),
    "id is a number": (400, "Expected `str`, got `int` - at `$.id`", body(id=7)),
    "id is null": (400, "Expected `str`, got `null` - at `$.id`", b'{"id": null, "inputs": []}'),
    "id holds a line end": (400, "printable", body(id="a\nb")),
    "id is long": (400, "at most 1000", body(id="a" * 1001)),
    "no inputs": (400, "Object missing required field `inputs`", body(inputs=None)),
    "inputs is an object": (400, "Expected `array`, got `object` - at `$.inputs`", body(inputs={})),
    "inputs is empty": (400, "the request has none", body(inputs=[])),
    "an input is text": (400, "Expected `object`, got `str` - at `$.inputs[0]`", body(inputs=["images"])),
    "an input twice": (400, "the request has 'images', 'images'", body(inputs=[tensor(), tensor()])),
    "another input": (400, "the request has 'pixels'", with_tensor(name="pixels")),
    "input without a name": (
        400,
        "Object missing required field `name` - at `$.inputs[0]`",
        with_tensor(name=None),
    ),
    "name is a number": (400, "Expected `str`, got `int` - at `$.inputs[0].name`", with_tensor(name=3)),
    "no datatype": (
        400,
        "Object missing required field `datatype` - at `$.inputs[0]`",
        with_tensor(datatype=None),
    ),
    "FP32": (400, "must be UINT8 or BYTES", with_tensor(datatype="FP32")),
    "INT8": (400, "must be UINT8 or BYTES", with_tensor(datatype="INT8")),
    "lower-case datatype": (400, "must be UINT8 or BYTES", with_tensor(datatype="uint8")),
    "datatype is null": (
        400,
        "Expected `str`, got `null` - at `$.inputs[0].datatype`",
        body(inputs=[{**tensor(), "datatype": None}]),
    ),
    "no shape": (400, "Object missing required field `shape` - at `$.inputs[0]`", with_tensor(shape=None)),
    "shape is text": (
        400,
        "Expected `array`, got `str` - at `$.inputs[0].shape`",
        with_tensor(shape="1,64,64,3"),
    ),
    "shape is empty": (
        400,
        "Expected `array` of length >= 1 - at `$.inputs[0].shape`",
        with_tensor(shape=[]),
    ),
    "three dimensions": (400, "must have the shape", with_tensor(shape=[SIDE, SIDE, 3])),
    "channels first": (400, "must have the shape", with_tensor(shape=[1, 3, SIDE, SIDE])),
    "another side": (400, "must have the shape", with_tensor(shape=[1, 224, 224, 3])),
    "four channels": (400, "must have the shape", with_tensor(shape=[1, SIDE, SIDE, 4])),
    "1,000 dimensions": (
        400,
        "Expected `array` of length <= 8 - at `$.inputs[0].shape`",
        with_tensor(shape=[1] * 1000),
    ),
    "no images": (400, "1 to 16 images, not 0", with_tensor(shape=[0, SIDE, SIDE, 3], data=[])),
    "17 images": (400, "1 to 16 images, not 17", with_tensor(shape=[17, SIDE, SIDE, 3])),
    "-1 images": (
        400,
        "Expected `int` >= 0 - at `$.inputs[0].shape[0]`",
        with_tensor(shape=[-1, SIDE, SIDE, 3]),
    ),
    "2 to the 63 images": (
        400,
        "Expected `int` <= 2147483647 - at `$.inputs[0].shape[0]`",
        with_tensor(shape=[2**63, SIDE, SIDE, 3]),
    ),
    "sizes whose product overflows": (
        400,
        "Expected `int` <= 2147483647 - at `$.inputs[0].shape[0]`",
        with_tensor(shape=[2**32, 2**32, 1, 1]),
    ),
    "a size of 1.0": (
        400,
        "Expected `int`, got `float` - at `$.inputs[0].shape[0]`",
        with_tensor(shape=[1.0, SIDE, SIDE, 3]),
    ),
    "a size of true": (
        400,
        "Expected `int`, got `bool` - at `$.inputs[0].shape[0]`",
        with_tensor(shape=[True, SIDE, SIDE, 3]),
    ),
    "no data": (400, "either 'data' or", with_tensor(data=None)),
    "data is text": (400, "Expected `array`, got `str` - at `$.inputs[0].data`", with_tensor(data="7")),
    "a value too few": (400, f"has {SIZE} values, not {SIZE - 1}", with_tensor(data=[7] * (SIZE - 1))),
    "a value too many": (400, f"has {SIZE} values, not {SIZE + 1}", with_tensor(data=[7] * (SIZE + 1))),
    "256": (400, "must be 0 to 255", with_tensor(data=[256] + [7] * (SIZE - 1))),
    "999": (400, "must be 0 to 255", with_tensor(data=[7] * (SIZE - 1) + [999])),
    "-1": (400, "must be 0 to 255", with_tensor(data=[-1] + [7] * (SIZE - 1))),
    "0.5": (400, "must be integers", with_tensor(data=[0.5] + [7] * (SIZE - 1))),
    "7.0": (400, "must be integers", with_tensor(data=[7.0] * SIZE)),
    "true as a value": (400, "must be integers", with_tensor(data=[True] + [7] * (SIZE - 1))),
    "null as a value": (400, "must be integers", with_tensor(data=[None] + [7] * (SIZE - 1))),
    "text as a value": (400, "must be integers", with_tensor(data=["7"] + [7] * (SIZE - 1))),
    "ragged data": (400, "do not nest as its shape", with_tensor(data=[[7] * (SIZE - 1), [7]])),
    "other nesting": (400, "do not nest as its shape", with_tensor(data=[[[7] * 3] * (SIDE * SIDE)])),
    "outputs is text": (400, "Expected `array`, got `str` - at `$.outputs`", body(outputs="probabilities")),
    "another output": (400, "there is no output 'logits'", body(outputs=[{"name": "logits"}])),
    "an output twice": (400, "requested 2 times", body(outputs=[{"name": "probabilities"}] * 2)),
    "an output without a name": (
        400,
        "Object missing required field `name` - at `$.outputs[0]`",
        body(outputs=[{}]),
    ),
    "classification is 0": (
        400,
        "Expected `int` >= 1 - at `$.outputs[0].parameters.classification`",
        body(outputs=[{"name": "probabilities", "parameters": {"classification": 0}}]),
    ),
    "classification is text": (
        400,
        "Expected `int`, got `str` - at `$.outputs[0].parameters.classification`",
        body(outputs=[{"name": "probabilities", "parameters": {"classification": "3"}}]),
    ),
    "binary data without the header": (
        400,
        "announces 12288 binary bytes, 0 are there",
        with_tensor(data=None, parameters={"binary_data_size": SIZE}),
    ),
    "binary size is text": (
        400,
        "Expected `int`, got `str` - at `$.inputs[0].parameters.binary_data_size`",
        with_tensor(data=None, parameters={"binary_data_size": "4"}),
    ),
    "binary size is negative": (
        400,
        "Expected `int` >= 0 - at `$.inputs[0].parameters.binary_data_size`",
        with_tensor(data=None, parameters={"binary_data_size": -1}),
    ),
    "data twice": (400, "either 'data' or", with_tensor(parameters={"binary_data_size": 0})),
    "BYTES with the shape of pixels": (400, "must have the shape [N]", with_tensor(datatype="BYTES")),
    "BYTES of numbers": (400, "must be a base64 text", bytes_tensor([7], [1])),
    "BYTES without base64": (400, "is not base64", bytes_tensor(["%%%"], [1])),
    "BYTES one too few": (400, "has 1 elements", bytes_tensor(["AAAA"], [2])),
    "BYTES that are no image": (400, "not an image in JPEG, PNG or WEBP", bytes_tensor(["AAAA"], [1])),
    "BYTES empty": (400, "no bytes", bytes_tensor([""], [1])),
}
