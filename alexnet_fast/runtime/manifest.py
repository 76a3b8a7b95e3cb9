"""The manifest of an export: sizes and hashes of its files, and what they take and return.

The manifest of an engine also names the library that built it and the GPUs that it was built for. An engine
is executable code, and NVIDIA's own validity check may accept a tampered one, so it is compared with its
manifest before TensorRT gets a byte of it. The manifest protects against mixed-up, cut and damaged files. It
does not protect against somebody who can write to the folder: they can replace both.

Imports neither torch nor DALI.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from alexnet_fast.errors import UnavailableError, UserError, system_reason
from alexnet_fast.runtime.versions import installed_version
from alexnet_fast.utils.atomic import write_atomically
from alexnet_fast.utils.special_files import read_given

if TYPE_CHECKING:
    from pathlib import Path

FORMAT, ONNX_FORMAT = "alexnet-fast engine manifest", "alexnet-fast ONNX manifest"
FORMAT_VERSION = 2
MANIFEST_NAME = "manifest.json"
_BUILD_AGAIN = "build it again with `alexnet-fast export --trt`"
_EXPORT_AGAIN = "export it again with `alexnet-fast export`"


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileStamp:
    """A file's name (without folder), size in bytes and SHA-256 in hexadecimal."""

    file: str
    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> FileStamp:
        """Reads a file, one block at a time."""
        with path.open("rb") as file:
            digest = hashlib.sha256()
            while block := file.read(1 << 20):
                digest.update(block)
            return cls(file=path.name, bytes=file.tell(), sha256=digest.hexdigest())


@dataclasses.dataclass(frozen=True, kw_only=True)
class TensorInfo:
    """An input or output of a model; -1 in `shape` is the batch axis."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchProfile:
    """Smallest, typical and largest number of images per call."""

    min: int
    opt: int
    max: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class OnnxManifest:
    """Everything known about an export without loading it.

    Args:
        onnx: The ONNX file; with an engine, the one that it was built from.
        files: Further files of the export, in the same folder.
        precision: "fp32", "tf32", "fp16", "bf16" or "int8".
        inputs: The inputs.
        outputs: The outputs, the probabilities first.
        classes: Number of classes; `metadata` names them.
        crops: The crops that the probabilities are averaged over.
        metadata: The metadata inside the ONNX file, as `GraphMetadata.to_props` writes them.
        accuracy: How close each file is to the network in PyTorch; see `export.verify.AccuracyRow`. None if
            nothing was measured.
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
        """All files that the manifest lists."""
        return (self.onnx, *self.files)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manifest(OnnxManifest):
    """The manifest of an export with an engine.

    Args:
        engine: The engine file.
        library: "tensorrt" or "tensorrt_rtx".
        library_version: The version that built it, the only one that may load it.
        compute_capabilities: GPU architectures that it was built for, such as "8.6".
        batch: The first optimisation profile, for readers that know only one.
        profiles: All profiles if there are several, `batch` first; else empty.
    """

    engine: FileStamp
    library: str
    library_version: str
    compute_capabilities: tuple[str, ...]
    batch: BatchProfile
    profiles: tuple[BatchProfile, ...] = ()

    @property
    def stamps(self) -> tuple[FileStamp, ...]:
        """All files that the manifest lists."""
        return (self.engine, *super().stamps)


_KINDS: dict[str, type[OnnxManifest]] = {FORMAT: Manifest, ONNX_FORMAT: OnnxManifest}


def stamp_content(name: str, content: bytes | memoryview) -> FileStamp:
    """Returns the stamp of bytes in memory, whatever the disk holds later."""
    return FileStamp(file=name, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def manifest_path(model: Path) -> Path:
    """Returns the path of the manifest beside an engine or an ONNX file."""
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


def find_manifest(path: Path) -> OnnxManifest | None:
    """Reads a manifest of either kind; None if there is none, or the file is not ours.

    Raises:
        UserError: The file cannot be read or is not JSON, or it is ours and damaged.
    """
    return _find(path, _EXPORT_AGAIN) if path.is_file() else None


def read_manifest(path: Path) -> Manifest:
    """Reads the manifest of an engine without looking at the engine.

    Raises:
        UserError: The manifest is missing, not JSON, damaged, or of another kind or version.
    """
    manifest = _find(path, _BUILD_AGAIN)
    if manifest is None:
        raise UserError(f"{path} is not the manifest of an engine", _BUILD_AGAIN)
    if not isinstance(manifest, Manifest):
        raise UserError(f"{path} lists only an ONNX file, not an engine", _BUILD_AGAIN)
    return manifest


def verify_manifest(
    engine: Path, *, manifest: Manifest | None = None, runtime_version: str | None = None
) -> Manifest:
    """Compares an engine with its manifest; call it before the engine is loaded.

    Args:
        engine: The engine file.
        manifest: The manifest of an engine that is not published yet; None for the one beside it.
        runtime_version: Version of the library that will load the engine; None for the installed one.

    Raises:
        UnavailableError: Another version than the installed one built the engine.
        UserError: A file is missing, the manifest is not valid, or size or hash differ.
    """
    if not engine.is_file():
        raise UserError(f"there is no engine {engine}", _BUILD_AGAIN)
    if manifest is None:
        manifest = read_manifest(manifest_path(engine))
    size = engine.stat().st_size
    # A file of another size is refused before it is read.
    sha256 = FileStamp.of(engine).sha256 if size == manifest.engine.bytes else ""
    _compare(engine, size, sha256, manifest.engine, _BUILD_AGAIN)
    _compare_version(engine, manifest, runtime_version)
    return manifest


def verify_onnx_file(onnx: Path, content: bytes) -> None:
    """Compares an ONNX file with the manifest beside it, if that is ours and lists the file.

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


def lists_engine(engine: Path) -> bool:
    """Returns whether an engine exists and belongs to the ONNX file beside it.

    It does not if that file was exported without the engine since: the manifest then lists only that file.

    Raises:
        UserError: The manifest is damaged.
    """
    return engine.is_file() and isinstance(find_manifest(manifest_path(engine)), Manifest)


def _find(path: Path, hint: str) -> OnnxManifest | None:
    """Reads a manifest of ours, validates it and compares its values with their hash; None if not ours."""
    plain = _read_json(path, hint)
    if not isinstance(plain, dict) or plain.get("format") not in _KINDS:
        return None
    version = plain.get("format_version")
    if version != FORMAT_VERSION:
        raise UserError(
            f"{path} has format version {version}; this version reads {FORMAT_VERSION}",
            hint,
        )
    try:
        manifest = msgspec.convert(plain, _KINDS[plain["format"]])
    except msgspec.ValidationError as error:
        raise UserError(f"{path} is not a valid manifest ({error})", hint) from error
    if plain.get("sha256") != digest(plain):
        raise UserError(f"{path} is damaged: its values are not those that were written", hint)
    return manifest


def _read_json(path: Path, hint: str) -> Any:
    try:
        return json.loads(read_given(path))
    except FileNotFoundError as error:
        raise UserError(f"the engine has no manifest {path}", hint) from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({system_reason(error)})") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON", hint) from error


def _compare(path: Path, size: int, sha256: str, stamp: FileStamp, hint: str) -> None:
    if size != stamp.bytes:
        raise UserError(f"{path} has {size} bytes, its manifest says {stamp.bytes}", hint)
    if sha256 != stamp.sha256:
        raise UserError(
            f"{path} has the SHA-256 {sha256[:12]}…, its manifest says {stamp.sha256[:12]}…", hint
        )


def _compare_version(engine: Path, manifest: Manifest, runtime_version: str | None) -> None:
    name, built = manifest.library, manifest.library_version
    installed = installed_version(name) if runtime_version is None else runtime_version
    if installed is None:
        raise UnavailableError(
            f"{engine} was built by {name} {built}, which is not installed here",
            f"pip install '{name}=={built}'",
        )
    if installed != built:
        raise UnavailableError(
            f"{engine} was built by {name} {built}, and {installed} is installed here",
            f"{_BUILD_AGAIN}, or pip install '{name}=={built}'",
        )
