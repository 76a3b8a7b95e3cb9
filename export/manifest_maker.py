"""Says in a manifest what an export wrote."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import onnx

from alexnet_fast.errors import UserError
from alexnet_fast.runtime.manifest import (
    FileStamp,
    Manifest,
    OnnxManifest,
    TensorInfo,
    find_manifest,
    write_manifest,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alexnet_fast.export.artifacts import OutputFiles
    from alexnet_fast.export.graph_form import Precision
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
