"""Metadata embedded in exported ONNX files, so that a file can be served without its training run.

Imports neither torch nor DALI: the server reads it.
"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import msgspec
import numpy as np

from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.pipelines.ten_crop import Crops
from alexnet_fast.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

INPUT, OUTPUT = "images", "probabilities"
# Further outputs that a file may have.
LOGITS, FEATURES = "logits", "features"
TOP_CLASSES, TOP_PROBABILITIES = "top_classes", "top_probabilities"
PRODUCER = "alexnet-fast"
_PREFIX = "alexnet_fast."
_KEYS = ("classes", "preprocessing", "model", "crops", "version", "provenance")
_NOT_OURS = "give a file that `alexnet-fast export` wrote"


class TensorType(NamedTuple):
    """Names of one type: numpy's (little-endian, as on the wire), the protocol's and Triton's."""

    numpy: np.dtype[Any]
    protocol: str
    config: str


# By the name in a manifest; `alexnet-fast export` writes no others.
TENSOR_TYPES = {
    "float": TensorType(np.dtype("<f4"), "FP32", "TYPE_FP32"),
    "int64": TensorType(np.dtype("<i8"), "INT64", "TYPE_INT64"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class GraphMetadata:
    """The description inside an ONNX file.

    Args:
        classes: Names of the outputs, in order.
        spec: Preprocessing that the graph contains (crop, normalisation) and expects (resize).
        model: Name of the architecture, as `create_model` takes it.
        crops: The crops that the probabilities are averaged over.
        version: Version of alexnet-fast that wrote the file.
        provenance: Where the weights come from: run, epoch, seed, torch version. JSON values without a time
            of day, which would change the bytes.
    """

    classes: tuple[str, ...]
    spec: AugmentSpec
    model: str
    crops: Crops
    version: str = __version__
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
            UserError: A key is missing, or its value is not valid.
        """
        missing = [f"{_PREFIX}{key}" for key in _KEYS if f"{_PREFIX}{key}" not in props]
        if missing:
            raise UserError(f"{source} is an ONNX file without the metadata {missing[0]}", _NOT_OURS)
        fields = {key: props[f"{_PREFIX}{key}"] for key in _KEYS}
        try:
            return cls(
                classes=_parse(fields["classes"], Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]),
                spec=AugmentSpec.from_dict(json.loads(fields["preprocessing"])),
                model=fields["model"],
                crops=msgspec.convert(fields["crops"], Crops),
                version=fields["version"],
                provenance=_parse(fields["provenance"], dict[str, Any]),
            )
        except (ValueError, TypeError, RecursionError, UserError) as error:
            raise UserError(f"the metadata of {source} is damaged ({error})", _NOT_OURS) from error


def _parse(text: str, kind: Any) -> Any:
    """Reads JSON of a type; json.loads, for msgspec's decoder refuses the lone surrogates of `_json`."""
    return msgspec.convert(json.loads(text), kind)


def _json(value: object) -> str:
    """Returns JSON in UTF-8, the only encoding of ONNX; bytes of a name that are not UTF-8 are escaped."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
