"""Requests that are malformed outside their JSON, each in one way, and the expected reasons."""

from __future__ import annotations

import gzip
import json
import zlib

from malformed_bodies import INFER, SIZE, body, tensor

_HEAD = json.dumps(
    {"inputs": [tensor(data=None, parameters={"binary_data_size": SIZE})]}, separators=(",", ":")
).encode()
_ELEMENTS = json.dumps(
    {"inputs": [{"name": "images", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 8}}]}
).encode()
_LENGTH = "Inference-Header-Content-Length"
_ZEROS = zlib.compressobj(9, wbits=31)

# name: (status, reason, method, path, headers, body).
REQUESTS: dict[str, tuple[int, str, str, str, dict[str, str], bytes]] = {
    "header length is text": (400, "must be a number", "POST", INFER, {_LENGTH: "ten"}, _HEAD),
    "header length is negative": (400, "must be a number", "POST", INFER, {_LENGTH: "-1"}, _HEAD),
    "header length is huge": (400, "must be a number", "POST", INFER, {_LENGTH: "9" * 20}, _HEAD),
    "header length beyond the body": (400, "the body has", "POST", INFER, {_LENGTH: "99999"}, _HEAD),
    "header length cuts the JSON": (400, "not JSON", "POST", INFER, {_LENGTH: "10"}, _HEAD),
    "a binary byte too few": (
        400,
        "announces 12288",
        "POST",
        INFER,
        {_LENGTH: str(len(_HEAD))},
        _HEAD + bytes(SIZE - 1),
    ),
    "a binary byte too many": (
        400,
        "follow the JSON",
        "POST",
        INFER,
        {_LENGTH: str(len(_HEAD))},
        _HEAD + bytes(SIZE + 1),
    ),
    "an element longer than its tensor": (
        400,
        "has 4294967295 bytes, 4 are there",
        "POST",
        INFER,
        {_LENGTH: str(len(_ELEMENTS))},
        _ELEMENTS + b"\xff\xff\xff\xffabcd",
    ),
    "an element after an empty one": (
        400,
        "has 6513249 bytes",
        "POST",
        INFER,
        {_LENGTH: str(len(_ELEMENTS))},
        _ELEMENTS + bytes(4) + b"abc\0",
    ),
    "no gzip": (400, "the body is not gzip", "POST", INFER, {"Content-Encoding": "gzip"}, body()),
    "half a gzip": (
        400,
        "is cut off",
        "POST",
        INFER,
        {"Content-Encoding": "gzip"},
        gzip.compress(body())[:-20],
    ),
    "bytes behind a gzip": (
        400,
        "follow the gzip body",
        "POST",
        INFER,
        {"Content-Encoding": "gzip"},
        gzip.compress(body()) + b"a",
    ),
    "a gzip bomb": (
        413,
        "more than 67108864 bytes",
        "POST",
        INFER,
        {"Content-Encoding": "gzip"},
        _ZEROS.compress(bytes(80 << 20)) + _ZEROS.flush(),
    ),
    "an unknown encoding": (415, "'br' is unknown", "POST", INFER, {"Content-Encoding": "br"}, body()),
    "two encodings": (415, "is unknown", "POST", INFER, {"Content-Encoding": "gzip, gzip"}, body()),
    "17 MiB of JSON": (413, "the JSON has", "POST", INFER, {}, b" " * (17 << 20)),
    "another model": (404, "there is no model 'big'", "POST", "/v2/models/big/infer", {}, body()),
    "another version": (
        404,
        "version '2' of small is not served",
        "POST",
        "/v2/models/small/versions/2/infer",
        {},
        body(),
    ),
    "a version that is no number": (
        404,
        "is not served",
        "POST",
        "/v2/models/small/versions/x/infer",
        {},
        body(),
    ),
    "another path": (404, "is not served", "POST", "/v2/models/small/explode", {}, body()),
    "a path out of the tree": (404, "is not served", "GET", "/v2/../../etc/passwd", {}, b""),
    "GET infer": (405, "is not allowed here", "GET", INFER, {}, b""),
    "PUT infer": (405, "is not allowed here", "PUT", INFER, {}, body()),
    "POST metadata": (405, "is not allowed here", "POST", "/v2/models/small", {}, body()),
    "predict nothing": (400, "the body is empty", "POST", "/predict", {}, b""),
    "predict what is no image": (400, "not an image", "POST", "/predict", {}, b"hello"),
    "predict with 0 classes": (400, "'top' must be", "POST", "/predict?top=0", {}, b"a"),
    "predict with an unknown option": (400, "no query parameter 'tpo'", "POST", "/predict?tpo=1", {}, b"a"),
    "predict with an option twice": (400, "there twice", "POST", "/predict?top=1&top=2", {}, b"a"),
    "predict with another model": (404, "there is no model", "POST", "/predict?model=x", {}, b"a"),
    "a form without boundary": (
        400,
        "boundary",
        "POST",
        "/predict",
        {"Content-Type": "multipart/form-data"},
        b"a",
    ),
    "a form that does not end": (
        400,
        "does not end",
        "POST",
        "/predict",
        {"Content-Type": "multipart/form-data; boundary=x"},
        b'--x\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\nabc',
    ),
    "a form without files": (
        400,
        "has no file",
        "POST",
        "/predict",
        {"Content-Type": "multipart/form-data; boundary=x"},
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nabc\r\n--x--\r\n',
    ),
    "a form whose part has no header": (
        400,
        "no header",
        "POST",
        "/predict",
        {"Content-Type": "multipart/form-data; boundary=x"},
        b"--x\r\nabc\r\n--x--\r\n",
    ),
}

_POST = f"POST {INFER} HTTP/1.1\r\nHost: a\r\n".encode()
# name: (status, reason, all bytes of the request).
RAW: dict[str, tuple[int, str, bytes]] = {
    "no HTTP": (400, "not valid HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    "HTTP/9": (400, "not valid HTTP", b"GET /v2 HTTP/9.9.9\r\n\r\n"),
    "no host": (400, "not valid HTTP", b"GET /v2 HTTP/1.1\r\n\r\n"),
    "a header without a colon": (400, "not valid HTTP", b"GET /v2 HTTP/1.1\r\nHost: a\r\nabc\r\n\r\n"),
    "100 KB of header": (
        431,
        "more than 65536 bytes",
        b"GET /v2 HTTP/1.1\r\nHost: a\r\nA: " + b"a" * 100_000 + b"\r\n\r\n",
    ),
    "a length that is text": (400, "not valid HTTP", _POST + b"Content-Length: ten\r\n\r\n"),
    "a negative length": (400, "not valid HTTP", _POST + b"Content-Length: -5\r\n\r\n"),
    "two lengths": (400, "not valid HTTP", _POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef"),
    "a declared length beyond the limit": (
        413,
        "more than 67108864",
        _POST + b"Content-Length: 99999999999\r\n\r\n",
    ),
    "an unknown transfer coding": (400, "not valid HTTP", _POST + b"Transfer-Encoding: zip\r\n\r\n"),
    "a chunk without a size": (
        400,
        "not valid HTTP",
        _POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
    ),
    "a chunk that is longer than it says": (
        400,
        "not valid HTTP",
        _POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
    ),
    "70,000 chunks": (
        413,
        "more than 65536 chunks",
        _POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 70_000 + b"0\r\n\r\n",
    ),
}
