"""The seal at the end of an ONNX file: a hash by which a damaged file is refused before it is loaded.

onnxruntime loads a file whose weights have a flipped bit and answers wrongly. So the last metadata entry of
our files is the SHA-256 of all bytes before it. It is written as protobuf writes it, and every reader of ONNX
sees one more metadata property. It guards against damage, not against somebody who means to deceive.

Standard library only.
"""

from __future__ import annotations

import hashlib

from alexnet_fast.errors import UserError

SEAL_KEY = "alexnet_fast.sha256"
# The tag of ModelProto.metadata_props and of the two strings of an entry (onnx.proto: fields 14, 1 and 2;
# wire type 2, "length-delimited").
_ENTRY, _KEY, _VALUE = (field << 3 | 2 for field in (14, 1, 2))
_HEX = 64
_EXPORT_AGAIN = "export it again with `alexnet-fast export`"


def seal(model: bytes) -> bytes:
    """Returns a serialized model with its seal behind it."""
    return model + _entry(hashlib.sha256(model).hexdigest())


def check_seal(content: bytes, source: str) -> None:
    """Checks a whole file.

    Args:
        content: Its bytes.
        source: Its name, for messages.

    Raises:
        UserError: It has no seal at its end, because it is cut or somebody else's, or it has changed since.
    """
    begin = _entry("0" * _HEX)[:-_HEX]
    body, end = content[: -len(begin) - _HEX], content[-len(begin) - _HEX :]
    if not end.startswith(begin) or len(end) != len(begin) + _HEX:
        raise UserError(
            f"{source} does not end as an ONNX file of ours: it is cut, damaged or somebody else's",
            _EXPORT_AGAIN,
        )
    found, wanted = hashlib.sha256(body).hexdigest(), end[-_HEX:].decode(errors="replace")
    if found != wanted:
        raise UserError(
            f"{source} is damaged: it has the SHA-256 {found[:12]}…, its end says {wanted[:12]}…",
            _EXPORT_AGAIN,
        )


def _entry(digest: str) -> bytes:
    """Returns a metadata entry as protobuf writes it; every length here fits into one byte."""
    key, value = SEAL_KEY.encode(), digest.encode()
    inside = bytes([_KEY, len(key)]) + key + bytes([_VALUE, len(value)]) + value
    return bytes([_ENTRY, len(inside)]) + inside
