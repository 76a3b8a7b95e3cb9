"""Fuzzed requests: bytes on the wire, and binary tensors whose parts contradict each other."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st
from malformed_bodies import INFER, SIDE, SIZE

Draw = st.DrawFn
_LENGTH = b"Inference-Header-Content-Length"

_METHODS = st.sampled_from([b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"CONNECT", b"PRI", b"get", b""])
_TARGETS = st.sampled_from(
    [
        *(INFER.encode(), b"/predict", b"/predict?top=2", b"/v2", b"/metrics", b"/", b"*", b"", b"//"),
        *(
            b"/v2/models/small",
            b"/v2/models/%00/infer",
            b"/v2/../..",
            b"http://a/v2",
            b"/v2?x=%ff%fe",
            b"/\xff",
        ),
        b"/v2/models/" + b"a" * 5000,
    ]
)
_VERSIONS = st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.", b"http/1.1", b""])
_NAMES = st.sampled_from(
    [
        *(b"Host", b"Content-Length", b"Transfer-Encoding", b"Content-Encoding", b"Content-Type", b"Expect"),
        *(b"Connection", b"Upgrade", b"Accept-Encoding", _LENGTH, b"X", b"", b"\xe4", b"Trailer", b"Cookie"),
    ]
)
_VALUES = st.one_of(
    st.integers(-10, 1 << 70).map(lambda number: str(number).encode()),
    st.sampled_from(
        [
            *(
                b"chunked",
                b"chunked, chunked",
                b"identity",
                b"gzip",
                b"deflate",
                b"br",
                b"close",
                b"keep-alive",
            ),
            *(b"100-continue", b"websocket", b"upgrade", b"h2c", b"multipart/form-data", b"application/json"),
            *(
                b"multipart/form-data; boundary=x",
                b"multipart/form-data; boundary=",
                b"",
                b"a\0b",
                b"\xc3\xa4",
            ),
        ]
    ),
    st.binary(max_size=40),
)
_LINE_ENDS = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\n "])


@st.composite
def _chunks(draw: Draw) -> bytes:
    """A chunked body; the declared length of a chunk may be wrong."""
    parts = draw(st.lists(st.binary(max_size=30), max_size=5))
    sizes = [
        draw(st.sampled_from([b"%x" % len(part), b"%x" % len(part), b"-1", b"zz", b"ffffffffff"]))
        for part in parts
    ]
    body = b"".join(size + b"\r\n" + part + b"\r\n" for size, part in zip(sizes, parts, strict=True))
    return body + draw(
        st.sampled_from([b"0\r\n\r\n", b"0\r\nA: b\r\n\r\n", b"", b"00000000000000000\r\n\r\n"])
    )


@st.composite
def _headed(draw: Draw) -> bytes:
    """A request line, headers and a body of any kind."""
    line = b" ".join([draw(_METHODS), draw(_TARGETS), draw(_VERSIONS)])
    headers = draw(st.lists(st.tuples(_NAMES, _VALUES), max_size=6))
    if draw(st.booleans()):
        headers.append((b"Host", b"a"))
    body = draw(st.one_of(st.binary(max_size=60), _chunks(), binary_tensors().map(lambda both: both[1])))
    if draw(st.booleans()):
        headers.append((b"Content-Length", str(len(body)).encode()))
    end = draw(_LINE_ENDS)
    return end.join([line, *(name + b": " + value for name, value in headers), b"", b""]) + body


def _whole() -> bytes:
    """A valid request."""
    head, body = _tensor_of({}, SIZE)
    lines = [f"POST {INFER} HTTP/1.1".encode(), b"Host: a", b"Content-Length: %d" % len(body)]
    return b"\r\n".join([*lines, _LENGTH + b": " + head, b"", b""]) + body


@st.composite
def _mutated(draw: Draw) -> bytes:
    """A valid request with a few changed bytes, in its header or JSON more often than in its pixels."""
    content = bytearray(_whole())
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.one_of(st.integers(0, 330), st.integers(0, SIZE)))
        at = min(at, max(0, len(content) - 1))
        change = draw(st.sampled_from(["set", "insert", "delete", "repeat", "cut"]))
        if change == "set":
            content[at : at + 1] = bytes([draw(st.integers(0, 255))])
        elif change == "insert":
            content[at:at] = draw(st.binary(min_size=1, max_size=20))
        elif change == "delete":
            del content[at : at + draw(st.integers(1, 20))]
        elif change == "repeat":
            content[at:at] = content[at : at + 50] * draw(st.integers(1, 40))
        else:
            del content[at + 1 :]
    return bytes(content)


def wires() -> st.SearchStrategy[bytes]:
    """Bytes of a connection: one request or two, or none at all."""
    one = st.one_of(_headed(), _mutated(), st.binary(max_size=200))
    return st.one_of(one, st.tuples(one, one).map(b"".join))


_NUMBERS = st.one_of(
    st.integers(-3, 20), st.sampled_from([SIDE, SIZE, 1 << 31, 1 << 32, 1 << 63, 1 << 64, -(1 << 63), 10**40])
)
_ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), _NUMBERS, st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=8,
)
_SHAPES = st.one_of(
    st.lists(_NUMBERS, max_size=9), st.just([1, SIDE, SIDE, 3]), st.integers(1, 17).map(lambda n: [n])
)


def _tensor_of(changes: dict[str, Any], size: int, data: bytes | None = None) -> tuple[bytes, bytes]:
    """Returns the header's value and the body of a binary tensor."""
    plain = {
        "name": "images",
        "datatype": "UINT8",
        "shape": [1, SIDE, SIDE, 3],
        "parameters": {"binary_data_size": size},
        **changes,
    }
    head = json.dumps({"inputs": [plain]}).encode()
    return str(len(head)).encode(), head + (bytes(size) if data is None else data)


@st.composite
def binary_tensors(draw: Draw) -> tuple[bytes, bytes]:
    """The header's value and a body, whose lengths, shapes and types may contradict each other."""
    data = draw(st.one_of(st.binary(max_size=100), st.just(bytes(SIZE)), _elements()))
    changes: dict[str, Any] = {}
    if draw(st.booleans()):
        changes["shape"] = draw(st.one_of(_SHAPES, _ANYTHING))
    if draw(st.booleans()):
        changes["datatype"] = draw(st.one_of(st.sampled_from(["BYTES", "UINT8", "FP32", "bytes"]), _ANYTHING))
    if draw(st.booleans()):
        changes["parameters"] = {"binary_data_size": draw(st.one_of(_NUMBERS, _ANYTHING))}
    if draw(st.integers(0, 9)) == 0:
        changes[draw(st.text(max_size=6))] = draw(_ANYTHING)
    length, body = _tensor_of(changes, len(data), data)
    if draw(st.integers(0, 3)) == 0:
        length = draw(st.one_of(_NUMBERS.map(lambda number: str(number).encode()), st.binary(max_size=15)))
    return length, body


@st.composite
def _elements(draw: Draw) -> bytes:
    """Elements of a BYTES tensor, each after its length, which may be wrong."""
    parts = draw(st.lists(st.binary(max_size=20), max_size=4))
    lengths = [draw(st.sampled_from([len(part), len(part), 0, 1 << 31, (1 << 32) - 1])) for part in parts]
    return b"".join(length.to_bytes(4, "little") + part for length, part in zip(lengths, parts, strict=True))
