"""The whole export: ONNX files, the comparison with PyTorch, engine and manifest; all of them or none.

Everything is written into a hidden folder inside the output folder and moved out at the end, model.onnx last.
A failure leaves the files of an earlier export as they were.
"""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

from alexnet_fast.errors import UserError
from alexnet_fast.export.artifacts import (
    OutputFiles,
    make_manifest,
    prepare_dir,
    publish,
    staging,
    write_graphs,
)
from alexnet_fast.export.calibration import calibrate
from alexnet_fast.export.config import CPU_CONFIG, for_tensorrt
from alexnet_fast.export.layers import read
from alexnet_fast.export.net_copy import evaluation_copy
from alexnet_fast.export.onnx.model import OPSET, describe_writer, lower
from alexnet_fast.export.proof import Proof
from alexnet_fast.export.tensorrt.cache import EngineCache
from alexnet_fast.export.tensorrt.engine import BuiltEngine, compile_engine
from alexnet_fast.export.tensorrt.library import choose_library
from alexnet_fast.export.verify import plain_rows
from alexnet_fast.runtime.metadata import GraphMetadata

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import torch

    from alexnet_fast.export.artifacts import OnnxFiles
    from alexnet_fast.export.config import ExportConfig, GraphConfig, QuantScales
    from alexnet_fast.export.export_images import ExportImages
    from alexnet_fast.export.layers import NetLayers
    from alexnet_fast.export.progress import Progress
    from alexnet_fast.export.tensorrt.library import TrtLibrary
    from alexnet_fast.pipelines.spec import AugmentSpec


def run_export(
    net: torch.nn.Module,
    spec: AugmentSpec,
    classes: Sequence[str],
    model_name: str,
    provenance: Mapping[str, Any],
    images: ExportImages,
    config: ExportConfig,
    *,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Exports a network.

    Args:
        net: Returns logits; it is not changed. `onnx.model.lower` decides who writes it.
        spec: Sizes and normalisation that it was trained with.
        classes: Names of its outputs, in order.
        model_name: Name of the architecture.
        provenance: JSON values that say where the weights come from, without a time of day.
        images: To compare the files with PyTorch on, and to calibrate int8. If there are none, the files are
            compared on generated images.
        config: What to write.
        progress: Called at each step of the calibration, the comparison and the engine's build.

    Returns:
        JSON values: onnx, engine, manifest (paths; engine may be None), verified (how close model.onnx is to
        PyTorch), seconds; further accuracy (with --verify, or in another precision than fp32, one row for
        each thing that was compared), calibration_images, stem (what the crops share in model.onnx and why no
        more, or why torch's exporter wrote it), crops, opset, precision, outputs, library,
        library_version, compute_capabilities, engine_onnx, engine_bytes, engine_seconds,
        engine_scratch_bytes, engine_cached (the cached engine that it is a copy of, or None), profiles,
        engine_onnx_verified (the graph inside the engine, run by onnxruntime),
        ran_on_gpu (whether the engine was among what was compared) and notes.

    Raises:
        UserError: The network, the options or the folder is wrong, or the answers of a file differ from
            PyTorch's; nothing has changed.
    """
    start = time.perf_counter()
    _check_images(config, images)
    library = choose_library(config.gpu_archs) if config.trt else None
    final = OutputFiles(config.output, config.name)
    earlier = prepare_dir(final, trt=config.trt, force=config.force)
    metadata = GraphMetadata(
        classes=tuple(classes), spec=spec, model=model_name, crops=config.crops, provenance=provenance
    )
    layers = read(evaluation_copy(net))
    targets = _targets(layers, config, _scales(layers, spec, images, config, progress))
    with staging(final) as staged:
        files = write_graphs([(target, lower(layers, metadata, target)) for target in targets], staged)
        proof = Proof(layers.net, spec, images, config, progress)
        proof.verify_graphs(files)
        built = None
        if library is not None:
            built = _build(files.source.path, staged.engine, library, config, progress)
            proof.verify_engine(built)
        rows = plain_rows(proof.main.rows) if _measured(config, images) else None
        manifest = make_manifest(files, built, earlier, metadata, config.precision, rows)
        notes = publish(manifest, staged, final)
    return {
        **_describe_graphs(files, final, proof, config),
        "accuracy": rows,
        "stem": describe_writer(layers, metadata),
        **_describe_engine(built, final, proof),
        "calibration_images": None if images.calibration is None else len(images.calibration),
        "notes": notes,
        "seconds": time.perf_counter() - start,
    }


def _check_images(config: ExportConfig, images: ExportImages) -> None:
    if config.verify and images.verification is None:
        raise UserError("--verify needs images", "give a folder of them", exit_code=2)
    if config.precision == "int8" and images.calibration is None:
        raise UserError(
            "--precision int8 needs images to calibrate on",
            "give the training data with --calibration-data DATA",
            exit_code=2,
        )


def _measured(config: ExportConfig, images: ExportImages) -> bool:
    """Returns whether the comparison also measures the accuracy that was asked for."""
    return images.verification is not None and (config.verify or config.precision != "fp32")


def _scales(
    layers: NetLayers,
    spec: AugmentSpec,
    images: ExportImages,
    config: ExportConfig,
    progress: Progress | None,
) -> QuantScales | None:
    if config.precision != "int8" or images.calibration is None:
        return None
    return calibrate(layers.net, spec, images.calibration, config.crops, progress=progress)


def _targets(layers: NetLayers, config: ExportConfig, scales: QuantScales | None) -> list[GraphConfig]:
    """Returns how the graphs are written: for model.onnx, and for the engine if that needs its own."""
    outputs: dict[str, Any] = {"extras": config.extras, "top": config.top}
    portable = dataclasses.replace(CPU_CONFIG, **outputs)
    if scales is not None:
        portable = dataclasses.replace(portable, precision="int8", scales=scales)
    # torch's exporter writes float32 in one way only.
    if not config.trt or (layers.unknown is not None and config.precision in ("fp32", "tf32")):
        return [portable]
    return [portable, dataclasses.replace(for_tensorrt(config.precision, scales), **outputs)]


def _build(
    source: Path, engine: Path, library: TrtLibrary, config: ExportConfig, progress: Progress | None
) -> BuiltEngine:
    cache = EngineCache() if config.engine_cache else None
    options = dataclasses.replace(config.engine, tf32=config.precision == "tf32")
    return compile_engine(source, engine, library, options, cache=cache, progress=progress)


def _describe_graphs(
    files: OnnxFiles, final: OutputFiles, proof: Proof, config: ExportConfig
) -> dict[str, Any]:
    return {
        "onnx": str(final.onnx),
        "onnx_bytes": files.portable.stamp.bytes,
        "manifest": str(final.manifest),
        "opset": OPSET,
        "crops": config.crops,
        "precision": config.precision,
        "outputs": [tensor.name for tensor in files.portable.outputs],
        "verified": _verified(proof, final.onnx),
        "engine_onnx_verified": _verified(proof, final.engine_onnx),
    }


def _verified(proof: Proof, file: Path) -> dict[str, Any] | None:
    """Returns how far a file is from PyTorch, and on which images; None if it was not run."""
    names = ("backend", "images", "max_abs_error", "p99_abs_error", "top1_agreement")
    for row in plain_rows(proof.main.rows):
        if row["name"] == file.name and row["not_measured"] is None:
            return {**{name: row[name] for name in names}, "source": proof.source}
    return None


def _describe_engine(built: BuiltEngine | None, final: OutputFiles, proof: Proof) -> dict[str, Any]:
    if built is None:
        return {"engine": None, "ran_on_gpu": False}
    manifest = built.manifest
    return {
        "engine": str(final.engine),
        "engine_onnx": str(final.directory / manifest.onnx.file),
        "engine_bytes": manifest.engine.bytes,
        "engine_seconds": built.seconds,
        "engine_scratch_bytes": built.scratch_bytes,
        "engine_cached": None if built.cached is None else str(built.cached),
        "library": manifest.library,
        "library_version": manifest.library_version,
        "compute_capabilities": list(manifest.compute_capabilities),
        "batch": dataclasses.asdict(manifest.batch),
        "profiles": [dataclasses.asdict(profile) for profile in manifest.profiles or (manifest.batch,)],
        "ran_on_gpu": _verified(proof, final.engine) is not None,
    }
