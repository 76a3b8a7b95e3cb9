"""`alexnet-fast doctor`."""

from __future__ import annotations

from alexnet_fast.cli.command import Result, answers
from alexnet_fast.cli.help_page import command

EXAMPLE = """\b
Examples:
  alexnet-fast doctor
  alexnet-fast doctor --json
"""

_MEANING = {
    "torch": "train and evaluate on the CPU",
    "dali": "load images with DALI on the CPU",
    "dali_gpu": "load images with DALI on the GPU",
    "cuda": "train on the GPU",
    "onnxruntime": "run exported ONNX files on the CPU",
    "onnxruntime_cuda": "run exported ONNX files on the GPU",
    "tensorrt": "run TensorRT engines",
    "tensorrt_build": "build TensorRT engines",
    "triton": "serve with Triton",
}


def _table(result: Result) -> str:
    lines = [f"Python {result['python']}, {result['cpu']['name']}, {result['cpu']['cores']} cores"]
    lines += [
        f"GPU {gpu['name']}, compute capability {gpu['compute_capability']},"
        f" {gpu['memory_bytes'] / 2**30:.0f} GiB"
        for gpu in result["gpu"]
    ] or ["no GPU"]
    lines += ["", "Packages"]
    lines += [f"  {name:22s} {version or 'not installed'}" for name, version in result["packages"].items()]
    lines += ["", "This machine can"]
    problems = {problem["part"]: problem for problem in result["problems"]}
    shown = set()
    for part, works in result["can"].items():
        lines.append(f"  {'yes' if works else 'no ':3s} {_MEANING[part]}")
        if part in problems:
            what, hint = problems[part]["what"], problems[part]["hint"]
            # One missing driver causes several of them.
            lines.append(f"        {hint if what in shown else f'{what}; {hint}'}")
            shown.add(what)
    return "\n".join(lines)


def _failed(result: Result) -> bool:
    from alexnet_fast.doctor import REQUIRED

    return not all(result["can"][part] for part in REQUIRED)


@command(epilog=EXAMPLE)
@answers(_table, failed=_failed)
def doctor() -> Result:
    """Check this machine and show how to fix what is missing.

    Each part is tried: an image is decoded, a graph is run, an engine is built. The exit code is 1 if the
    main job (train, evaluate, predict, export to ONNX) cannot run.
    """
    from alexnet_fast.doctor import examine

    return examine()
