"""The whole export: ONNX, comparison with PyTorch, engine and manifest, all of them or none.

Everything is written into a hidden folder inside the output folder and moved out when all of it is done,
model.onnx last. A failure leaves the files of an earlier export as they were.
"""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

from alexnet_fast.errors import UserError
from alexnet_fast.export.artifacts import (
    OutputFiles,
    prepare_dir,
    staging,
    write_engine_manifest,
    write_onnx_manifest,
)
from alexnet_fast.export.calibration import calibrate
from alexnet_fast.export.config import CPU_CONFIG, for_tensorrt
from alexnet_fast.export.layers import unknown_layer
from alexnet_fast.export.net_copy import evaluation_copy
from alexnet_fast.export.onnx.model import OPSET, build_model, describe_writer, write_model
from alexnet_fast.export.proof import Proof
from alexnet_fast.export.tensorrt.cache import EngineCache
from alexnet_fast.export.tensorrt.engine import BuiltEngine, build_engine
from alexnet_fast.export.tensorrt.library import choose_library
from alexnet_fast.export.verify import plain_rows
from alexnet_fast.runtime.manifest import TensorInfo, find_manifest
from alexnet_fast.runtime.metadata import GraphMetadata
from alexnet_fast.utils.atomic import put_in_place
from alexnet_fast.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import torch

    from alexnet_fast.export.config import ExportConfig, QuantScales
    from alexnet_fast.export.export_images import ExportImages
    from alexnet_fast.export.progress import Progress
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
        net: It returns logits; it is not changed. Who writes it, `onnx_graph.build_model` decides.
        spec: Sizes and normalisation that it was trained with.
        classes: Names of its outputs, in order.
        model_name: Name of the architecture.
        provenance: JSON values that say where the weights come from, without a time of day.
        images: To compare the files with PyTorch on, and to calibrate int8. Where there are none, they are
            compared on generated ones.
        config: What to write.
        progress: Told about each step of the calibration, the comparison and the engine's build.

    Returns:
        JSON values: onnx, engine, manifest (paths; engine may be None), verified (how near model.onnx is to
        PyTorch), seconds; further accuracy (with --verify, or in another precision than fp32, a row for each
        thing that was compared), calibration_images, stem (what the crops share in model.onnx and why no
        more, or why torch's exporter wrote it), crops, opset, precision, outputs, library,
        library_version, compute_capabilities, engine_onnx, engine_bytes, engine_seconds,
        engine_scratch_bytes, engine_cached (the kept engine that it is a copy of, or None), profiles,
        engine_onnx_verified (the graph inside the engine, run by onnxruntime),
        ran_on_gpu (whether the engine was among what was compared) and notes.

    Raises:
        UserError: The network, the options or the folder is wrong, or a file answers otherwise than PyTorch;
            nothing has changed.
    """
    start = time.perf_counter()
    _check_images(config, images)
    library = choose_library(config.gpu_archs) if config.trt else None
    final = OutputFiles(config.output, config.name)
    prepare_dir(final, trt=config.trt, force=config.force)
    metadata = _metadata(spec, classes, model_name, provenance, config)
    net = evaluation_copy(net)
    scales = _scales(net, spec, images, config, progress)
    with staging(final) as staged:
        source = _write_onnx(net, metadata, config, staged, scales)
        proof = Proof(net, spec, images, config, progress)
        proof.add_onnx(staged.onnx, "int8" if config.precision == "int8" else "fp32")
        if source != staged.onnx:
            proof.add_onnx(source, config.precision)
        built = None
        if library is not None:
            engine = dataclasses.replace(config.engine, tf32=config.precision == "tf32")
            cache = EngineCache() if config.engine_cache else None
            built = build_engine(source, staged.engine, library, engine, cache=cache, progress=progress)
            proof.add_engine(staged.engine)
        rows = plain_rows(proof.main.rows) if _measured(config, images) else None
        vouched = _write_manifest(built, metadata, staged, final, config, rows)
        notes = _publish(staged, final, vouched=vouched)
    return {
        **_describe_onnx(config, final, proof),
        "accuracy": rows,
        "stem": describe_writer(net, metadata),
        **_describe_engine(built, final, proof),
        "calibration_images": None if images.calibration is None else len(images.calibration),
        "notes": notes,
        "seconds": time.perf_counter() - start,
    }


def _check_images(config: ExportConfig, images: ExportImages) -> None:
    if config.verify and images.trial is None:
        raise UserError("--verify needs images", "give a folder of them", exit_code=2)
    if config.precision == "int8" and images.calibration is None:
        raise UserError(
            "--precision int8 needs images to calibrate on",
            "give the training data with --calibration-data DATA",
            exit_code=2,
        )


def _measured(config: ExportConfig, images: ExportImages) -> bool:
    """Whether the comparison is a measurement of the accuracy that was asked for."""
    return images.trial is not None and (config.verify or config.precision != "fp32")


def _scales(
    net: torch.nn.Module,
    spec: AugmentSpec,
    images: ExportImages,
    config: ExportConfig,
    progress: Progress | None,
) -> QuantScales | None:
    if config.precision != "int8" or images.calibration is None:
        return None
    return calibrate(net, spec, images.calibration, config.crops, progress=progress)


def _metadata(
    spec: AugmentSpec,
    classes: Sequence[str],
    model_name: str,
    provenance: Mapping[str, Any],
    config: ExportConfig,
) -> GraphMetadata:
    return GraphMetadata(
        classes=tuple(classes),
        spec=spec,
        model=model_name,
        crops=config.crops,
        version=__version__,
        provenance=provenance,
    )


def _write_onnx(
    net: torch.nn.Module,
    metadata: GraphMetadata,
    config: ExportConfig,
    files: OutputFiles,
    scales: QuantScales | None,
) -> Path:
    """Writes the portable file and, where the engine wants another one, that too; returns the engine's."""
    outputs: dict[str, Any] = {"extras": config.extras, "top": config.top}
    form = dataclasses.replace(CPU_CONFIG, **outputs)
    if scales is not None:
        form = dataclasses.replace(form, precision="int8", scales=scales)
    portable = build_model(net, metadata, form)
    write_model(portable, files.onnx)
    if not config.trt:
        return files.onnx
    if config.precision in ("fp32", "tf32") and unknown_layer(net) is not None:
        # torch's exporter has one form for both.
        return files.onnx
    tuned = build_model(net, metadata, dataclasses.replace(for_tensorrt(config.precision, scales), **outputs))
    # Networks without local response normalisation have one form for both too.
    if tuned.graph == portable.graph:
        return files.onnx
    write_model(tuned, files.engine_onnx)
    return files.engine_onnx


def _write_manifest(
    built: BuiltEngine | None,
    metadata: GraphMetadata,
    staged: OutputFiles,
    final: OutputFiles,
    config: ExportConfig,
    rows: list[dict[str, Any]] | None,
) -> bool:
    """Writes the manifest; returns whether it vouches for the engine that the folder will hold."""
    if built is not None:
        write_engine_manifest(built.manifest, staged, config.precision, rows)
        return True
    return write_onnx_manifest(metadata, staged, final, config.precision, rows)


def _publish(staged: OutputFiles, final: OutputFiles, *, vouched: bool) -> list[str]:
    """Moves the new files out; names older ones that stay."""
    notes = []
    for source, target in zip(staged.in_order(), final.in_order(), strict=True):
        if source.exists():
            put_in_place(source, target)
        elif target.exists():
            note = f"{target} is of an earlier export and was left as it is"
            stale = target == final.engine and not vouched
            notes.append(
                f"{note}; it needs --trt to be of this one, and will not be loaded" if stale else note
            )
    return notes


def _describe_onnx(config: ExportConfig, files: OutputFiles, proof: Proof) -> dict[str, Any]:
    return {
        "onnx": str(files.onnx),
        "onnx_bytes": files.onnx.stat().st_size,
        "manifest": str(files.manifest),
        "opset": OPSET,
        "crops": config.crops,
        "precision": config.precision,
        "outputs": [tensor.name for tensor in _outputs(files)],
        "verified": _checked(proof, files.onnx),
        "engine_onnx_verified": _checked(proof, files.engine_onnx),
    }


def _outputs(files: OutputFiles) -> tuple[TensorInfo, ...]:
    manifest = find_manifest(files.manifest)
    return () if manifest is None else manifest.outputs


def _checked(proof: Proof, file: Path) -> dict[str, Any] | None:
    """Says how far a file is from PyTorch, and on which images; None of one that was not run."""
    names = ("backend", "images", "max_abs_error", "p99_abs_error", "top1_agreement")
    for row in plain_rows(proof.main.rows):
        if row["name"] == file.name and row["not_measured"] is None:
            return {**{name: row[name] for name in names}, "source": proof.source}
    return None


def _describe_engine(built: BuiltEngine | None, files: OutputFiles, proof: Proof) -> dict[str, Any]:
    if built is None:
        return {"engine": None, "ran_on_gpu": False}
    manifest = built.manifest
    return {
        "engine": str(files.engine),
        "engine_onnx": str(files.directory / manifest.onnx.file),
        "engine_bytes": manifest.engine.bytes,
        "engine_seconds": built.seconds,
        "engine_scratch_bytes": built.scratch_bytes,
        "engine_cached": None if built.cached is None else str(built.cached),
        "library": manifest.library,
        "library_version": manifest.library_version,
        "compute_capabilities": list(manifest.compute_capabilities),
        "batch": dataclasses.asdict(manifest.batch),
        "profiles": [dataclasses.asdict(one) for one in manifest.profiles or (manifest.batch,)],
        "ran_on_gpu": _checked(proof, files.engine) is not None,
    }
