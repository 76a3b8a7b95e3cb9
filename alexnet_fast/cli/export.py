"""`alexnet-fast export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alexnet_fast.cli import options
from alexnet_fast.cli.command import Result, answers, say
from alexnet_fast.cli.progress import BuildLine
from alexnet_fast.errors import UserError

if TYPE_CHECKING:
    from alexnet_fast.export.engine_config import EngineConfig
    from alexnet_fast.pipelines.crops import Crops
    from alexnet_fast.pipelines.pillow_image import Pixels
    from alexnet_fast.training.trained import Trained

EXAMPLE = """\b
Examples:
  alexnet-fast export runs/first --onnx --verify
  alexnet-fast export runs/first --trt --gpu-arch 86,89 --precision fp16
  alexnet-fast export runs/first --trt --profile latency --profile throughput --builder-level 5
  alexnet-fast export alexnet.pth --model alexnet-owt --output exported
"""


def _table(result: Result) -> str:
    lines = [f"ONNX       {result['onnx']} ({result['crops']}-crop graph, opset {result['opset']})"]
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
            f"manifest   {result['manifest']}",
        ]
    check = result["verified"]
    if check:
        lines.append(
            f"verified   {check['backend']} against PyTorch on {check['images']} pictures: largest difference"
            f" {check['max_abs_error']:.1e}, same top-1 {check['top1_agreement']:.2%}"
        )
    return "\n".join(lines)


def _scratch(result: Result) -> str:
    """Says what memory an engine needs, where its builder told."""
    found, batch = result["engine_scratch_bytes"], max(profile["max"] for profile in result["profiles"])
    if found is None:
        return f"for batches of up to {batch}"
    return f"needs {found / 2**20:.0f} MiB besides its weights for a batch of {batch}"


@click.command(epilog=EXAMPLE)
@click.argument("weights", metavar="RUN|WEIGHTS", type=click.Path(path_type=Path))
@click.option("--model", help="Name of the network, for weights that do not say it.")
@click.option(
    "--output", type=click.Path(path_type=Path), help="Folder to write to.  [default: that of the weights]"
)
@click.option("--onnx", is_flag=True, default=True, help="Write model.onnx; it always is.")
@click.option("--trt", is_flag=True, help="Build a TensorRT engine too, with its manifest.")
@options.crops("The graph that is written.  [default: ten crops where the net leaves room for them]")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "tf32", "fp16"]),
    default="fp32",
    show_default=True,
    help="Of the engine.",
)
@click.option(
    "--gpu-arch",
    help="Compute capabilities to build for, such as 86,89.  [default: the GPU here, else 80,86,89,120]",
)
@click.option(
    "--max-batch",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="Of the engine, where --profile does not say it.",
)
@click.option(
    "--profile",
    "profiles",
    multiple=True,
    metavar="MIN,OPT,MAX",
    help="Batch sizes that the engine takes, OPT the likeliest; or latency, or throughput. May be repeated."
    "  [default: 1, 8 and --max-batch]",
)
@click.option(
    "--workspace", type=click.IntRange(min=1), help="Most memory for one layer of the engine, in MiB."
)
@click.option(
    "--builder-level",
    type=click.IntRange(0, 5),
    help="How long TensorRT looks for kernels: 0 builds fastest, 5 longest.  [default: TensorRT's own, 3]",
)
@click.option(
    "--engine-cache/--no-engine-cache",
    default=True,
    show_default=True,
    help="Take an engine that was built before from the same graph and options, and keep this one.",
)
@click.option("--verify", is_flag=True, help="Compare with PyTorch on real pictures; fail where they differ.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Pictures to verify on.  [default: the validation pictures of the run]",
)
@click.option(
    "--images", type=click.IntRange(min=1), default=64, show_default=True, help="Pictures to verify on."
)
@click.option(
    "--device",
    default="cpu",
    show_default=True,
    help="What runs the ONNX files in --verify: cpu, cuda, cuda:N, tensorrt or auto.",
)
@options.allow_fallback
@click.option("--force", is_flag=True, help="Overwrite files that no export wrote.")
@answers(_table)
def export(weights: Path, model: str | None, ten_crop: bool | None, **given: Any) -> Result:
    """Write a network as ONNX, and as a TensorRT engine.

    The average over ten crops is part of the graph. RUN is a run folder, WEIGHTS a checkpoint or a file of
    weights. The files are model.onnx and, with --trt, model.engine and manifest.json.
    """
    from alexnet_fast.export.job import run_export
    from alexnet_fast.training.trained import load_trained

    trained = load_trained(weights, model)
    pictures = _pictures(weights, trained, given["data"], given["images"]) if given["verify"] else None
    line = BuildLine()
    try:
        result = run_export(
            trained.net,
            trained.spec,
            trained.classes,
            trained.model,
            trained.provenance,
            pictures,
            _config(weights, _crops(trained, ten_crop), given),
            progress=line,
        )
    finally:
        line.close()
    for note in result["notes"]:
        say(note)
    return result


def _config(weights: Path, crops: Crops, given: dict[str, Any]) -> Any:
    """Returns the options as the export job takes them."""
    from alexnet_fast.export.export_config import ExportConfig

    archs = given["gpu_arch"]
    return ExportConfig(
        output=given["output"] or (weights if weights.is_dir() else weights.parent),
        crops=crops,
        trt=given["trt"],
        precision=given["precision"],
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
    from alexnet_fast.export.engine_config import EngineConfig, parse_profile

    if given["profiles"] and not given["trt"]:
        raise UserError("--profile is for the engine, and none is built", "add --trt", exit_code=2)
    most = given["max_batch"]
    texts = given["profiles"] or (f"1,{min(8, most)},{most}",)
    return EngineConfig(
        profiles=tuple(parse_profile(text, most) for text in texts),
        workspace_mib=given["workspace"],
        level=given["builder_level"],
    )


def _crops(trained: Trained, ten_crop: bool | None) -> Crops:
    """Returns the crops that were asked for, or those that the net has room for."""
    return options.chosen_crops(ten_crop) or ("ten" if trained.spec.margin else "single")


def _pictures(weights: Path, trained: Trained, data: Path | None, images: int) -> Pixels:
    """Returns pictures to verify on.

    Raises:
        UserError: None are named, or they are not there.
    """
    from alexnet_fast.data import ClassMap, open_part
    from alexnet_fast.pipelines.squares import sample_squares
    from alexnet_fast.toml_file import read_toml
    from alexnet_fast.training.run_folder import RunFolder

    config = RunFolder(weights).config
    if data is None and config.exists():
        data = Path(read_toml(config)["data"])
    if data is None:
        raise UserError(
            "--verify needs pictures", "give --data DIR, a data set with the same classes", exit_code=2
        )
    fraction = trained.provenance.get("val_fraction", 0.1)
    part = open_part(data, "val", ClassMap(trained.classes), val_fraction=fraction)
    return sample_squares(part, trained.spec, images)
