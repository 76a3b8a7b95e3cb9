"""The names of an export's files, and the rule that it overwrites no file but another export's."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from alexnet_fast.errors import UserError, system_reason
from alexnet_fast.runtime.manifest import (
    FORMAT,
    MANIFEST_NAME,
    ONNX_FORMAT,
    FileStamp,
    Manifest,
    OnnxManifest,
    TensorInfo,
    find_manifest,
    read_manifest,
    write_manifest,
)
from alexnet_fast.runtime.metadata import PRODUCER
from alexnet_fast.utils.atomic import check_writable, disk_errors
from alexnet_fast.utils.interrupts import gone_at_the_end
from alexnet_fast.utils.special_files import kind_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alexnet_fast.export.config import Precision
    from alexnet_fast.runtime.metadata import GraphMetadata

# As TensorRT calls them in the manifests of engines.
_TYPES: dict[int, str] = {
    onnx.TensorProto.FLOAT: "float",
    onnx.TensorProto.UINT8: "uint8",
    onnx.TensorProto.INT64: "int64",
}


def write_engine_manifest(
    built: Manifest, staged: OutputFiles, precision: Precision, accuracy: Sequence[dict[str, Any]] | None
) -> Manifest:
    """Writes the manifest of an engine anew, with what its builder does not know.

    Args:
        built: What the builder wrote.
        staged: The new files.
        precision: That was asked for.
        accuracy: Rows of `accuracy.Trial`, as JSON values; None where nothing was measured.
    """
    others = () if built.onnx.file == staged.onnx.name else (FileStamp.of(staged.onnx),)
    manifest = dataclasses.replace(built, precision=precision, files=others, accuracy=accuracy)
    write_manifest(manifest, staged.engine)
    return manifest


def write_onnx_manifest(
    metadata: GraphMetadata,
    staged: OutputFiles,
    final: OutputFiles,
    precision: Precision,
    accuracy: Sequence[dict[str, Any]] | None,
) -> bool:
    """Writes the manifest of an export without an engine.

    Where the folder holds an engine of an earlier export, and this one writes the very model.onnx that was
    exported with it, the engine's manifest is right for both and is kept.

    Args:
        metadata: What the file says about itself.
        staged: The new files.
        final: Where they will be.
        precision: Of the file.
        accuracy: Rows of `accuracy.Trial`, as JSON values; None where nothing was measured.

    Returns:
        Whether an engine in the folder is still vouched for.
    """
    stamp = FileStamp.of(staged.onnx)
    earlier = _earlier_engine(final)
    if earlier is not None and stamp in earlier.stamps:
        write_manifest(dataclasses.replace(earlier, accuracy=accuracy or earlier.accuracy), staged.onnx)
        return True
    graph = onnx.load(staged.onnx).graph
    manifest = OnnxManifest(
        onnx=stamp,
        precision=precision,
        inputs=tuple(map(_describe, graph.input)),
        outputs=tuple(map(_describe, graph.output)),
        classes=len(metadata.classes),
        crops=metadata.crops,
        metadata=metadata.to_props(),
        accuracy=accuracy,
    )
    write_manifest(manifest, staged.onnx)
    return False


def _earlier_engine(final: OutputFiles) -> Manifest | None:
    """Returns the manifest of an engine that is there, None where there is none or it is to be replaced."""
    try:
        found = find_manifest(final.manifest)
    except UserError:
        return None
    return found if isinstance(found, Manifest) and final.engine.is_file() else None


def _describe(value: onnx.ValueInfoProto) -> TensorInfo:
    kind = value.type.tensor_type
    sizes = tuple(size.dim_value if size.HasField("dim_value") else -1 for size in kind.shape.dim)
    return TensorInfo(name=value.name, dtype=_TYPES[kind.elem_type], shape=sizes)


if TYPE_CHECKING:
    from collections.abc import Iterator

# ModelProto begins with ir_version and producer_name (onnx.proto), so our name stands in the first bytes.
_HEADER_BYTES = 64


@dataclasses.dataclass(frozen=True)
class OutputFiles:
    """Where an export puts its files.

    Args:
        directory: Their folder.
        name: What they are called before their endings; the manifest has one name in every folder.
    """

    directory: Path
    name: str = "model"

    @property
    def onnx(self) -> Path:
        """The portable file."""
        return self.directory / f"{self.name}.onnx"

    @property
    def engine_onnx(self) -> Path:
        """The file that the engine is built from, where it is another than the portable one."""
        return self.directory / f"{self.name}.tensorrt.onnx"

    @property
    def engine(self) -> Path:
        """The engine."""
        return self.directory / f"{self.name}.engine"

    @property
    def manifest(self) -> Path:
        """What vouches for the others."""
        return self.directory / MANIFEST_NAME

    def in_order(self) -> tuple[Path, ...]:
        """All of them, as they are put in place.

        the ONNX file comes last, for a server loads the others anew when it sees that one change.
        """
        return (self.manifest, self.engine_onnx, self.engine, self.onnx)


def prepare_dir(files: OutputFiles, *, trt: bool, force: bool) -> None:
    """Makes the folder, and checks that what is going to be overwritten came from an export.

    Raises:
        UserError: The folder cannot be made; or `force` is not set, and a file in it is somebody's own, or
            its manifest is that of another export which is still there.
    """
    try:
        files.directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"the folder {files.directory} cannot be made ({system_reason(error)})", "choose another --output"
        ) from error
    for path in files.in_order() if trt else (files.manifest, files.onnx):
        if path.is_dir():
            raise UserError(f"{path} is a folder", "choose another --output")
        if path.exists() and not path.is_file():
            raise UserError(f"{path} is {kind_of(path.stat().st_mode)}", "choose another --output")
        check_writable(path)
        if path.exists() and not force and not _is_ours(path, files):
            raise UserError(
                f"{path} exists and was not written by an export", "choose another --output or add --force"
            )

    if not force:
        _check_same_export(files)


def _check_same_export(files: OutputFiles) -> None:
    """Refuses a folder whose manifest vouches for a model of another name, whose engine would not load again.

    Raises:
        UserError: It does.
    """
    try:
        manifest = find_manifest(files.manifest)
    except UserError:
        # A damaged one vouches for nothing.
        return
    own = {path.name for path in files.in_order()}
    for stamp in manifest.stamps if manifest else ():
        if stamp.file not in own and (files.directory / stamp.file).is_file():
            raise UserError(
                f"{files.manifest} belongs to {files.directory / stamp.file}, and a folder holds one export",
                "choose another --output folder, or add --force",
                exit_code=2,
            )


@contextlib.contextmanager
def staging(files: OutputFiles) -> Iterator[OutputFiles]:
    """Gives a hidden folder beside the output files, on the same disk, that is gone afterwards.

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
            # The hidden folder is no concern of whoever reads the sentence.
            problem = error.problem.replace(name, str(files.directory))
            raise type(error)(problem, error.hint, exit_code=error.exit_code) from error


def _is_ours(path: Path, files: OutputFiles) -> bool:
    if path == files.manifest:
        return _is_manifest(path)
    if path == files.engine:
        return _is_described(path, files.manifest)
    with path.open("rb") as file:
        return PRODUCER.encode() in file.read(_HEADER_BYTES)


def _is_manifest(path: Path) -> bool:
    try:
        plain = json.loads(path.read_bytes())
    except (ValueError, OSError):
        return False
    return isinstance(plain, dict) and plain.get("format") in (FORMAT, ONNX_FORMAT)


def _is_described(engine: Path, manifest: Path) -> bool:
    """An engine has no name of its maker inside; the manifest vouches for it."""
    try:
        return read_manifest(manifest).engine == FileStamp.of(engine)
    except UserError:
        return False
