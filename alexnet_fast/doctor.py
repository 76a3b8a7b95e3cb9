"""What this machine can run: each answer comes from trying it, not from looking for a package."""

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
from typing import Any

from alexnet_fast.errors import UserError
from alexnet_fast.version import __version__

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

# What the main job (train, evaluate, predict, export) cannot do without.
REQUIRED = ("torch", "dali", "onnxruntime")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """The outcome of trying something.

    Args:
        works: Whether it did.
        what: Why not, in a sentence; None where it works.
        hint: What to do about it.
    """

    works: bool
    what: str | None = None
    hint: str = ""


def examine() -> dict[str, Any]:
    """Tries everything and returns what `alexnet-fast doctor --json` prints."""
    from alexnet_fast.runtime.cuda import driver_problem

    no_gpu = driver_problem()
    findings = {name: attempt(name, check, no_gpu) for name, check in _CHECKS.items()}
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
    """Returns hardware and versions: what every figure has to be read with."""
    from alexnet_fast.runtime.cuda import gpus

    return {
        "python": platform.python_version(),
        # Not asked of the installation: that of a checkout says what the version was when it was installed.
        "packages": {"alexnet-fast": __version__, **{name: _version(name) for name in PACKAGES}},
        "cpu": {"cores": len(os.sched_getaffinity(0)), "name": _processor()},
        "gpu": [dataclasses.asdict(gpu) for gpu in gpus()],
    }


def attempt(name: str, check: Callable[[str | None], Finding], no_gpu: str | None) -> Finding:
    """Runs one check; whatever a broken installation raises becomes a finding.

    Args:
        name: What is tried.
        check: Tries it; told why there is no GPU, or None.
        no_gpu: That reason.
    """
    try:
        found = check(no_gpu)
    except UserError as error:
        return Finding(works=False, what=error.problem, hint=error.hint)
    except Exception as error:  # noqa: BLE001 - a doctor must outlive every illness that it meets
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return Finding(works=False, what=f"{name} fails: {reason}", hint=_REINSTALL)
    if found.works or found.what is not None:
        return found
    return Finding(works=False, what=f"{name} runs, and its answer is wrong", hint=_REINSTALL)


_REINSTALL = "pip install --force-reinstall alexnet-fast"


def _torch(no_gpu: str | None) -> Finding:
    """Multiplies two matrices on the CPU."""
    del no_gpu
    import torch

    return Finding(works=bool((torch.ones(2, 2) @ torch.ones(2, 2) == 2).all()))


def _cuda(no_gpu: str | None) -> Finding:
    """Multiplies two matrices on the GPU."""
    import torch

    if no_gpu:
        return Finding(works=False, what=no_gpu, hint="install NVIDIA's driver, or go on with --device cpu")
    if not torch.cuda.is_available():
        return Finding(
            works=False,
            what=f"torch {torch.__version__} cannot use the GPU",
            hint="install a torch built for this driver's CUDA (https://pytorch.org/get-started)",
        )
    ones = torch.ones(2, 2, device="cuda")
    return Finding(works=bool((ones @ ones == 2).all()))


def _dali(no_gpu: str | None) -> Finding:
    """Decodes an image on the CPU."""
    del no_gpu
    return Finding(works=_decodes("cpu"))


def _dali_gpu(no_gpu: str | None) -> Finding:
    """Decodes an image on the GPU."""
    if no_gpu:
        return Finding(works=False, what=no_gpu, hint="DALI decodes on the CPU meanwhile")
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


def _onnxruntime(no_gpu: str | None) -> Finding:
    """Runs a graph of one node on the CPU."""
    del no_gpu
    return Finding(works=_runs_graph("CPUExecutionProvider"))


def _onnxruntime_cuda(no_gpu: str | None) -> Finding:
    """Runs a graph of one node with the CUDA provider, and asks the session whether it was."""
    if no_gpu:
        return Finding(works=False, what=no_gpu, hint="onnxruntime runs on the CPU meanwhile")
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
    (answer,) = session.run(None, {"x": np.array([3.0], np.float32)})
    return bool(answer == 9.0)


def _tiny_graph() -> bytes:
    """Returns an ONNX model of x * x."""
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch"]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Mul", ["x", "x"], ["y"])], "square", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    data: bytes = model.SerializeToString()
    return data


def _tensorrt_build(no_gpu: str | None) -> Finding:
    """Builds an engine of one node."""
    del no_gpu
    from alexnet_fast.export.config import EngineConfig
    from alexnet_fast.export.tensorrt.build import build_plan
    from alexnet_fast.export.tensorrt.library import choose_library

    built = build_plan(_tiny_graph(), "a graph of one node", choose_library(), EngineConfig())
    return Finding(works=len(built.plan) > 0)


def _tensorrt(no_gpu: str | None) -> Finding:
    """Loads an engine, which needs a GPU."""
    from alexnet_fast.export.config import EngineConfig
    from alexnet_fast.export.tensorrt.build import build_plan
    from alexnet_fast.export.tensorrt.library import choose_library

    if no_gpu:
        hint = "engines are built here and run on a machine with a GPU"
        return Finding(works=False, what=no_gpu, hint=hint)
    library = choose_library()
    trt = library.module
    built = build_plan(_tiny_graph(), "a graph of one node", library, EngineConfig())
    loaded = trt.Runtime(trt.Logger(trt.Logger.ERROR)).deserialize_cuda_engine(built.plan)
    if loaded is not None:
        return Finding(works=True)
    return Finding(
        works=False,
        what=f"{library.name} {library.version} cannot load its own engine",
        hint="update the driver",
    )


def _triton(no_gpu: str | None) -> Finding:
    """Asks Triton's server for its options."""
    del no_gpu
    server = shutil.which("tritonserver")
    if server is None:
        return Finding(
            works=False, what="no tritonserver on the PATH", hint="needed for serving on many machines only"
        )
    asked = subprocess.run([server, "--help"], capture_output=True, check=False, timeout=60)
    if asked.returncode == 0:
        return Finding(works=True)
    return Finding(works=False, what="tritonserver does not start", hint="run it by hand")


_CHECKS: dict[str, Callable[[str | None], Finding]] = {
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
