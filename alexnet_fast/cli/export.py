"""`alexnet-fast export`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alexnet_fast.cli import options
from alexnet_fast.cli.command import Result, answers, say
from alexnet_fast.cli.export_output import export_place
from alexnet_fast.cli.help_page import command
from alexnet_fast.cli.path_roles import NETWORK, PathOf
from alexnet_fast.cli.triton_options import check_repository, triton_lines, triton_options, write_triton
from alexnet_fast.cli.types import number
from alexnet_fast.errors import UserError
from alexnet_fast.utils.progress import progress_bar


class BuildLine:
    """One bar a phase of an engine's build."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._phase = ""

    def __call__(self, phase: str, step: int, steps: int) -> bool:
        """Shows the state of a phase; the build goes on."""
        if phase != self._phase:
            self.close()
            self._phase = phase
            self._bar = progress_bar(steps, phase[:40])
        self._bar.update(step - self._bar.n)
        return True

    def close(self) -> None:
        """Ends the line."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
            self._phase = ""


_HEAD = f"{'':20s} {'in':5s} {'top-1':>7s} {'top-5':>7s} {'same top-1':>11s} {'largest':>9s} {'99 %':>9s}"


def accuracy_lines(rows: list[dict[str, Any]] | None) -> list[str]:
    """Renders the rows of `export.accuracy.Trial`; nothing where nothing was compared."""
    if not rows:
        return []
    images = rows[0]["images"]
    head = ["", f"compared on {images} images; differences of a probability from PyTorch's", _HEAD]
    backends = [f"{row['name']}: {row['backend']}" for row in rows if row["backend"]]
    return [*head, *map(_line, rows), *backends]


def _line(row: dict[str, Any]) -> str:
    name = f"{row['name']:20s} {row['precision']:5s}"
    if row["not_measured"]:
        return f"{name} not measured: {row['not_measured']}"
    return (
        f"{name} {_share(row['top1'], 7)} {_share(row['top5'], 7)} {_share(row['top1_agreement'], 11)}"
        f" {row['max_abs_error']:9.1e} {row['p99_abs_error']:9.1e}"
    )


def _share(value: float | None, width: int) -> str:
    return f"{'-':>{width}s}" if value is None else f"{value:{width}.2%}"


if TYPE_CHECKING:
    from alexnet_fast.export.config import EngineConfig, ExportConfig
    from alexnet_fast.pipelines.ten_crop import Crops
    from alexnet_fast.serve.triton.repository import Variant

EXAMPLE = """\b
Examples:
  alexnet-fast export runs/first --onnx --verify
  alexnet-fast export runs/first --trt --gpu-arch 86,89 --precision fp16
  alexnet-fast export runs/first --trt --batch-profile latency --batch-profile throughput
  alexnet-fast export runs/first --precision int8 --output int8 --top-k 5
  alexnet-fast export runs/first --triton models
  alexnet-fast export alexnet.pth --model alexnet-owt --output exported
"""


def _table(result: Result) -> str:
    extra = f"; outputs: {', '.join(result['outputs'])}" if len(result["outputs"]) > 1 else ""
    lines = [f"ONNX       {result['onnx']} ({result['crops']}-crop graph, opset {result['opset']}{extra})"]
    lines.append(f"           {result['stem']}")
    if result["engine"]:
        archs = ", ".join(result["compute_capabilities"])
        lines += [
            f"engine     {result['engine']}"
            f" ({result['engine_bytes'] / 2**20:.0f} MiB, {result['precision']})",
            f"           built with {result['library']} {result['library_version']} for compute capability"
            f" {archs}; {'run' if result['ran_on_gpu'] else 'not run'} here",
            f"           {_scratch(result)}",
            *([f"           taken from {result['engine_cached']}"] if result["engine_cached"] else []),
        ]
    lines.append(f"manifest   {result['manifest']}")
    if result["calibration_images"]:
        lines.append(f"int8       steps from {result['calibration_images']} training images")
    lines.append(f"verified   {_verified(result['verified'])}")
    lines += triton_lines(result["triton"])
    return "\n".join(lines + accuracy_lines(result["accuracy"]))


def _verified(found: dict[str, Any]) -> str:
    """Says how near model.onnx is to PyTorch."""
    source = {"real": "", "calibration": "calibration ", "generated": "generated "}[found["source"]]
    return (
        f"on {found['images']} {source}images: largest difference from PyTorch's probabilities"
        f" {found['max_abs_error']:.1e}, same top-1 on {found['top1_agreement']:.0%}"
    )


def _scratch(result: Result) -> str:
    """Says what memory an engine needs, where its builder told."""
    found, batch = result["engine_scratch_bytes"], max(profile["max"] for profile in result["profiles"])
    if found is None:
        return f"for batches of up to {batch}"
    return f"needs {found / 2**20:.0f} MiB besides its weights for a batch of {batch}"


@command(epilog=EXAMPLE)
@click.argument("weights", metavar="RUN|WEIGHTS", type=PathOf(NETWORK))
@click.option("--model", help="Name of the network, for weights that do not say it.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR|FILE.onnx",
    help="Folder, or the ONNX file itself.  [default: the folder of the weights]",
)
@click.option("--onnx", is_flag=True, default=True, help="Write model.onnx; it always is.")
@click.option("--trt", is_flag=True, help="Build a TensorRT engine too.")
@options.crops("The graph that is written.  [default: ten crops where the net leaves room for them]")
@click.option("--logits", is_flag=True, help="Give the logits too.")
@click.option("--features", is_flag=True, help="Give what enters the last matrix product (fc7) too.")
@number("--top-k", metavar="N", help="Give the N likeliest classes too.")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "tf32", "fp16", "bf16", "int8"]),
    default="fp32",
    show_default=True,
    help="Of the engine; int8 also of model.onnx.",
)
@click.option(
    "--calibration-data",
    type=click.Path(path_type=Path),
    metavar="DATA",
    help="Training images for int8.  [default: those of the run]",
)
@number(
    "--calibration-images",
    default=200,
    show_default=True,
    help="How many of them.",
)
@click.option(
    "--gpu-arch",
    help="Compute capabilities to build for, such as 86,89.  [default: the GPU here, else 80,86,89,120]",
)
@number(
    "--max-batch-size",
    default=64,
    show_default=True,
    help="Of the engine, where --batch-profile does not say it.",
)
@click.option(
    "--batch-profile",
    "profiles",
    multiple=True,
    metavar="MIN,OPT,MAX",
    help="Batch sizes that the engine takes, OPT the likeliest; or latency, or throughput. May be repeated."
    "  [default: 1, 8 and --max-batch-size]",
)
@number("--workspace-mib", help="Most memory for one layer of the engine, in MiB.")
@number(
    "--builder-optimization-level",
    help="How long TensorRT looks for kernels: 0 builds fastest, 5 longest.  [default: TensorRT's own, 3]",
)
@click.option(
    "--engine-cache/--no-engine-cache",
    default=True,
    show_default=True,
    help="Take an engine that was built before from the same graph and options, and keep this one.",
)
@triton_options
@click.option("--verify", is_flag=True, help="Measure the accuracy beside PyTorch's on real images.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Images to compare on.  [default: the validation images of the run]",
)
@number(
    "--images",
    help="Images to compare on.  [default: 64 for --verify in fp32, 200 in another precision, else 8]",
)
@click.option(
    "--device",
    default="cpu",
    show_default=True,
    help="What runs the ONNX files in the comparison: cpu, cuda, cuda:N, tensorrt or auto.",
)
@options.allow_fallback
@click.option("--force", is_flag=True, help="Overwrite files that no export wrote.")
@answers(_table)
def export(weights: Path, model: str | None, crops: Crops | None, **given: Any) -> Result:
    """Write a network as ONNX, and as a TensorRT engine.

    The average over the crops is part of the graph. RUN is a run folder, WEIGHTS a checkpoint or a file of
    weights. The files are model.onnx, manifest.json and, with --trt, model.engine; if --output ends in .onnx
    or .engine, the files have that name. Every file is compared with PyTorch on at least 8 images, generated
    ones where there are none, and not written where it answers differently. In every precision but fp32 the
    accuracy on validation images is reported beside PyTorch's.
    """
    from alexnet_fast.cli.export_images import export_images
    from alexnet_fast.export.exporter import run_export
    from alexnet_fast.training.checkpoint.model_io import load_trained

    if given["triton"] is not None:
        check_repository(given["triton"])
    trained = load_trained(weights, model)
    config = _config(weights, crops or ("ten" if trained.spec.margin else "single"), given)
    line = BuildLine()
    try:
        result = run_export(
            trained.net,
            trained.spec,
            trained.classes,
            trained.model,
            trained.provenance,
            export_images(weights, trained, config, given),
            config,
            progress=line,
        )
    finally:
        line.close()
    for note in result["notes"]:
        say(note)
    directory, variant = given["triton"], given["triton_variant"]
    return {**result, "triton": [] if directory is None else _write_triton(result, directory, variant)}


def _write_triton(result: Result, repository: Path, variant: Variant) -> list[str]:
    """Writes a model repository from what was exported: the engine for the GPU, if there is one."""
    from alexnet_fast.serve.models import default_name
    from alexnet_fast.serve.triton.model_config import TritonConfig

    onnx, batching = Path(result["onnx"]), TritonConfig().batching
    if variant == "python" or not result["engine"]:
        return write_triton({default_name(onnx): onnx}, repository, variant)
    # Triton must not make batches that the engine does not take.
    most = min(batching.max_batch_size, max(profile["max"] for profile in result["profiles"]))
    config = TritonConfig(batching=dataclasses.replace(batching, max_batch_size=most))
    return write_triton({default_name(onnx): Path(result["engine"])}, repository, variant, config)


def _config(weights: Path, crops: Crops, given: dict[str, Any]) -> ExportConfig:
    """Returns the options as the export job takes them."""
    from alexnet_fast.export.config import ExportConfig

    archs = given["gpu_arch"]
    directory, name = export_place(given["output"], weights, trt=given["trt"])
    return ExportConfig(
        output=directory,
        name=name,
        crops=crops,
        trt=given["trt"],
        precision=given["precision"],
        extras=tuple(name for name in ("logits", "features") if given[name]),
        top=given["top_k"] or 0,
        gpu_archs=tuple(archs.split(",")) if archs else None,
        engine=_engine_config(given),
        engine_cache=given["engine_cache"],
        verify=given["verify"],
        device=given["device"],
        allow_fallback=given["allow_fallback"],
        force=given["force"],
    )


def _engine_config(given: dict[str, Any]) -> EngineConfig:
    """Returns how the engine is built.

    Raises:
        UserError: A profile makes no sense, or is given for no engine.
    """
    from alexnet_fast.export.config import EngineConfig, parse_profile

    if given["profiles"] and not given["trt"]:
        raise UserError("--batch-profile is for the engine, and none is built", "add --trt", exit_code=2)
    most = given["max_batch_size"]
    texts = given["profiles"] or (f"1,{min(8, most)},{most}",)
    return EngineConfig(
        profiles=tuple(parse_profile(text, most) for text in texts),
        workspace_mib=given["workspace_mib"],
        level=given["builder_optimization_level"],
    )
