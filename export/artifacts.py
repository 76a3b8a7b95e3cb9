"""The files of an export: their names, what they may overwrite, and how they are written and published."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from alexnet_fast.errors import UserError, system_reason
from alexnet_fast.export.onnx.model import write_model
from alexnet_fast.runtime.manifest import (
    FORMAT,
    MANIFEST_NAME,
    ONNX_FORMAT,
    FileStamp,
    Manifest,
    OnnxManifest,
    TensorInfo,
    find_manifest,
    write_manifest,
)
from alexnet_fast.runtime.metadata import PRODUCER
from alexnet_fast.utils.atomic import check_writable, disk_errors, put_in_place
from alexnet_fast.utils.interrupts import gone_at_the_end
from alexnet_fast.utils.special_files import kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from alexnet_fast.export.config import GraphConfig, Precision
    from alexnet_fast.export.tensorrt.engine import BuiltEngine
    from alexnet_fast.runtime.metadata import GraphMetadata

# Names of types as TensorRT writes them into the manifests of engines.
_TYPES: dict[int, str] = {
    onnx.TensorProto.FLOAT: "float",
    onnx.TensorProto.UINT8: "uint8",
    onnx.TensorProto.INT64: "int64",
}
# ModelProto begins with ir_version and producer_name (onnx.proto), so our name is in the first bytes.
_HEADER_BYTES = 64


@dataclasses.dataclass(frozen=True)
class OutputFiles:
    """Where an export puts its files.

    Args:
        directory: Their folder.
        name: Their name without extension; the manifest has the same name in every folder.
    """

    directory: Path
    name: str = "model"

    @property
    def onnx(self) -> Path:
        """The portable file."""
        return self.directory / f"{self.name}.onnx"

    @property
    def engine_onnx(self) -> Path:
        """The file that the engine is built from, if that is not the portable one."""
        return self.directory / f"{self.name}.tensorrt.onnx"

    @property
    def engine(self) -> Path:
        """The engine."""
        return self.directory / f"{self.name}.engine"

    @property
    def manifest(self) -> Path:
        """The manifest, which lists the others."""
        return self.directory / MANIFEST_NAME

    def in_order(self) -> tuple[Path, ...]:
        """All of them, in the order of publishing.

        The ONNX file comes last, because a server loads the others anew when it sees that one change.
        """
        return (self.manifest, self.engine_onnx, self.engine, self.onnx)


@dataclasses.dataclass(frozen=True, kw_only=True)
class OnnxFile:
    """An ONNX file that was written.

    Args:
        path: The file.
        stamp: Its size and hash.
        precision: The precision of its graph.
        inputs: Its inputs.
        outputs: Its outputs, the probabilities first.
    """

    path: Path
    stamp: FileStamp
    precision: Precision
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class OnnxFiles:
    """The ONNX files of an export.

    Args:
        portable: model.onnx, for onnxruntime and OpenVINO.
        source: The file that an engine is built from; `portable` if one graph is best for both.
    """

    portable: OnnxFile
    source: OnnxFile

    def __iter__(self) -> Iterator[OnnxFile]:
        yield self.portable
        if self.source is not self.portable:
            yield self.source


def prepare_dir(files: OutputFiles, *, trt: bool, force: bool) -> Manifest | None:
    """Makes the folder, and checks that everything to be overwritten came from an export.

    Returns:
        The manifest of the engine that is there; None if there is none, or its manifest is damaged.

    Raises:
        UserError: The folder cannot be made; or `force` is not set, and a file in it is not ours, or its
            manifest is that of another export which is still there.
    """
    try:
        files.directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"the folder {files.directory} cannot be made ({system_reason(error)})", "choose another --output"
        ) from error
    earlier = _earlier_manifest(files)
    for path in files.in_order() if trt else (files.manifest, files.onnx):
        if path.is_dir():
            raise UserError(f"{path} is a folder", "choose another --output")
        if path.exists() and not path.is_file():
            raise UserError(f"{path} is {kind_of(path.stat().st_mode)}", "choose another --output")
        check_writable(path)
        if path.exists() and not force and not _is_ours(path, files, earlier):
            raise UserError(
                f"{path} exists and was not written by an export", "choose another --output or add --force"
            )
    if not force:
        _check_same_export(files, earlier)
    return earlier if isinstance(earlier, Manifest) and files.engine.is_file() else None


def _earlier_manifest(files: OutputFiles) -> OnnxManifest | None:
    try:
        return find_manifest(files.manifest)
    except UserError:
        # A damaged manifest lists nothing.
        return None


def _is_ours(path: Path, files: OutputFiles, earlier: OnnxManifest | None) -> bool:
    """Returns whether an export wrote a file; an engine does not name its maker, so the manifest must."""
    if path == files.manifest:
        return earlier is not None or _is_damaged_manifest(path)
    if path == files.engine:
        return isinstance(earlier, Manifest) and earlier.engine == FileStamp.of(path)
    with path.open("rb") as file:
        return PRODUCER.encode() in file.read(_HEADER_BYTES)


def _is_damaged_manifest(path: Path) -> bool:
    try:
        plain = json.loads(path.read_bytes())
    except (ValueError, OSError):
        return False
    return isinstance(plain, dict) and plain.get("format") in (FORMAT, ONNX_FORMAT)


def _check_same_export(files: OutputFiles, earlier: OnnxManifest | None) -> None:
    """Checks that the manifest lists no model of another name, whose engine would not load any more.

    Raises:
        UserError: It lists one that is still there.
    """
    names = {path.name for path in files.in_order()}
    for stamp in earlier.stamps if earlier else ():
        if stamp.file not in names and (files.directory / stamp.file).is_file():
            raise UserError(
                f"{files.manifest} belongs to {files.directory / stamp.file}, and a folder holds one export",
                "choose another --output folder, or add --force",
                exit_code=2,
            )


@contextlib.contextmanager
def staging(files: OutputFiles) -> Iterator[OutputFiles]:
    """Yields a hidden folder beside the output files, on the same disk; it is removed afterwards.

    Raises:
        UserError: The output folder cannot be written to, now or later.
    """
    try:
        directory = tempfile.TemporaryDirectory(dir=files.directory, prefix=".export-")
    except OSError as error:
        raise UserError(
            f"the folder {files.directory} cannot be written to ({system_reason(error)})",
            "choose another --output",
        ) from error
    with disk_errors(files.directory), directory as name, gone_at_the_end(Path(name)):
        try:
            yield OutputFiles(Path(name), files.name)
        except UserError as error:
            # The hidden folder means nothing to the reader of the message.
            problem = error.problem.replace(name, str(files.directory))
            raise type(error)(problem, error.hint, exit_code=error.exit_code) from error


def write_graphs(graphs: Sequence[tuple[GraphConfig, onnx.ModelProto]], files: OutputFiles) -> OnnxFiles:
    """Writes one or two graphs: model.onnx, and the engine's if it differs from that."""
    portable = _write_graph(*graphs[0], files.onnx)
    # Networks without local response normalisation have one form for both targets.
    if all(model.graph == graphs[0][1].graph for _, model in graphs[1:]):
        return OnnxFiles(portable=portable, source=portable)
    return OnnxFiles(portable=portable, source=_write_graph(*graphs[1], files.engine_onnx))


def _write_graph(config: GraphConfig, model: onnx.ModelProto, path: Path) -> OnnxFile:
    return OnnxFile(
        path=path,
        stamp=write_model(model, path),
        precision=config.precision,
        inputs=tuple(map(_describe, model.graph.input)),
        outputs=tuple(map(_describe, model.graph.output)),
    )


def _describe(value: onnx.ValueInfoProto) -> TensorInfo:
    tensor = value.type.tensor_type
    sizes = tuple(size.dim_value if size.HasField("dim_value") else -1 for size in tensor.shape.dim)
    return TensorInfo(name=value.name, dtype=_TYPES[tensor.elem_type], shape=sizes)


def make_manifest(
    files: OnnxFiles,
    built: BuiltEngine | None,
    earlier: Manifest | None,
    metadata: GraphMetadata,
    precision: Precision,
    accuracy: Sequence[dict[str, Any]] | None,
) -> OnnxManifest:
    """Returns the manifest of an export.

    If this export builds no engine, and writes exactly the model.onnx that an engine in the folder was
    exported with, that engine's manifest is right for both and is kept.

    Args:
        files: The ONNX files.
        built: The engine, if one was built.
        earlier: The manifest of an engine of an earlier export in the folder.
        metadata: The description inside the ONNX files.
        precision: The requested precision.
        accuracy: Rows of `export.verify.Verifier`, as JSON values; None if nothing was measured.
    """
    stamp = files.portable.stamp
    if built is not None:
        others = () if files.source is files.portable else (stamp,)
        return dataclasses.replace(built.manifest, precision=precision, files=others, accuracy=accuracy)
    if earlier is not None and stamp in earlier.stamps:
        return dataclasses.replace(earlier, accuracy=accuracy or earlier.accuracy)
    return OnnxManifest(
        onnx=stamp,
        precision=precision,
        inputs=files.portable.inputs,
        outputs=files.portable.outputs,
        classes=len(metadata.classes),
        crops=metadata.crops,
        metadata=metadata.to_props(),
        accuracy=accuracy,
    )


def publish(manifest: OnnxManifest, staged: OutputFiles, final: OutputFiles) -> list[str]:
    """Writes the manifest, moves the new files into place, and returns a note about each older one."""
    write_manifest(manifest, staged.onnx)
    notes = []
    for source, target in zip(staged.in_order(), final.in_order(), strict=True):
        if source.exists():
            put_in_place(source, target)
        elif target.exists():
            note = f"{target} was kept from an earlier export"
            if target == final.engine and not isinstance(manifest, Manifest):
                note += (
                    f"; it no longer matches {final.onnx.name} and will not be loaded. Run again with --trt"
                )
            notes.append(note)
    return notes
