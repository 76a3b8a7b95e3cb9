"""A TensorRT engine and its manifest from an ONNX file of ours.

    build_engine(Path("model.onnx"), Path("model.engine"), choose_library(["86", "89"]), EngineConfig())

The engine is built, not run: TensorRT-RTX does this on a machine without a GPU. Its speed and accuracy on a
GPU are not measured here.
"""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped,unused-ignore]

from alexnet_fast.errors import UserError
from alexnet_fast.export.tensorrt.build import build_plan
from alexnet_fast.export.tensorrt.cache import EngineCache
from alexnet_fast.pipelines.ten_crop import CROPS
from alexnet_fast.runtime.manifest import Manifest, stamp_content, write_manifest
from alexnet_fast.runtime.metadata import GraphMetadata
from alexnet_fast.utils.atomic import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from alexnet_fast.export.config import EngineConfig, Precision
    from alexnet_fast.export.progress import Progress
    from alexnet_fast.export.tensorrt.library import TrtLibrary


@dataclasses.dataclass(frozen=True, kw_only=True)
class BuiltEngine:
    """An engine that was built, not run.

    Args:
        engine: The engine file.
        manifest: Its manifest.
        seconds: Time that the build took.
        scratch_bytes: Memory that the largest batch needs besides the weights; None if it is not known.
        cached: The cached engine that it is a copy of; None if it was built now.
    """

    engine: Path
    manifest: Manifest
    seconds: float
    scratch_bytes: int | None
    cached: Path | None = None


def build_engine(
    onnx_file: Path,
    engine: Path,
    library: TrtLibrary,
    config: EngineConfig,
    *,
    cache: EngineCache | None = None,
    progress: Progress | None = None,
) -> BuiltEngine:
    """Builds an engine and writes it, then its manifest; arguments as `compile_engine`."""
    built = compile_engine(onnx_file, engine, library, config, cache=cache, progress=progress)
    write_manifest(built.manifest, engine)
    return built


def compile_engine(
    onnx_file: Path,
    engine: Path,
    library: TrtLibrary,
    config: EngineConfig,
    *,
    cache: EngineCache | None = None,
    progress: Progress | None = None,
) -> BuiltEngine:
    """Builds an engine and writes it atomically, without its manifest.

    Args:
        onnx_file: An ONNX file of ours, in the folder of the engine.
        engine: File to write.
        library: The library to build with and its GPUs, from `choose_library`.
        config: Batch sizes, memory and effort.
        cache: Cache of earlier engines; None to build in any case and keep nothing.
        progress: Called at each step of the build; returning False cancels it.

    Raises:
        UserError: The ONNX file is not ours, TensorRT refuses it (the node is named), or a file cannot be
            written.
    """
    start = time.perf_counter()
    onnx_bytes = onnx_file.read_bytes()
    stamp = stamp_content(onnx_file.name, onnx_bytes)
    precision, metadata = _inspect(onnx_bytes, onnx_file.name, tf32=config.tf32)
    cached = None if cache is None else cache.path(stamp.sha256, library, config)
    plan = None if cache is None or cached is None else cache.load(cached)
    hit = plan is not None
    if plan is None:
        rows = CROPS[metadata.crops]
        plan = build_plan(onnx_bytes, onnx_file.name, library, config, progress, rows=rows)
        if cache is not None and cached is not None:
            cache.save(cached, plan)
    write_atomically(engine, plan.plan)
    manifest = Manifest(
        engine=stamp_content(engine.name, plan.plan),
        onnx=stamp,
        precision=precision,
        classes=len(metadata.classes),
        crops=metadata.crops,
        metadata=metadata.to_props(),
        batch=config.profiles[0],
        profiles=config.profiles if len(config.profiles) > 1 else (),
        inputs=plan.inputs,
        outputs=plan.outputs,
        library=library.name,
        library_version=library.version,
        compute_capabilities=library.compute_capabilities,
    )
    return BuiltEngine(
        engine=engine,
        manifest=manifest,
        seconds=time.perf_counter() - start,
        scratch_bytes=plan.scratch_bytes,
        cached=cached if hit else None,
    )


def _inspect(onnx_bytes: bytes, source: str, *, tf32: bool) -> tuple[Precision, GraphMetadata]:
    """Reads the precision and the metadata of an ONNX file."""
    try:
        model = onnx.load_model_from_string(onnx_bytes)
    except DecodeError as error:
        raise UserError(
            f"{source} is not an ONNX file", "give one that `alexnet-fast export` wrote"
        ) from error
    metadata = GraphMetadata.from_props({prop.key: prop.value for prop in model.metadata_props}, source)
    return _precision(model.graph, tf32=tf32), metadata


def _precision(graph: onnx.GraphProto, *, tf32: bool) -> Precision:
    """Returns the precision of a graph; tf32 is an option of the builder, not of the graph."""
    types = {weight.data_type for weight in graph.initializer}
    if any(node.op_type == "QuantizeLinear" for node in graph.node):
        return "int8"
    if onnx.TensorProto.BFLOAT16 in types:
        return "bf16"
    if onnx.TensorProto.FLOAT16 in types:
        return "fp16"
    return "tf32" if tf32 else "fp32"
