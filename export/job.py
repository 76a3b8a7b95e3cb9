"""The whole export: ONNX, comparison with PyTorch, engine and manifest, all of them or none.

Everything is written into a hidden folder inside the output folder and moved out when all of it is done, the
manifest last. A failure leaves the files of an earlier export as they were.
"""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

from alexnet_fast import __version__
from alexnet_fast.errors import UserError
from alexnet_fast.export.engine import BuiltEngine, build_engine
from alexnet_fast.export.engine_cache import EngineCache
from alexnet_fast.export.graph_form import PORTABLE, for_tensorrt
from alexnet_fast.export.metadata import GraphMetadata
from alexnet_fast.export.net_layers import read_layers
from alexnet_fast.export.onnx_graph import OPSET, build_model, plan_for, write_model
from alexnet_fast.export.output_files import OutputFiles, prepare_folder, staging
from alexnet_fast.export.trt_library import choose_library
from alexnet_fast.export.verify import Pictures, Verification, verify_files

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import torch

    from alexnet_fast.export.export_config import ExportConfig
    from alexnet_fast.export.progress import Progress
    from alexnet_fast.pipelines.spec import AugmentSpec


def run_export(
    net: torch.nn.Module,
    spec: AugmentSpec,
    classes: Sequence[str],
    model_name: str,
    provenance: Mapping[str, Any],
    pictures_nhwc_u8: Pictures | None,
    config: ExportConfig,
    *,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Exports a network.

    Args:
        net: A sequential network that returns logits; it is not changed.
        spec: Sizes and normalisation that it was trained with.
        classes: Names of its outputs, in order.
        model_name: Name of the architecture.
        provenance: JSON values that say where the weights come from, without a time of day.
        pictures_nhwc_u8: uint8 (N, resize, resize, 3), RGB, to verify on; None without `config.verify`.
        config: What to write.
        progress: Told about each step of the comparison and of the engine's build.

    Returns:
        JSON values: onnx, engine, manifest (paths or None), verified (of model.onnx, or None), seconds;
        further stem (what the crops share in model.onnx, and why no more), crops, opset, precision, library,
        library_version, compute_capabilities, engine_onnx, engine_bytes, engine_seconds,
        engine_scratch_bytes, engine_cached (the kept engine that it is a copy of, or None), profiles,
        engine_onnx_verified (the graph inside the engine, run by onnxruntime),
        ran_on_gpu and notes.

    Raises:
        UserError: The network, the options, the folder or the result is wrong; nothing has changed.
    """
    start = time.perf_counter()
    if config.verify and pictures_nhwc_u8 is None:
        raise UserError("--verify needs pictures", "give a folder of them", exit_code=2)
    library = choose_library(config.gpu_archs) if config.trt else None
    final = OutputFiles(config.output)
    prepare_folder(final, trt=config.trt, force=config.force)
    metadata = _metadata(spec, classes, model_name, provenance, config)
    with staging(final) as staged:
        source = _write_onnx(net, metadata, config, staged)
        checks = {}
        if config.verify and pictures_nhwc_u8 is not None:
            files = list(dict.fromkeys([staged.onnx, source]))
            checks = _verify(files, net, spec, pictures_nhwc_u8, config, progress)
        built = None
        if library is not None:
            engine = dataclasses.replace(config.engine, tf32=config.precision == "tf32")
            cache = EngineCache() if config.engine_cache else None
            built = build_engine(source, staged.engine, library, engine, cache=cache, progress=progress)
        notes = _publish(staged, final)
    return {
        **_describe_onnx(config, final, checks),
        "stem": _describe_stem(net, metadata),
        **_describe_engine(built, config, final),
        "notes": notes,
        "seconds": time.perf_counter() - start,
    }


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
    net: torch.nn.Module, metadata: GraphMetadata, config: ExportConfig, files: OutputFiles
) -> Path:
    """Writes the portable file and, where the engine wants another one, that too; returns the engine's."""
    portable = build_model(net, metadata, PORTABLE)
    write_model(portable, files.onnx)
    if not config.trt:
        return files.onnx
    tuned = build_model(net, metadata, for_tensorrt(config.precision))
    # Networks without local response normalisation have one form for both.
    if tuned.graph == portable.graph:
        return files.onnx
    write_model(tuned, files.engine_onnx)
    return files.engine_onnx


def _verify(
    files: Sequence[Path],
    net: torch.nn.Module,
    spec: AugmentSpec,
    pictures: Pictures,
    config: ExportConfig,
    progress: Progress | None,
) -> dict[str, Verification]:
    """Compares each file with PyTorch and returns the results by file name.

    Raises:
        UserError: A file in float32 differs too much. Half precision is reported, not judged.
    """
    where: dict[str, Any] = {"device": config.device, "allow_fallback": config.allow_fallback}
    found = verify_files(files, net, spec, pictures, config.crops, progress=progress, **where)
    for file, check in zip(files, found, strict=True):
        judged = file.name == "model.onnx" or config.precision != "fp16"
        if judged and check.max_abs_error > config.tolerance:
            raise UserError(
                f"{file.name} is {check.max_abs_error:.2g} from PyTorch's probabilities, "
                f"more than {config.tolerance:g}",
                "nothing was written; please report this network",
            )
    return {file.name: check for file, check in zip(files, found, strict=True)}


def _publish(staged: OutputFiles, final: OutputFiles) -> list[str]:
    """Moves the new files out, each after those that it describes; names older ones that stay."""
    notes = []
    for source, target in zip(staged.in_order(), final.in_order(), strict=True):
        if source.exists():
            source.replace(target)
        elif target.exists():
            notes.append(f"{target} is of an earlier export and was left as it is")
    return notes


def _describe_stem(net: torch.nn.Module, metadata: GraphMetadata) -> str:
    """Says in a sentence what the crops share in model.onnx."""
    plan = plan_for(read_layers(net), metadata, PORTABLE)
    return "one crop" if plan is None else plan.describe()


def _describe_onnx(
    config: ExportConfig, files: OutputFiles, checks: Mapping[str, Verification]
) -> dict[str, Any]:
    plain = {name: dataclasses.asdict(check) for name, check in checks.items()}
    return {
        "onnx": str(files.onnx),
        "onnx_bytes": files.onnx.stat().st_size,
        "opset": OPSET,
        "crops": config.crops,
        "verified": plain.get(files.onnx.name),
        "engine_onnx_verified": plain.get(files.engine_onnx.name),
    }


def _describe_engine(built: BuiltEngine | None, config: ExportConfig, files: OutputFiles) -> dict[str, Any]:
    if built is None:
        return {"engine": None, "manifest": None, "ran_on_gpu": False}
    manifest = built.manifest
    return {
        "engine": str(files.engine),
        "manifest": str(files.manifest),
        "engine_onnx": str(files.folder / manifest.onnx.file),
        "engine_bytes": manifest.engine.bytes,
        "engine_seconds": built.seconds,
        "engine_scratch_bytes": built.scratch_bytes,
        "engine_cached": None if built.cached is None else str(built.cached),
        "precision": config.precision,
        "library": manifest.library,
        "library_version": manifest.library_version,
        "compute_capabilities": list(manifest.compute_capabilities),
        "batch": dataclasses.asdict(manifest.batch),
        "profiles": [dataclasses.asdict(one) for one in manifest.profiles or (manifest.batch,)],
        "ran_on_gpu": built.ran_on_gpu,
    }
