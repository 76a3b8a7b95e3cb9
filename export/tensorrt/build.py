"""Builds engine bytes from ONNX bytes with either TensorRT, without engine files."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import math
import re
import signal
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from alexnet_fast.errors import UserError
from alexnet_fast.runtime.manifest import TensorInfo
from alexnet_fast.utils.cache_dir import cache_dir
from alexnet_fast.utils.verified_cache import load_kept, save_kept

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from alexnet_fast.export.config import EngineConfig
    from alexnet_fast.export.progress import Progress
    from alexnet_fast.export.tensorrt.library import TrtLibrary

_log = logging.getLogger(__name__)
_MIB = 1 << 20
# An int32 in TensorRT: a build for more succeeds, but the scratch memory in its log shrinks again.
_MOST_NUMBERS = 2**31 - 1
# TensorRT reports the memory of an engine only in its log.
_SCRATCH = re.compile(r"Max Scratch Memory: (\d+) bytes")


@contextlib.contextmanager
def deferred_sigint(note: Callable[[], object]) -> Iterator[None]:
    """Calls a function at Ctrl-C instead of raising, and raises when the block is over.

    An exception raised in one of TensorRT's callbacks is lost between its C++ frames. Only the main thread
    sees Ctrl-C, so nothing changes in other threads.

    Args:
        note: Ends the work in the block soon.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed = False

    def handle(*_: Any) -> None:
        nonlocal pressed
        pressed = True
        note()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt


class TimingCache:
    """The cached kernel times of one version of TensorRT on one kind of GPU.

    Args:
        library: The library that builds.
    """

    def __init__(self, library: TrtLibrary) -> None:
        gpu = "-".join((*library.compute_capabilities, *library.gpu.split()))
        self.path = cache_dir() / "timing" / f"{library.name}-{library.version}-{gpu}.times"
        self._times_kernels = library.name == "tensorrt"

    @contextlib.contextmanager
    def used_by(self, settings: Any) -> Iterator[None]:
        """Gives the cached times to a builder's settings, and saves the times that a build adds.

        Args:
            settings: An IBuilderConfig.
        """
        if not self._times_kernels:
            yield
            return
        cached = bytes(load_kept(self.path) or b"")
        cache = settings.create_timing_cache(cached)
        # TensorRT refuses times of another GPU or driver; it accepts an empty cache.
        if not settings.set_timing_cache(cache, ignore_mismatch=False):
            _log.warning("the cached kernel times do not fit this GPU; they are measured again")
            cache = settings.create_timing_cache(b"")
            settings.set_timing_cache(cache, ignore_mismatch=False)
        yield
        times = bytes(settings.get_timing_cache().serialize())
        if times != cached:
            save_kept(self.path, times)


class BuiltPlan(NamedTuple):
    """A serialized engine, its inputs and outputs, and the memory that it needs besides its weights.

    `scratch_bytes` is for the largest batch; None if the builder does not report it.
    """

    plan: memoryview
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    scratch_bytes: int | None


def build_plan(
    onnx_bytes: bytes,
    source: str,
    library: TrtLibrary,
    config: EngineConfig,
    progress: Progress | None = None,
    *,
    rows: int = 1,
) -> BuiltPlan:
    """Builds an engine without loading it; classic TensorRT times its kernels on the GPU, RTX needs none.

    Args:
        onnx_bytes: An ONNX file of ours.
        source: Its name, for messages.
        library: The library and its GPUs.
        config: Batch sizes, memory and effort.
        progress: Called at each step.
        rows: Number of crops per image.

    Raises:
        UserError: The parser refuses a node (it is named), a batch is too large, or the build fails or is
            cancelled through `progress`.
    """
    trt, logger = library.module, _logger(library.module)
    logger.errors.clear()
    logger.scratch_bytes = None
    builder = trt.Builder(logger)
    # TensorRT 11 has no other kind of network; 10.12 and RTX build the same one with this flag.
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    _parse(trt, network, onnx_bytes, source)
    _check_volumes(trt, network, config, rows)
    monitor = _monitor(trt, progress)
    settings = _settings(builder, network, library, config, monitor)
    with TimingCache(library).used_by(settings), deferred_sigint(monitor.cancel):
        # The monitor and the bytes must outlive the build: TensorRT keeps pointers to both.
        plan = builder.build_serialized_network(network, settings)
    if monitor.failure is not None:
        raise monitor.failure
    if plan is None:
        raise _build_error(library, source, logger.errors, cancelled=monitor.cancelled)
    return BuiltPlan(
        memoryview(plan),
        tuple(_describe(network.get_input(i)) for i in range(network.num_inputs)),
        tuple(_describe(network.get_output(i)) for i in range(network.num_outputs)),
        logger.scratch_bytes,
    )


def _parse(trt: ModuleType, network: Any, onnx_bytes: bytes, source: str) -> None:
    parser = trt.OnnxParser(network, _logger(trt))
    if parser.parse(onnx_bytes):
        return
    if parser.num_errors == 0:
        raise UserError(f"TensorRT cannot read {source}", "export it again")
    error = parser.get_error(0)
    where = f"node {error.node_name()} ({error.node_operator()})" if error.node_name() else "the graph"
    raise UserError(
        f"TensorRT does not support {where} of {source}: {error.desc()}",
        "leave out --trt, or use a network without that layer",
    )


def _check_volumes(trt: ModuleType, network: Any, config: EngineConfig, rows: int) -> None:
    """Checks that TensorRT can count the outputs of a batch's convolutions, the largest tensors of all.

    Raises:
        UserError: They exceed its int32.
    """
    layers = map(network.get_layer, range(network.num_layers))
    shapes = [layer.get_output(0).shape for layer in layers if layer.type == trt.LayerType.CONVOLUTION]
    largest = rows * max((math.prod(tuple(shape)[1:]) for shape in shapes), default=1)
    most = max(profile.max for profile in config.profiles)
    if most * largest > _MOST_NUMBERS:
        raise UserError(
            f"a batch of {most} images has {most * largest:,} numbers in one tensor, and TensorRT counts to"
            f" {_MOST_NUMBERS:,}",
            f"give at most {_MOST_NUMBERS // largest} with --max-batch-size or --batch-profile",
            exit_code=2,
        )


def _settings(builder: Any, network: Any, library: TrtLibrary, config: EngineConfig, monitor: Any) -> Any:
    trt = library.module
    settings = builder.create_builder_config()
    if library.archs:
        settings.num_compute_capabilities = len(library.archs)
        for i, arch in enumerate(library.archs):
            settings.set_compute_capability(getattr(trt.ComputeCapability, f"SM{arch}"), i)
    for sizes in config.profiles:
        profile = builder.create_optimization_profile()
        for i in range(network.num_inputs):
            tensor = network.get_input(i)
            image = tuple(tensor.shape)[1:]
            profile.set_shape(tensor.name, *((n, *image) for n in dataclasses.astuple(sizes)))
        settings.add_optimization_profile(profile)
    if config.level is not None:
        settings.builder_optimization_level = config.level
    # TensorRT allows TF32 by default, but float32 shall be float32.
    (settings.set_flag if config.tf32 else settings.clear_flag)(trt.BuilderFlag.TF32)
    if config.workspace_mib is not None:
        settings.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, config.workspace_mib * _MIB)
    settings.progress_monitor = monitor
    return settings


def _describe(tensor: Any) -> TensorInfo:
    return TensorInfo(name=tensor.name, dtype=tensor.dtype.name.lower(), shape=tuple(tensor.shape))


def _build_error(library: TrtLibrary, source: str, errors: list[str], *, cancelled: bool) -> UserError:
    if cancelled:
        return UserError(f"the engine for {source} was not built: cancelled")
    reason = errors[-1] if errors else "it gives no reason"
    return UserError(
        f"{library.name} {library.version} cannot build an engine from {source}: {reason}",
        "try another --gpu-arch, --precision fp16 or a larger workspace",
    )


# A process has one TensorRT logger: the first that was given to any builder stays in use for all.
@functools.cache
def _logger(trt: ModuleType) -> Any:
    """Forwards TensorRT's messages to `logging` and keeps its errors for our messages."""

    class Logger(trt.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []
            self.scratch_bytes: int | None = None

        def log(self, severity: Any, message: str) -> None:
            if match := _SCRATCH.match(message):
                # TensorRT reports each profile separately.
                self.scratch_bytes = max(self.scratch_bytes or 0, int(match[1]))
            if severity <= trt.ILogger.ERROR:
                self.errors.append(message)
            level = logging.WARNING if severity == trt.ILogger.WARNING else logging.DEBUG
            _log.log(level, "%s", message)

    return Logger()


def _monitor(trt: ModuleType, progress: Progress | None) -> Any:
    """Forwards the steps; an exception of `progress` cancels the build and is kept for the caller."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.failure: BaseException | None = None
            self.cancelled = False
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            del parent_phase
            self._steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            try:
                # Everything but False continues, so that a plain progress bar may return nothing.
                if progress is not None:
                    self.cancelled |= progress(phase_name, step + 1, self._steps[phase_name]) is False
            except BaseException as error:  # noqa: BLE001 (build_plan raises it: C++ frames stand between)
                self.failure = error
            return not self.cancelled and self.failure is None

        def cancel(self) -> None:
            self.cancelled = True

        def phase_finish(self, phase_name: str) -> None:
            del phase_name

    return Monitor()
