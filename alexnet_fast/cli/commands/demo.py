"""`alexnet-fast demo`."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import click

from alexnet_fast.cli import options
from alexnet_fast.cli.command import Result, answers, say
from alexnet_fast.cli.help_page import command
from alexnet_fast.training.console import EpochLine

EXAMPLE = """\b
Examples:
  alexnet-fast demo
  alexnet-fast demo --output /tmp/cells --json
"""


def _table(result: Result) -> str:
    rows = [
        ("ten-crop top-1", f"{result['ten_crop']['top1']:.3f}", f"majority class {result['majority']:.3f}"),
        ("single-crop top-1", f"{result['single_crop']['top1']:.3f}", f"{result['images']} test images"),
        (
            "training",
            f"{result['images_per_second']:.0f} images/s",
            f"{result['model']} on {result['device']}",
        ),
        ("ONNX", result["onnx"], f"within {result['max_abs_error']:.0e} of PyTorch"),
        ("engine", result["engine"] or "none", result["engine_note"]),
        ("time", f"{result['seconds']:.0f} s", result["time_note"]),
        ("report", result["report"], ""),
    ]
    return "\n".join(f"{name:18s} {value:34s} {note}".rstrip() for name, value, note in rows)


@command(epilog=EXAMPLE)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("runs/demo"),
    show_default=True,
    help="Folder.",
)
@options.device
@options.dali
@options.workers
@answers(_table)
def demo(output: Path, device: str, dali: bool, workers: int) -> Result:
    """Run the main job on real images, from files to a report page.

    Trains a network on 2,624 photographs of solar cells, which the extra `demo` installs, to classify their
    kind of crystal; exports it as an ONNX file and a TensorRT engine; and writes a report. This takes a few
    minutes; an interrupted run is resumed.
    """
    from alexnet_fast.demo.report import majority, write_page
    from alexnet_fast.demo.run import demo_config, run_demo

    trt = any(importlib.util.find_spec(name) for name in ("tensorrt", "tensorrt_rtx"))
    line = EpochLine()
    try:
        result = run_demo(
            demo_config(output, device=device, workers=workers, dali=dali), trt=trt, log=say, on_progress=line
        )
    finally:
        line.close()
    report = output / "report.html"
    write_page(report, result)
    exported = result.exported
    return {
        "run": str(result.config.run),
        "single_crop": {"top1": result.single.top1, "top5": result.single.top5},
        "ten_crop": {"top1": result.ten.top1, "top5": result.ten.top5},
        "onnx": exported["onnx"],
        "engine": exported["engine"],
        "report": str(report),
        "seconds": result.seconds,
        "time_note": result.time_note,
        "images": result.evaluation.images,
        "majority": majority(result),
        "model": result.trained.model,
        "device": result.training["device"],
        "images_per_second": result.training["images_per_second"],
        "max_abs_error": exported["verified"]["max_abs_error"],
        "engine_note": _engine_note(exported),
    }


def _engine_note(exported: Result) -> str:
    """Returns the GPUs that the engine is for, and whether it has been run here."""
    if not exported["engine"]:
        return "TensorRT is not installed: pip install 'alexnet-fast[rtx]'"
    archs = ", ".join(exported["compute_capabilities"])
    return f"for compute capability {archs}; {'run' if exported['ran_on_gpu'] else 'not run'} here"
