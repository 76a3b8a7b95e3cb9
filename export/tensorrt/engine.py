"""A TensorRT engine and its manifest from an ONNX file of ours.

    build_engine(Path("model.onnx"), Path("model.engine"), choose_library(["86", "89"]), EngineConfig())

The engine is built, not run: a machine without a GPU can do this with TensorRT-RTX, and nothing here says how
fast or how right it is on a GPU.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from typing import TYPE_CHECKING

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped,unused-ignore]

from alexnet_fast.errors import UserError
from alexnet_fast.export.tensorrt.build import build_plan
from alexnet_fast.export.tensorrt.cache import EngineCache
from alexnet_fast.pipelines.ten_crop import CROPS
from alexnet_fast.runtime.manifest import FileStamp, Manifest, write_manifest
from alexnet_fast.runtime.metadata import GraphMetadata
from alexnet_fast.utils.atomic import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from alexnet_fast.export.config import EngineConfig, Precision
    from alexnet_fast.export.progress import Progress
    from alexnet_fast.export.tensorrt.library import TrtLibrary


@dataclasses.dataclass(frozen=True, kw_only=True)
class BuiltEngine:
    """What was built.

    Args:
        engine: The engine file.
        manifest_file: Its manifest.
        manifest: What the manifest says.
        seconds: Time that the build took.
        scratch_bytes: Memory that the largest batch needs besides the weights; None where it is not known.
        cached: The kept engine that it is a copy of; None where it was built now.
        ran_on_gpu: Always False: building an engine runs none.
    """

    engine: Path
    manifest_file: Path
    manifest: Manifest
    seconds: float
    scratch_bytes: int | None
    cached: Path | None = None
    ran_on_gpu: bool = False


def build_engine(
    onnx_file: Path,
    engine: Path,
    library: TrtLibrary,
    config: EngineConfig,
    *,
    cache: EngineCache | None = None,
    progress: Progress | None = None,
) -> BuiltEngine:
    """Builds an engine, writes it and then its manifest, each atomically.

    Args:
        onnx_file: An ONNX file that `export_onnx` wrote, in the folder of the engine.
        engine: File to write.
        library: What to build with and for, from `choose_library`.
        config: Batch sizes, memory and effort.
        cache: Where engines that were built before are kept; None to build in any case and keep nothing.
        progress: Told about each step of the build; returning False cancels it.

    Raises:
        UserError: The ONNX file is not ours, TensorRT refuses it (the node is named), or a file cannot be
            written.
    """
    start = time.perf_counter()
    onnx_bytes = onnx_file.read_bytes()
    stamp = _stamp(onnx_file.name, onnx_bytes)
    precision, metadata = _inspect(onnx_bytes, onnx_file.name, tf32=config.tf32)
    kept = None if cache is None else cache.path(stamp.sha256, library, config)
    built = None if cache is None or kept is None else cache.load(kept)
    found = built is not None
    if built is None:
        rows = CROPS[metadata.crops]
        built = build_plan(onnx_bytes, onnx_file.name, library, config, progress, rows=rows)
        if cache is not None and kept is not None:
            cache.save(kept, built)
    write_atomically(engine, built.plan)
    manifest = Manifest(
        engine=FileStamp.of(engine),
        onnx=stamp,
        precision=precision,
        classes=len(metadata.classes),
        crops=metadata.crops,
        metadata=metadata.to_props(),
        batch=config.profiles[0],
        profiles=config.profiles if len(config.profiles) > 1 else (),
        inputs=built.inputs,
        outputs=built.outputs,
        library=library.name,
        library_version=library.version,
        compute_capabilities=library.compute_capabilities,
    )
    manifest_file = write_manifest(manifest, engine)
    return BuiltEngine(
        engine=engine,
        manifest_file=manifest_file,
        manifest=manifest,
        seconds=time.perf_counter() - start,
        scratch_bytes=built.scratch_bytes,
        cached=kept if found else None,
    )


def _stamp(name: str, content: bytes) -> FileStamp:
    """Returns the stamp of a file that has been read: what was built from, whatever lies there later."""
    return FileStamp(file=name, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def _inspect(onnx_bytes: bytes, source: str, *, tf32: bool) -> tuple[Precision, GraphMetadata]:
    """Reads from an ONNX file what the manifest says about it."""
    try:
        model = onnx.load_model_from_string(onnx_bytes)
    except DecodeError as error:
        raise UserError(
            f"{source} is not an ONNX file", "give one that `alexnet-fast export` wrote"
        ) from error
    metadata = GraphMetadata.from_props({prop.key: prop.value for prop in model.metadata_props}, source)
    return _precision(model.graph, tf32=tf32), metadata


def _precision(graph: onnx.GraphProto, *, tf32: bool) -> Precision:
    """Tells which precision a graph is written in; tf32 is the builder's, no graph's."""
    types = {weight.data_type for weight in graph.initializer}
    if any(node.op_type == "QuantizeLinear" for node in graph.node):
        return "int8"
    if onnx.TensorProto.BFLOAT16 in types:
        return "bf16"
    if onnx.TensorProto.FLOAT16 in types:
        return "fp16"
    return "tf32" if tf32 else "fp32"
