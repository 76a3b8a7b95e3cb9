"""Turns ONNX bytes into engine bytes with either TensorRT; no files are touched here."""

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


@contextlib.contextmanager
def deferred_sigint(note: Callable[[], object]) -> Iterator[None]:
    """Calls a function at Ctrl-C instead of raising, and raises when the block is over.

    An exception that is raised in a callback of TensorRT's is lost between its frames, and with it the wish
    to end. Another thread than the main one never sees Ctrl-C, so nothing is changed there.

    Args:
        note: Makes the work in the block end soon.

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


if TYPE_CHECKING:
    from collections.abc import Iterator

    from alexnet_fast.export.tensorrt.library import TrtLibrary

_log = logging.getLogger(__name__)


class TimingCache:
    """The kept times of one version of TensorRT on one kind of GPU.

    Args:
        library: What builds.
    """

    def __init__(self, library: TrtLibrary) -> None:
        gpu = "-".join((*library.compute_capabilities, *library.gpu.split()))
        self.path = cache_dir() / "timing" / f"{library.name}-{library.version}-{gpu}.times"
        self._times_kernels = library.name == "tensorrt"

    @contextlib.contextmanager
    def used_by(self, settings: Any) -> Iterator[None]:
        """Gives the kept times to a builder's settings, and keeps what a build has added.

        Args:
            settings: An IBuilderConfig.
        """
        if not self._times_kernels:
            yield
            return
        kept = bytes(load_kept(self.path) or b"")
        cache = settings.create_timing_cache(kept)
        # It refuses times of another GPU or driver; an empty cache is always taken.
        if not settings.set_timing_cache(cache, ignore_mismatch=False):
            _log.warning("the kept times of kernels do not fit this GPU; they are taken again")
            cache = settings.create_timing_cache(b"")
            settings.set_timing_cache(cache, ignore_mismatch=False)
        yield
        times = bytes(settings.get_timing_cache().serialize())
        if times != kept:
            save_kept(self.path, times)


if TYPE_CHECKING:
    from types import ModuleType

    from alexnet_fast.export.config import EngineConfig
    from alexnet_fast.export.progress import Progress
    from alexnet_fast.export.tensorrt.library import TrtLibrary

_log = logging.getLogger(__name__)
_MIB = 1 << 20
# An int32 in TensorRT: a build for more succeeds, but the scratch memory in its log shrinks again.
_MOST_NUMBERS = 2**31 - 1
# TensorRT tells the memory of an engine in its log and nowhere else.
_SCRATCH = re.compile(r"Max Scratch Memory: (\d+) bytes")


class BuiltPlan(NamedTuple):
    """A serialized engine, what it takes and gives, and the memory that it needs besides its weights.

    `scratch_bytes` is for the largest batch; None where the builder does not say it.
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
        library: What to build with and for.
        config: Batch sizes, memory and effort.
        progress: Told about each step.
        rows: What an image becomes in the batch at most: the number of its crops.

    Raises:
        UserError: The parser refuses a node (named), a batch is too large, the build fails or is
            cancelled through `progress`.
    """
    trt, logger = library.module, _logger(library.module)
    logger.errors.clear()
    logger.scratch_bytes = None
    builder = trt.Builder(logger)
    # TensorRT 11 knows no other kind of network, and 10.12 and RTX build the same one when they are told.
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    _parse(trt, network, onnx_bytes, source)
    _check_volumes(trt, network, config, rows)
    monitor = _monitor(trt, progress)
    settings = _settings(builder, network, library, config, monitor)
    with TimingCache(library).used_by(settings), deferred_sigint(monitor.cancel):
        # The monitor and the bytes have to outlive the build: TensorRT keeps pointers to both.
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
        f"TensorRT does not take {where} of {source}: {error.desc()}",
        "leave out --trt, or use a network without that layer",
    )


def _check_volumes(trt: ModuleType, network: Any, config: EngineConfig, rows: int) -> None:
    """Checks that TensorRT can count the outputs of a batch's convolutions, the largest tensors of all.

    Raises:
        UserError: It cannot.
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
    # TensorRT allows it unless it is told otherwise, and float32 is to be float32.
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
    """Passes TensorRT's messages on to `logging` and keeps its errors for our own."""

    class Logger(trt.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []
            self.scratch_bytes: int | None = None

        def log(self, severity: Any, message: str) -> None:
            if found := _SCRATCH.match(message):
                # Each profile is told by itself.
                self.scratch_bytes = max(self.scratch_bytes or 0, int(found[1]))
            if severity <= trt.ILogger.ERROR:
                self.errors.append(message)
            level = logging.WARNING if severity == trt.ILogger.WARNING else logging.DEBUG
            _log.log(level, "%s", message)

    return Logger()


def _monitor(trt: ModuleType, progress: Progress | None) -> Any:
    """Passes the steps on; an exception of `progress` cancels the build and is kept for the caller."""

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
                # "Continue" is everything but False, so that a plain progress bar needs to return nothing.
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
