"""Asks NVIDIA's driver itself which GPUs are there, through ctypes: no torch, no CUDA toolkit, no TensorRT.

Classic TensorRT can crash the process where there is no driver, so this is asked before it is touched. The
calls are documented in the CUDA driver API, https://docs.nvidia.com/cuda/cuda-driver-api/.
"""

from __future__ import annotations

import ctypes
import dataclasses

_LIBRARY = "libcuda.so.1"
# CUdevice_attribute in cuda.h.
_MAJOR, _MINOR = 75, 76
_NAME_BYTES = 256


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gpu:
    """A GPU as the driver describes it.

    Args:
        name: Product name.
        compute_capability: As in "8.6".
        memory_bytes: All of its memory.
    """

    name: str
    compute_capability: str
    memory_bytes: int


def gpu_count() -> int:
    """Returns how many GPUs CUDA can use here (CUDA_VISIBLE_DEVICES counts); 0 where there is no driver."""
    driver, _ = _start()
    if driver is None:
        return 0
    count = ctypes.c_int(0)
    return count.value if driver.cuDeviceGetCount(ctypes.byref(count)) == 0 else 0


def driver_problem() -> str | None:
    """Says in one sentence why no GPU can be used, or returns None where one can."""
    driver, problem = _start()
    if driver is not None and gpu_count() == 0:
        return "NVIDIA's driver is there but shows no GPU (CUDA_VISIBLE_DEVICES may hide them)"
    return problem


def gpus() -> tuple[Gpu, ...]:
    """Describes every GPU that CUDA can use here."""
    driver, _ = _start()
    if driver is None:
        return ()
    return tuple(_describe(driver, ordinal) for ordinal in range(gpu_count()))


def _start() -> tuple[ctypes.CDLL | None, str | None]:
    """Returns the initialised driver, or None and the reason."""
    try:
        driver = ctypes.CDLL(_LIBRARY)
    except OSError:
        return None, f"NVIDIA's driver is not installed ({_LIBRARY} is not found)"
    code = driver.cuInit(0)
    if code == 0:
        return driver, None
    return None, f"NVIDIA's driver refuses to start: {error_text(driver, code)}"


def error_text(driver: ctypes.CDLL, code: int) -> str:
    """Returns what the driver says about one of its error codes."""
    text = ctypes.c_char_p()
    if driver.cuGetErrorString(code, ctypes.byref(text)) == 0 and text.value:
        return f"{text.value.decode(errors='replace')} (CUDA error {code})"
    return f"CUDA error {code}"


def _describe(driver: ctypes.CDLL, ordinal: int) -> Gpu:
    device = ctypes.c_int()
    name, memory = ctypes.create_string_buffer(_NAME_BYTES), ctypes.c_size_t()
    driver.cuDeviceGet(ctypes.byref(device), ordinal)
    driver.cuDeviceGetName(name, _NAME_BYTES, device)
    driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    major, minor = (_attribute(driver, device, which) for which in (_MAJOR, _MINOR))
    return Gpu(
        name=name.value.decode(errors="replace"),
        compute_capability=f"{major}.{minor}",
        memory_bytes=memory.value,
    )


def _attribute(driver: ctypes.CDLL, device: ctypes.c_int, which: int) -> int:
    value = ctypes.c_int()
    driver.cuDeviceGetAttribute(ctypes.byref(value), which, device)
    return value.value
