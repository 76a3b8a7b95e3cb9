"""Checks what this machine can run, by trying each part instead of looking for a package."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alexnet_fast.errors import UserError
from alexnet_fast.version import __version__

if TYPE_CHECKING:
    from alexnet_fast.export.tensorrt.library import TrtLibrary

PACKAGES = (
    "torch",
    "nvidia-dali-cuda120",
    "onnx",
    "onnxruntime-gpu",
    "tensorrt",
    "tensorrt-rtx",
    "numpy",
    "pillow",
    "safetensors",
    "tensorboard",
    "matplotlib",
    "elpv-dataset",
    "grpcio",
    "starlette",
    "uvicorn",
)

# The main job (train, evaluate, predict, export) needs these.
REQUIRED = ("torch", "dali", "onnxruntime")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """The outcome of a check.

    Args:
        works: Whether the part works.
        what: The problem, in a sentence; None if the part works.
        hint: How to fix it.
    """

    works: bool
    what: str | None = None
    hint: str = ""


def examine() -> dict[str, Any]:
    """Checks everything and returns the object that `alexnet-fast doctor --json` prints."""
    from alexnet_fast.runtime.cuda import driver_problem

    no_gpu = driver_problem()
    findings = {
        name: Finding(works=False, what=no_gpu, hint=_WITHOUT_GPU[name])
        if no_gpu and name in _WITHOUT_GPU
        else attempt(name, check)
        for name, check in _CHECKS.items()
    }
    return {
        **examine_machine(),
        "can": {name: finding.works for name, finding in findings.items()},
        "problems": [
            {"part": name, "what": finding.what, "hint": finding.hint}
            for name, finding in findings.items()
            if not finding.works
        ],
    }


def examine_machine() -> dict[str, Any]:
    """Returns hardware and versions, without which no figure has a meaning."""
    from alexnet_fast.runtime.cuda import gpus

    return {
        "python": platform.python_version(),
        # The metadata of an editable installation hold the version of the day when it was installed.
        "packages": {"alexnet-fast": __version__, **{name: _version(name) for name in PACKAGES}},
        "cpu": {"cores": len(os.sched_getaffinity(0)), "name": _processor()},
        "gpu": [dataclasses.asdict(gpu) for gpu in gpus()],
    }


def attempt(name: str, check: Callable[[], Finding]) -> Finding:
    """Runs one check; any exception of a broken installation becomes a finding.

    Args:
        name: Name of the part.
        check: Tries it.
    """
    try:
        finding = check()
    except UserError as error:
        return Finding(works=False, what=error.problem, hint=error.hint)
    except Exception as error:  # noqa: BLE001 - a broken installation may raise anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return Finding(works=False, what=f"{name} fails: {reason}", hint=_REINSTALL)
    if finding.works or finding.what is not None:
        return finding
    return Finding(works=False, what=f"{name} runs and gives a wrong result", hint=_REINSTALL)


_REINSTALL = "pip install --force-reinstall alexnet-fast"


def _torch() -> Finding:
    """Multiplies two matrices on the CPU."""
    import torch

    return Finding(works=bool((torch.ones(2, 2) @ torch.ones(2, 2) == 2).all()))


def _cuda() -> Finding:
    """Multiplies two matrices on the GPU."""
    import torch

    if not torch.cuda.is_available():
        return Finding(
            works=False,
            what=f"torch {torch.__version__} cannot use the GPU",
            hint="install a torch built for this driver's CUDA (https://pytorch.org/get-started)",
        )
    ones = torch.ones(2, 2, device="cuda")
    return Finding(works=bool((ones @ ones == 2).all()))


def _dali() -> Finding:
    """Decodes an image on the CPU."""
    return Finding(works=_decodes("cpu"))


def _dali_gpu() -> Finding:
    """Decodes an image on the GPU."""
    return Finding(works=_decodes("cuda"))


def _decodes(device: str) -> bool:
    """Runs one image through the loader that training uses."""
    import torch
    from PIL import Image

    from alexnet_fast.data import ClassMap, ImageList
    from alexnet_fast.pipelines.factory import make_loader
    from alexnet_fast.pipelines.loader import LoaderConfig
    from alexnet_fast.pipelines.sampler import EpochSampler
    from alexnet_fast.pipelines.spec import AugmentSpec

    with tempfile.TemporaryDirectory() as directory:
        Image.new("RGB", (40, 30), (255, 0, 0)).save(Path(directory) / "red.png")
        images = ImageList(
            root=Path(directory), names=("red.png",), labels=(0,), classes=ClassMap(("red", "blue"))
        )
        loader = make_loader(
            images,
            AugmentSpec(resize=16, crop=8),
            "square",
            EpochSampler(num_images=1, batch_size=1, shuffle=False),
            LoaderConfig(device=torch.device(device), workers=1),
        )
        (batch,) = list(loader.epoch(0))
    return bool((batch.images.cpu() == torch.tensor([255, 0, 0], dtype=torch.uint8)).all())


def _onnxruntime() -> Finding:
    """Runs a graph of one node on the CPU."""
    return Finding(works=_runs_graph("CPUExecutionProvider"))


def _onnxruntime_cuda() -> Finding:
    """Runs a graph of one node with the CUDA provider, and checks that the session kept it."""
    if _runs_graph("CUDAExecutionProvider"):
        return Finding(works=True)
    return Finding(
        works=False,
        what="onnxruntime falls back to the CPU: its CUDA provider does not load",
        hint="install the CUDA and cuDNN libraries that this onnxruntime-gpu was built for",
    )


def _runs_graph(provider: str) -> bool:
    """Squares a number in onnxruntime."""
    import numpy as np
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    session = onnxruntime.InferenceSession(_tiny_graph(), providers=[provider])
    if provider not in session.get_providers():
        return False
    (square,) = session.run(None, {"x": np.array([3.0], np.float32)})
    return bool(square == 9.0)


def _tiny_graph() -> bytes:
    """Returns an ONNX model of x * x."""
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch"]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Mul", ["x", "x"], ["y"])], "square", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    data: bytes = model.SerializeToString()
    return data


def _tensorrt_build() -> Finding:
    """Builds an engine of one node."""
    _, plan = _tiny_engine()
    return Finding(works=len(plan) > 0)


def _tensorrt() -> Finding:
    """Loads an engine."""
    library, plan = _tiny_engine()
    trt = library.module
    if trt.Runtime(trt.Logger(trt.Logger.ERROR)).deserialize_cuda_engine(plan) is not None:
        return Finding(works=True)
    return Finding(
        works=False,
        what=f"{library.name} {library.version} cannot load its own engine",
        hint="update the driver",
    )


def _tiny_engine() -> tuple[TrtLibrary, Any]:
    """Returns the TensorRT library and an engine of x * x."""
    from alexnet_fast.export.config import EngineConfig
    from alexnet_fast.export.tensorrt.build import build_plan
    from alexnet_fast.export.tensorrt.library import choose_library

    library = choose_library()
    return library, build_plan(_tiny_graph(), "a graph of one node", library, EngineConfig()).plan


def _triton() -> Finding:
    """Runs Triton's server with --help."""
    server = shutil.which("tritonserver")
    if server is None:
        return Finding(
            works=False, what="no tritonserver on the PATH", hint="needed for serving on many machines only"
        )
    done = subprocess.run([server, "--help"], capture_output=True, check=False, timeout=60)
    if done.returncode == 0:
        return Finding(works=True)
    return Finding(works=False, what="tritonserver does not start", hint="run it by hand")


# What to do without a GPU; these checks need one.
_WITHOUT_GPU = {
    "dali_gpu": "until then DALI decodes on the CPU",
    "cuda": "install NVIDIA's driver, or use --device cpu",
    "onnxruntime_cuda": "until then onnxruntime runs on the CPU",
    "tensorrt": "engines are built here and run on a machine with a GPU",
}
_CHECKS: dict[str, Callable[[], Finding]] = {
    "torch": _torch,
    "dali": _dali,
    "dali_gpu": _dali_gpu,
    "cuda": _cuda,
    "onnxruntime": _onnxruntime,
    "onnxruntime_cuda": _onnxruntime_cuda,
    "tensorrt": _tensorrt,
    "tensorrt_build": _tensorrt_build,
    "triton": _triton,
}


def _version(package: str) -> str | None:
    """Returns the installed version of a package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    """Returns the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
