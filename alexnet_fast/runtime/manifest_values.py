"""What a manifest holds, and how it is read from plain JSON values.

Standard library only.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileStamp:
    """A file's name (without folder), size in bytes and SHA-256 in hexadecimal."""

    file: str
    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> FileStamp:
        """Reads a file, a piece at a time."""
        with path.open("rb") as file:
            digest = hashlib.sha256()
            while block := file.read(1 << 20):
                digest.update(block)
            return cls(file=path.name, bytes=file.tell(), sha256=digest.hexdigest())


@dataclasses.dataclass(frozen=True, kw_only=True)
class TensorInfo:
    """An input or output of the engine; -1 in `shape` stands for the batch."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchProfile:
    """Smallest, most likely and largest number of images in one call."""

    min: int
    opt: int
    max: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class OnnxManifest:
    """What is known about an export without loading it.

    Args:
        onnx: The ONNX file; with an engine the one that it was built from.
        files: Further files of the export, in the same folder.
        precision: "fp32", "tf32", "fp16", "bf16" or "int8".
        inputs: What it takes.
        outputs: What it gives, the probabilities first.
        classes: Number of classes; `metadata` names them.
        crops: What the probabilities are averaged over.
        metadata: What the ONNX file says about itself, as `GraphMetadata.to_props` writes it.
        accuracy: How near it is to the network in PyTorch, a row for each thing that ran or could not; see
            `accuracy.AccuracyRow`. None where nothing was measured.
    """

    onnx: FileStamp
    files: tuple[FileStamp, ...] = ()
    precision: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    classes: int
    crops: str
    metadata: Mapping[str, str]
    accuracy: Sequence[Mapping[str, Any]] | None = None

    @property
    def stamps(self) -> tuple[FileStamp, ...]:
        """All files that it vouches for."""
        return (self.onnx, *self.files)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manifest(OnnxManifest):
    """What is known about an engine besides.

    Args:
        engine: The engine file.
        library: "tensorrt" or "tensorrt_rtx".
        library_version: The version that built it, the only one that may load it.
        compute_capabilities: GPU architectures that it was built for, such as "8.6".
        batch: Its first optimisation profile, which a reader takes that knows of one only.
        profiles: All of them where there are several, `batch` first; else empty.
    """

    engine: FileStamp
    library: str
    library_version: str
    compute_capabilities: tuple[str, ...]
    batch: BatchProfile
    profiles: tuple[BatchProfile, ...] = ()

    @property
    def stamps(self) -> tuple[FileStamp, ...]:
        """All files that it vouches for."""
        return (self.engine, *super().stamps)


def parse_engine_manifest(plain: dict[str, Any]) -> Manifest:
    """Reads what stands in the manifest of an engine.

    Raises:
        KeyError: A key is missing.
        TypeError: A value is of another type.
        ValueError: A value is none.
    """
    several = typed(plain, "profiles", list) if "profiles" in plain else []
    return Manifest(
        **_parse_common(plain),
        engine=_parse_stamp(typed(plain, "engine", dict)),
        library=typed(plain, "library", str),
        library_version=typed(plain, "library_version", str),
        compute_capabilities=tuple(map(str, typed(plain, "compute_capabilities", list))),
        batch=_parse_profile(typed(plain, "batch", dict)),
        profiles=tuple(map(_parse_profile, several)),
    )


def parse_onnx_manifest(plain: dict[str, Any]) -> OnnxManifest:
    """Reads what stands in the manifest of an ONNX file alone; raises as `parse_engine_manifest`."""
    return OnnxManifest(**_parse_common(plain))


def _parse_common(plain: dict[str, Any]) -> dict[str, Any]:
    """Reads what both kinds hold; the first manifests of engines had neither `files` nor `accuracy`."""
    return {
        "onnx": _parse_stamp(typed(plain, "onnx", dict)),
        "files": tuple(map(_parse_stamp, plain.get("files", []))),
        "precision": typed(plain, "precision", str),
        "inputs": tuple(map(_parse_tensor, typed(plain, "inputs", list))),
        "outputs": tuple(map(_parse_tensor, typed(plain, "outputs", list))),
        "classes": typed(plain, "classes", int),
        "crops": typed(plain, "crops", str),
        "metadata": {key: str(value) for key, value in typed(plain, "metadata", dict).items()},
        "accuracy": typed(plain, "accuracy", list) if plain.get("accuracy") is not None else None,
    }


def _parse_stamp(plain: Mapping[str, Any]) -> FileStamp:
    return FileStamp(
        file=typed(plain, "file", str),
        bytes=typed(plain, "bytes", int),
        sha256=typed(plain, "sha256", str),
    )


def _parse_profile(plain: Mapping[str, Any]) -> BatchProfile:
    return BatchProfile(**{name: typed(plain, name, int) for name in ("min", "opt", "max")})


def _parse_tensor(plain: Mapping[str, Any]) -> TensorInfo:
    shape = tuple(int(size) for size in typed(plain, "shape", list))
    return TensorInfo(name=typed(plain, "name", str), dtype=typed(plain, "dtype", str), shape=shape)


def typed(plain: Mapping[str, Any], key: str, kind: type) -> Any:
    """Returns a value of a type; raises as `parse_engine_manifest`."""
    value = plain[key]
    if not isinstance(value, kind):
        raise TypeError(f"{key} is {value!r}")
    return value
