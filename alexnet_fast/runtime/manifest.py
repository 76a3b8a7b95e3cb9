"""The manifest beside an export: the sizes and hashes of its files, and what they take and give.

With an engine it says too what that was built by and for. An engine is executable code, and NVIDIA's own
validity check may accept a tampered one; so it is compared with its manifest before a byte of it is handed to
TensorRT. The manifest protects against mixed-up, cut and damaged files, not against somebody who can write to
the folder: that one can replace both.

Standard library only.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING, Any, TypeVar

from alexnet_fast.errors import UnavailableError, UserError, system_reason
from alexnet_fast.runtime.versions import installed_version
from alexnet_fast.utils.atomic import write_atomically
from alexnet_fast.utils.special_files import read_given

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


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = [
    "FORMAT",
    "FORMAT_VERSION",
    "MANIFEST_NAME",
    "ONNX_FORMAT",
    "BatchProfile",
    "FileStamp",
    "Manifest",
    "OnnxManifest",
    "TensorInfo",
    "digest",
    "find_manifest",
    "manifest_path",
    "read_manifest",
    "verify_manifest",
    "verify_onnx_file",
    "vouches_for",
    "write_manifest",
]

FORMAT, ONNX_FORMAT = "alexnet-fast engine manifest", "alexnet-fast ONNX manifest"
FORMAT_VERSION = 2
MANIFEST_NAME = "manifest.json"
_BUILD_AGAIN = "build it again with `alexnet-fast export --trt`"
_EXPORT_AGAIN = "export it again with `alexnet-fast export`"
_Kind = TypeVar("_Kind", bound="OnnxManifest")


def manifest_path(model: Path) -> Path:
    """Returns where the manifest of an engine or an ONNX file stands."""
    return model.with_name(MANIFEST_NAME)


def write_manifest(manifest: OnnxManifest, model: Path) -> Path:
    """Writes the manifest beside an engine or an ONNX file and returns its path."""
    path = manifest_path(model)
    kind = FORMAT if isinstance(manifest, Manifest) else ONNX_FORMAT
    plain = {"format": kind, "format_version": FORMAT_VERSION, **dataclasses.asdict(manifest)}
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


def verify_onnx_file(onnx: Path, content: bytes) -> None:
    """Compares an ONNX file with the manifest beside it, where there is one of ours that names the file.

    Args:
        onnx: The file.
        content: Its bytes.

    Raises:
        UserError: The manifest is damaged, or size or hash differ.
    """
    manifest = find_manifest(manifest_path(onnx))
    for stamp in manifest.stamps if manifest else ():
        if stamp.file == onnx.name:
            _compare(onnx, len(content), hashlib.sha256(content).hexdigest(), stamp, _EXPORT_AGAIN)


def find_manifest(path: Path) -> OnnxManifest | None:
    """Reads a manifest of either kind; None where there is none, or somebody else's.

    Raises:
        UserError: It cannot be read or is no JSON, or it is ours and damaged.
    """
    if not path.is_file():
        return None
    plain = _read_json(path, _EXPORT_AGAIN)
    if not isinstance(plain, dict) or plain.get("format") not in (FORMAT, ONNX_FORMAT):
        return None
    return _checked(
        plain,
        path,
        parse_engine_manifest if plain["format"] == FORMAT else parse_onnx_manifest,
        _EXPORT_AGAIN,
    )


def vouches_for(engine: Path) -> bool:
    """Says whether an engine is there that belongs to the ONNX file beside it.

    It does not where that file was exported alone since: the manifest is then of that file alone.

    Raises:
        UserError: The manifest is damaged.
    """
    return engine.is_file() and isinstance(find_manifest(manifest_path(engine)), Manifest)


def read_manifest(path: Path) -> Manifest:
    """Reads the manifest of an engine without looking at the engine.

    Raises:
        UserError: It is missing, no JSON, of another kind or version, or lacks a key.
    """
    plain = _read_json(path, _BUILD_AGAIN)
    if isinstance(plain, dict) and plain.get("format") == ONNX_FORMAT:
        raise UserError(f"{path} vouches for an ONNX file alone, not for an engine", _BUILD_AGAIN)
    if not isinstance(plain, dict) or plain.get("format") != FORMAT:
        raise UserError(f"{path} is not the manifest of an engine", _BUILD_AGAIN)
    return _checked(plain, path, parse_engine_manifest, _BUILD_AGAIN)


def _read_json(path: Path, hint: str) -> Any:
    try:
        return json.loads(read_given(path))
    except FileNotFoundError as error:
        raise UserError(f"the engine has no manifest {path}", hint) from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({system_reason(error)})") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON", hint) from error


def _checked(plain: dict[str, Any], path: Path, parse: Callable[[dict[str, Any]], _Kind], hint: str) -> _Kind:
    """Parses a manifest of ours and compares its values with their hash."""
    if plain.get("format_version") != FORMAT_VERSION:
        raise UserError(
            f"{path} has format version {plain.get('format_version')}; this version reads {FORMAT_VERSION}",
            hint,
        )
    try:
        manifest, sealed = parse(plain), typed(plain, "sha256", str)
    except KeyError as error:
        raise UserError(f"{path} lacks the key {error}", hint) from error
    except (TypeError, ValueError) as error:
        raise UserError(f"{path} does not hold what a manifest should ({error})", hint) from error
    if sealed != digest(plain):
        raise UserError(f"{path} is damaged: its values are not those that were written", hint)
    return manifest


def _compare_file(engine: Path, stamp: FileStamp) -> None:
    size = engine.stat().st_size
    # A file of another size is refused before it is read.
    found = FileStamp.of(engine).sha256 if size == stamp.bytes else ""
    _compare(engine, size, found, stamp, _BUILD_AGAIN)


def _compare(path: Path, size: int, sha256: str, stamp: FileStamp, hint: str) -> None:
    if size != stamp.bytes:
        raise UserError(f"{path} has {size} bytes, its manifest says {stamp.bytes}", hint)
    if sha256 != stamp.sha256:
        raise UserError(
            f"{path} has the SHA-256 {sha256[:12]}…, its manifest says {stamp.sha256[:12]}…", hint
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
