"""The manifest beside an engine: what it was built from, by what and for what, and the hashes of both files.

An engine is executable code, and NVIDIA's own validity check may accept a tampered one; so it is compared
with its manifest before a byte of it is handed to TensorRT. The manifest protects against mixed-up, cut and
damaged files, not against somebody who can write to the folder: that one can replace both.

Standard library only.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING, Any

from alexnet_fast.errors import UnavailableError, UserError
from alexnet_fast.export.trt_library import installed_version
from alexnet_fast.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORMAT = "alexnet-fast engine manifest"
FORMAT_VERSION = 1
MANIFEST_NAME = "manifest.json"
_BUILD_AGAIN = "build it again with `alexnet-fast export --trt`"


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileStamp:
    """A file's name (without folder), size in bytes and SHA-256 in hexadecimal."""

    file: str
    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> FileStamp:
        """Reads a file."""
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
    """Smallest, most likely and largest number of pictures in one call."""

    min: int
    opt: int
    max: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manifest:
    """What is known about an engine without loading it.

    Args:
        engine: The engine file.
        onnx: The ONNX file that it was built from, in the same folder.
        library: "tensorrt" or "tensorrt_rtx".
        library_version: The version that built it, the only one that may load it.
        compute_capabilities: GPU architectures that it was built for, such as "8.6".
        precision: "fp32" or "fp16".
        inputs: Its inputs.
        outputs: Its outputs.
        batch: Its first optimisation profile, which a reader takes that knows of one only.
        profiles: All of them where there are several, `batch` first; else empty.
        classes: Number of classes; `metadata` names them.
        crops: What the probabilities are averaged over.
        metadata: What the ONNX file says about itself, as `GraphMetadata.to_props` writes it.
    """

    engine: FileStamp
    onnx: FileStamp
    library: str
    library_version: str
    compute_capabilities: tuple[str, ...]
    precision: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    batch: BatchProfile
    profiles: tuple[BatchProfile, ...] = ()
    classes: int
    crops: str
    metadata: Mapping[str, str]


def manifest_path(engine: Path) -> Path:
    """Returns where the manifest of an engine stands."""
    return engine.with_name(MANIFEST_NAME)


def write_manifest(manifest: Manifest, engine: Path) -> Path:
    """Writes the manifest beside an engine and returns its path."""
    path = manifest_path(engine)
    plain = {"format": FORMAT, "format_version": FORMAT_VERSION, **dataclasses.asdict(manifest)}
    plain["sha256"] = digest(plain)
    write_atomically(path, json.dumps(plain, indent=2).encode() + b"\n")
    return path


def digest(plain: Mapping[str, Any]) -> str:
    """Returns the SHA-256 of a manifest's values, its own excepted, in hexadecimal."""
    values = {key: value for key, value in plain.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def verify_manifest(engine: Path, *, runtime_version: str | None = None) -> Manifest:
    """Compares an engine with its manifest; to be called before the engine is loaded.

    Args:
        engine: The engine file.
        runtime_version: Version of the library that will load it; None for the one that is installed.

    Raises:
        UnavailableError: It was built by another version than the one that is installed.
        UserError: A file is missing; the manifest is no JSON or lacks a key; size or hash differ.
    """
    if not engine.is_file():
        raise UserError(f"there is no engine {engine}", _BUILD_AGAIN)
    manifest = read_manifest(manifest_path(engine))
    _compare_file(engine, manifest.engine)
    _compare_version(engine, manifest, runtime_version)
    return manifest


def read_manifest(path: Path) -> Manifest:
    """Reads a manifest without looking at its engine.

    Raises:
        UserError: It is missing, no JSON, of another kind or version, or lacks a key.
    """
    plain = _read_json(path)
    if plain.get("format") != FORMAT:
        raise UserError(f"{path} is not the manifest of an engine", _BUILD_AGAIN)
    if plain.get("format_version") != FORMAT_VERSION:
        raise UserError(
            f"{path} has format version {plain.get('format_version')}, this version reads {FORMAT_VERSION}",
            _BUILD_AGAIN,
        )
    try:
        manifest, sealed = _parse(plain), _typed(plain, "sha256", str)
    except KeyError as error:
        raise UserError(f"{path} lacks the key {error}", _BUILD_AGAIN) from error
    except (TypeError, ValueError) as error:
        raise UserError(f"{path} does not hold what a manifest should ({error})", _BUILD_AGAIN) from error
    if sealed != digest(plain):
        raise UserError(f"{path} is damaged: its values are not those that were written", _BUILD_AGAIN)
    return manifest


def _read_json(path: Path) -> dict[str, Any]:
    try:
        plain = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise UserError(f"the engine has no manifest {path}", _BUILD_AGAIN) from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON", _BUILD_AGAIN) from error
    if not isinstance(plain, dict):
        raise UserError(f"{path} is not the manifest of an engine", _BUILD_AGAIN)
    return plain


def _parse(plain: Mapping[str, Any]) -> Manifest:
    texts = {name: _typed(plain, name, str) for name in ("library", "library_version", "precision", "crops")}
    batch = _parse_profile(_typed(plain, "batch", dict))
    several = _typed(plain, "profiles", list) if "profiles" in plain else []
    return Manifest(
        engine=_parse_stamp(_typed(plain, "engine", dict)),
        onnx=_parse_stamp(_typed(plain, "onnx", dict)),
        compute_capabilities=tuple(map(str, _typed(plain, "compute_capabilities", list))),
        inputs=tuple(map(_parse_tensor, _typed(plain, "inputs", list))),
        outputs=tuple(map(_parse_tensor, _typed(plain, "outputs", list))),
        batch=batch,
        profiles=tuple(map(_parse_profile, several)),
        classes=_typed(plain, "classes", int),
        metadata={key: str(value) for key, value in _typed(plain, "metadata", dict).items()},
        **texts,
    )


def _parse_stamp(plain: Mapping[str, Any]) -> FileStamp:
    return FileStamp(
        file=_typed(plain, "file", str),
        bytes=_typed(plain, "bytes", int),
        sha256=_typed(plain, "sha256", str),
    )


def _parse_profile(plain: Mapping[str, Any]) -> BatchProfile:
    return BatchProfile(**{name: _typed(plain, name, int) for name in ("min", "opt", "max")})


def _parse_tensor(plain: Mapping[str, Any]) -> TensorInfo:
    shape = tuple(int(size) for size in _typed(plain, "shape", list))
    return TensorInfo(name=_typed(plain, "name", str), dtype=_typed(plain, "dtype", str), shape=shape)


def _typed(plain: Mapping[str, Any], key: str, kind: type) -> Any:
    value = plain[key]
    if not isinstance(value, kind):
        raise TypeError(f"{key} is {value!r}")
    return value


def _compare_file(engine: Path, stamp: FileStamp) -> None:
    size = engine.stat().st_size
    if size != stamp.bytes:
        raise UserError(f"{engine} has {size} bytes, its manifest says {stamp.bytes}", _BUILD_AGAIN)
    found = FileStamp.of(engine).sha256
    if found != stamp.sha256:
        raise UserError(
            f"{engine} has the SHA-256 {found[:12]}…, its manifest says {stamp.sha256[:12]}…", _BUILD_AGAIN
        )


def _compare_version(engine: Path, manifest: Manifest, runtime_version: str | None) -> None:
    name, built = manifest.library, manifest.library_version
    found = installed_version(name) if runtime_version is None else runtime_version
    if found is None:
        raise UnavailableError(
            f"{engine} was built by {name} {built}, which is not installed here",
            f"pip install '{name}=={built}'",
        )
    if found != built:
        raise UnavailableError(
            f"{engine} was built by {name} {built}, and {found} is installed here",
            f"{_BUILD_AGAIN}, or pip install '{name}=={built}'",
        )
