"""What an exported ONNX file says about itself, so that it can be served without the training run beside it.

Standard library only: the server reads it without torch.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.pipelines.ten_crop import CROPS

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


class TensorType(NamedTuple):
    """What one type is called: by numpy (little-endian, as on the wire), the protocol and a configuration."""

    numpy: np.dtype[Any]
    protocol: str
    config: str


# By the name in a manifest; `alexnet-fast export` writes no others.
TENSOR_TYPES = {
    "float": TensorType(np.dtype("<f4"), "FP32", "TYPE_FP32"),
    "int64": TensorType(np.dtype("<i8"), "INT64", "TYPE_INT64"),
}


if TYPE_CHECKING:
    from collections.abc import Mapping

    from alexnet_fast.pipelines.ten_crop import Crops

INPUT, OUTPUT = "images", "probabilities"
# Outputs that a file may have besides.
LOGITS, FEATURES = "logits", "features"
TOP_CLASSES, TOP_PROBABILITIES = "top_classes", "top_probabilities"
PRODUCER = "alexnet-fast"
_PREFIX = "alexnet_fast."
_NOT_OURS = "give a file that `alexnet-fast export` wrote"


@dataclasses.dataclass(frozen=True, kw_only=True)
class GraphMetadata:
    """The description inside an ONNX file.

    Args:
        classes: Names of the outputs, in order.
        spec: Preprocessing that the graph contains (crop, normalisation) and expects (resize).
        model: Name of the architecture, as `create_model` takes it.
        crops: What the probabilities are averaged over.
        version: Of alexnet-fast that wrote the file.
        provenance: Where the weights come from: run, epoch, seed, torch version.
    """

    classes: tuple[str, ...]
    spec: AugmentSpec
    model: str
    crops: Crops
    version: str
    provenance: Mapping[str, Any]

    def to_props(self) -> dict[str, str]:
        """Returns the key-value pairs for ONNX's metadata_props."""
        return {
            f"{_PREFIX}classes": _json(self.classes),
            f"{_PREFIX}preprocessing": json.dumps(self.spec.to_dict()),
            f"{_PREFIX}model": self.model,
            f"{_PREFIX}crops": self.crops,
            f"{_PREFIX}version": self.version,
            f"{_PREFIX}provenance": _json(dict(self.provenance)),
        }

    @classmethod
    def from_props(cls, props: Mapping[str, str], source: str) -> GraphMetadata:
        """Reads what `to_props` wrote.

        Args:
            props: The file's metadata_props.
            source: Name of the file, for messages.

        Raises:
            UserError: A key is missing or does not hold what it should.
        """
        names = ("classes", "preprocessing", "model", "crops", "version", "provenance")
        missing = [f"{_PREFIX}{name}" for name in names if f"{_PREFIX}{name}" not in props]
        if missing:
            raise UserError(f"{source} is an ONNX file without the metadata {missing[0]}", _NOT_OURS)
        fields = {name: props[f"{_PREFIX}{name}"] for name in names}
        try:
            classes, provenance = json.loads(fields["classes"]), json.loads(fields["provenance"])
            spec = AugmentSpec.from_dict(json.loads(fields["preprocessing"]))
        except (ValueError, TypeError, RecursionError, UserError) as error:
            raise UserError(f"the metadata of {source} is damaged ({error})", _NOT_OURS) from error
        if not _well_formed(classes, fields["crops"], provenance):
            raise UserError(f"the metadata of {source} is damaged", _NOT_OURS)
        return cls(
            classes=tuple(classes),
            spec=spec,
            model=fields["model"],
            crops=fields["crops"],  # type: ignore[arg-type]  # compared above
            version=fields["version"],
            provenance=provenance,
        )


def _well_formed(classes: object, crops: str, provenance: object) -> bool:
    named = isinstance(classes, list) and bool(classes) and all(isinstance(name, str) for name in classes)
    return named and crops in CROPS and isinstance(provenance, dict)


def _json(value: object) -> str:
    """Returns JSON that a reader can read; ONNX takes UTF-8 alone, which the bytes of a name may not be."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
