"""`alexnet-fast export`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alexnet_fast.cli import options
from alexnet_fast.cli.command import Result, answers, say
from alexnet_fast.cli.commands.export_output import export_place
from alexnet_fast.cli.help_page import command
from alexnet_fast.cli.path_roles import NETWORK, PathOf
from alexnet_fast.cli.triton_options import check_repository, triton_lines, triton_options, write_triton
from alexnet_fast.cli.types import number
from alexnet_fast.errors import UserError
from alexnet_fast.utils.progress import progress_bar


class BuildLine:
    """Shows one progress bar per phase of an export."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._phase = ""

    def __call__(self, phase: str, step: int, steps: int) -> bool:
        """Shows the state of a phase; returns True, which continues the build."""
        if phase != self._phase:
            self.close()
            self._phase = phase
            self._bar = progress_bar(steps, phase[:40])
        self._bar.update(step - self._bar.n)
        return True

    def close(self) -> None:
        """Closes the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
            self._phase = ""


_HEAD = f"{'':20s} {'in':5s} {'top-1':>7s} {'top-5':>7s} {'same top-1':>11s} {'largest':>9s} {'99 %':>9s}"


def accuracy_lines(rows: list[dict[str, Any]] | None) -> list[str]:
    """Renders the rows of `export.verify.Verifier`; no lines if nothing was measured."""
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
    """Returns the memory that an engine needs, if its builder reported it."""
    size, batch = result["engine_scratch_bytes"], max(profile["max"] for profile in result["profiles"])
    if size is None:
        return f"for batches of up to {batch}"
    return f"needs {size / 2**20:.0f} MiB besides its weights for a batch of {batch}"


@command(epilog=EXAMPLE)
@click.argument("weights", metavar="RUN|WEIGHTS", type=PathOf(NETWORK))
@click.option("--model", help="Name of the network, for weight files that do not contain it.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR|FILE.onnx",
    help="Output folder, or the ONNX file itself.  [default: the folder of the weights]",
)
@click.option("--onnx", is_flag=True, default=True, help="Write model.onnx (always on).")
@click.option("--trt", is_flag=True, help="Also build a TensorRT engine.")
@options.crops("Crops that the graph averages over.  [default: ten, if the images leave room for them]")
@click.option("--logits", is_flag=True, help="Add the logits as an output.")
@click.option("--features", is_flag=True, help="Add the input of the last matrix product (fc7) as an output.")
@number("--top-k", metavar="N", help="Add the top N classes and their probabilities as outputs.")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "tf32", "fp16", "bf16", "int8"]),
    default="fp32",
    show_default=True,
    help="Precision of the engine; int8 applies to model.onnx too.",
)
@click.option(
    "--calibration-data",
    type=click.Path(path_type=Path),
    metavar="DATA",
    help="Training images to calibrate int8.  [default: those of the run]",
)
@number(
    "--calibration-images",
    default=200,
    show_default=True,
    help="Number of calibration images.",
)
@click.option(
    "--gpu-arch",
    help="GPU architectures to build for, such as 86,89.  [default: the GPU here, else 80,86,89,120]",
)
@number(
    "--max-batch-size",
    default=64,
    show_default=True,
    help="Largest batch of the engine, unless --batch-profile sets it.",
)
@click.option(
    "--batch-profile",
    "profiles",
    multiple=True,
    metavar="MIN,OPT,MAX",
    help="Batch sizes of the engine, tuned for OPT; or latency, or throughput; repeatable."
    "  [default: 1, 8 and --max-batch-size]",
)
@number("--workspace-mib", help="Memory limit of one layer of the engine, in MiB.")
@number(
    "--builder-optimization-level",
    help="Effort of TensorRT's search for kernels, 0 (fastest build) to 5.  [default: TensorRT's own, 3]",
)
@click.option(
    "--engine-cache/--no-engine-cache",
    default=True,
    show_default=True,
    help="Reuse an engine built from the same graph and options, and keep this one.",
)
@triton_options
@click.option("--verify", is_flag=True, help="Measure the accuracy on real images, beside PyTorch's.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Data set to compare on.  [default: the validation images of the run]",
)
@number(
    "--images",
    help="Number of images to compare on.  [default: 8; to measure accuracy 64 in fp32, else 200]",
)
@click.option(
    "--device",
    default="cpu",
    show_default=True,
    help="Device that runs the ONNX files in the comparison: cpu, cuda, cuda:N, tensorrt or auto.",
)
@options.allow_fallback
@click.option("--force", is_flag=True, help="Also overwrite files that no export wrote.")
@answers(_table)
def export(weights: Path, model: str | None, crops: Crops | None, **arguments: Any) -> Result:
    """Export a network as an ONNX file and a TensorRT engine.

    The graph contains the average over the crops. RUN is a run folder, WEIGHTS a checkpoint or a file of
    weights. The files are model.onnx, manifest.json and, with --trt, model.engine; if --output ends in .onnx
    or .engine, they have that name. Every file is compared with PyTorch on at least 8 images (generated ones
    if there are no others), and is not written if its answers differ. In every precision but fp32 the
    accuracy on validation images is reported beside PyTorch's.
    """
    from alexnet_fast.cli.commands.export_images import export_images
    from alexnet_fast.export.exporter import run_export
    from alexnet_fast.training.checkpoint.model_io import load_trained

    if arguments["triton"] is not None:
        check_repository(arguments["triton"])
    trained = load_trained(weights, model)
    config = _config(weights, crops or ("ten" if trained.spec.margin else "single"), arguments)
    line = BuildLine()
    try:
        result = run_export(
            trained.net,
            trained.spec,
            trained.classes,
            trained.model,
            trained.provenance,
            export_images(weights, trained, config, arguments),
            config,
            progress=line,
        )
    finally:
        line.close()
    for note in result["notes"]:
        say(note)
    directory, variant = arguments["triton"], arguments["triton_variant"]
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


def _config(weights: Path, crops: Crops, arguments: dict[str, Any]) -> ExportConfig:
    """Returns the options as `run_export` takes them."""
    from alexnet_fast.export.config import ExportConfig

    archs = arguments["gpu_arch"]
    directory, name = export_place(arguments["output"], weights, trt=arguments["trt"])
    return ExportConfig(
        output=directory,
        name=name,
        crops=crops,
        trt=arguments["trt"],
        precision=arguments["precision"],
        extras=tuple(name for name in ("logits", "features") if arguments[name]),
        top=arguments["top_k"] or 0,
        gpu_archs=tuple(archs.split(",")) if archs else None,
        engine=_engine_config(arguments),
        engine_cache=arguments["engine_cache"],
        verify=arguments["verify"],
        device=arguments["device"],
        allow_fallback=arguments["allow_fallback"],
        force=arguments["force"],
    )


def _engine_config(arguments: dict[str, Any]) -> EngineConfig:
    """Returns the options of the engine.

    Raises:
        UserError: A profile is not valid, or no engine is built.
    """
    from alexnet_fast.export.config import EngineConfig, parse_profile

    if arguments["profiles"] and not arguments["trt"]:
        raise UserError("--batch-profile is for the engine, and none is built", "add --trt", exit_code=2)
    most = arguments["max_batch_size"]
    texts = arguments["profiles"] or (f"1,{min(8, most)},{most}",)
    return EngineConfig(
        profiles=tuple(parse_profile(text, most) for text in texts),
        workspace_mib=arguments["workspace_mib"],
        level=arguments["builder_optimization_level"],
    )
