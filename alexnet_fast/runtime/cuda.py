"""Uses NVIDIA's driver through ctypes: no torch, no CUDA toolkit, no TensorRT.

Classic TensorRT can crash the process if there is no driver, so this module is asked first. The calls are
documented in the CUDA driver API, https://docs.nvidia.com/cuda/cuda-driver-api/.
"""

from __future__ import annotations

import ctypes
import dataclasses
from typing import TYPE_CHECKING, Any

from alexnet_fast.errors import UnavailableError, UserError
from alexnet_fast.utils.arrays import AnyArray

if TYPE_CHECKING:
    from collections.abc import Callable

# CU_STREAM_CAPTURE_MODE_THREAD_LOCAL in cuda.h: other threads may continue meanwhile.
_THREAD_LOCAL = 1


class Cuda:
    """The first GPU, in the context that every CUDA library of this process shares.

    Raises:
        UnavailableError: There is no GPU; the message has the reason.
    """

    def __init__(self) -> None:
        problem = driver_problem()
        if problem is not None:
            raise UnavailableError(
                f"an engine runs on an NVIDIA GPU only: {problem}",
                "give the model.onnx beside it, or add --allow-fallback",
            )
        self._driver = ctypes.CDLL("libcuda.so.1")
        device, self._context = ctypes.c_int(), ctypes.c_void_p()
        self._call("cuDeviceGet", ctypes.byref(device), 0)
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), device)
        self.enter()
        self.stream = ctypes.c_void_p()
        self._call("cuStreamCreate", ctypes.byref(self.stream), 0)

    def enter(self) -> None:
        """Makes the GPU current in this thread."""
        self._call("cuCtxSetCurrent", self._context)

    def allocate(self, size: int) -> int:
        """Returns the address of `size` new bytes on the GPU."""
        address = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size))
        return address.value

    def free(self, address: int) -> None:
        """Frees memory."""
        self._call("cuMemFree_v2", ctypes.c_uint64(address))

    def upload(self, address: int, array: AnyArray) -> None:
        """Copies a contiguous array to the GPU, in the order of the stream."""
        self._copy(
            "cuMemcpyHtoDAsync_v2", ctypes.c_uint64(address), ctypes.c_void_p(array.ctypes.data), array
        )

    def download(self, array: AnyArray, address: int) -> None:
        """Copies from the GPU into a contiguous array; it is there after `wait`."""
        self._copy(
            "cuMemcpyDtoHAsync_v2", ctypes.c_void_p(array.ctypes.data), ctypes.c_uint64(address), array
        )

    def wait(self) -> None:
        """Waits for everything in the stream."""
        self._call("cuStreamSynchronize", self.stream)

    def event(self) -> ctypes.c_void_p:
        """Returns a new mark for `record`."""
        event = ctypes.c_void_p()
        self._call("cuEventCreate", ctypes.byref(event), 0)
        return event

    def record(self, event: ctypes.c_void_p) -> None:
        """Marks the place in the order of the stream; the time is taken when the GPU gets there."""
        self._call("cuEventRecord", event, self.stream)

    def milliseconds(self, first: ctypes.c_void_p, second: ctypes.c_void_p) -> float:
        """Returns the GPU's time between two marks that it has passed."""
        time = ctypes.c_float()
        self._call("cuEventElapsedTime", ctypes.byref(time), first, second)
        return time.value

    def capture(self, enqueue: Callable[[], bool]) -> ctypes.c_void_p | None:
        """Records the work that a function puts into the stream as a CUDA graph, without running it.

        Args:
            enqueue: Returns whether it succeeded.

        Returns:
            The graph, to be launched any number of times; None if `enqueue` failed.
        """
        graph, runnable = ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cuStreamBeginCapture_v2", self.stream, _THREAD_LOCAL)
        done = False
        try:
            done = enqueue()
        finally:
            # A stream that keeps capturing is useless. A capture that failed has no graph.
            code = self._driver.cuStreamEndCapture(self.stream, ctypes.byref(graph))
        if not done or code != 0:
            return None
        self._call("cuGraphInstantiateWithFlags", ctypes.byref(runnable), graph, ctypes.c_ulonglong(0))
        self._call("cuGraphDestroy", graph)
        return runnable

    def launch(self, graph: ctypes.c_void_p) -> None:
        """Puts a graph into the stream."""
        self._call("cuGraphLaunch", graph, self.stream)

    def drop(self, graph: ctypes.c_void_p) -> None:
        """Frees a graph."""
        self._call("cuGraphExecDestroy", graph)

    def _copy(self, name: str, target: Any, source: Any, array: AnyArray) -> None:
        self._call(name, target, source, ctypes.c_size_t(array.nbytes), self.stream)

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._driver, name)(*arguments)
        if code != 0:
            raise UserError(f"{name} failed on the GPU: {error_text(self._driver, code)}")


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
        memory_bytes: Its total memory.
    """

    name: str
    compute_capability: str
    memory_bytes: int


def gpu_count() -> int:
    """Returns how many GPUs CUDA can use (CUDA_VISIBLE_DEVICES counts); 0 without a driver."""
    driver, _ = _start()
    if driver is None:
        return 0
    count = ctypes.c_int(0)
    return count.value if driver.cuDeviceGetCount(ctypes.byref(count)) == 0 else 0


def driver_problem() -> str | None:
    """Returns one sentence why no GPU can be used; None if one can."""
    driver, problem = _start()
    if driver is not None and gpu_count() == 0:
        return "NVIDIA's driver is there but shows no GPU (CUDA_VISIBLE_DEVICES may hide them)"
    return problem


def gpus() -> tuple[Gpu, ...]:
    """Describes every GPU that CUDA can use."""
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
    """Returns the driver's text for one of its error codes."""
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
