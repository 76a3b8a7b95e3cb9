"""Chooses the TensorRT that builds the engine: classic `tensorrt`, or `tensorrt_rtx`, which needs no GPU.

Both have the same Python API. Classic TensorRT builds only for the GPU of this machine; TensorRT-RTX builds
ahead of time for named architectures.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import importlib.util
from typing import TYPE_CHECKING

from alexnet_fast.errors import UserError
from alexnet_fast.runtime import cuda as cuda_driver
from alexnet_fast.runtime.versions import LibraryName

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType


# Ampere (A100; RTX 30), Ada (RTX 40, L4, L40S) and Blackwell (RTX 50).
DEFAULT_ARCHS = ("80", "86", "89", "120")
# The first classic version that builds all our strongly typed graphs as later ones do.
_OLDEST_CLASSIC = (10, 12)
_INSTALL_RTX = "pip install 'alexnet-fast[rtx]'"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrtLibrary:
    """An installed TensorRT.

    Args:
        name: Name of its Python module.
        version: As the module gives it.
        module: The module itself.
        archs: Architectures to build for, such as "86"; empty for classic TensorRT, which uses the GPU here.
        compute_capabilities: The same in the driver's notation, such as "8.6"; also for classic TensorRT.
        gpu: Name of the GPU that kernels are timed on; empty if there is none.
    """

    name: LibraryName
    version: str
    module: ModuleType
    archs: tuple[str, ...]
    compute_capabilities: tuple[str, ...]
    gpu: str = ""


def choose_library(gpu_archs: Sequence[str] | None = None) -> TrtLibrary:
    """Chooses and imports the library to build with.

    Classic TensorRT is used if it is installed, there is a GPU and no architecture was requested; otherwise
    TensorRT-RTX.

    Args:
        gpu_archs: Architectures such as "86" or "8.6"; None for the GPU here, or `DEFAULT_ARCHS`.

    Raises:
        UserError: No TensorRT is installed, or it does not support an architecture.
    """
    # The driver is asked first: importing classic TensorRT without one can end the process.
    if gpu_archs is None and importlib.util.find_spec("tensorrt") and cuda_driver.gpu_count():
        return _classic()
    if not importlib.util.find_spec("tensorrt_rtx"):
        raise UserError("--trt needs TensorRT-RTX, which is not installed", _INSTALL_RTX)
    return _rtx(gpu_archs or DEFAULT_ARCHS)


def _classic() -> TrtLibrary:
    module = importlib.import_module("tensorrt")
    version = str(module.__version__)
    if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST_CLASSIC:
        raise UserError(f"tensorrt {version} is older than 10.12", "pip install 'tensorrt>=10.12'")
    # A builder uses the current device, which is the first unless the caller set another.
    gpu = cuda_driver.gpus()[0]
    return TrtLibrary(
        name="tensorrt",
        version=version,
        module=module,
        archs=(),
        compute_capabilities=(gpu.compute_capability,),
        gpu=gpu.name,
    )


def _rtx(gpu_archs: Sequence[str]) -> TrtLibrary:
    module = importlib.import_module("tensorrt_rtx")
    archs = tuple(dict.fromkeys(arch.strip().replace(".", "") for arch in gpu_archs))
    supported = supported_archs(module)
    for arch in archs:
        if arch not in supported:
            raise UserError(
                f"--gpu-arch {arch} is not supported by tensorrt_rtx {module.__version__}",
                f"choose from {', '.join(supported)}",
                exit_code=2,
            )
    return TrtLibrary(
        name="tensorrt_rtx",
        version=str(module.__version__),
        module=module,
        archs=archs,
        compute_capabilities=tuple(f"{arch[:-1]}.{arch[-1]}" for arch in archs),
    )


def supported_archs(module: ModuleType) -> tuple[str, ...]:
    """Returns the architectures that this TensorRT-RTX builds for, such as "86"."""
    names = module.ComputeCapability.__members__
    return tuple(name[2:] for name in names if name.startswith("SM"))
