"""Candidates of `bench infer`: what runs each of them, and the reason why one cannot run."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from alexnet_fast.bench.infer_config import Candidate
from alexnet_fast.errors import UnavailableError, UserError
from alexnet_fast.runtime.base import parse_device
from alexnet_fast.runtime.cuda import driver_problem

if TYPE_CHECKING:
    from pathlib import Path

    from alexnet_fast.bench.infer_config import InferBench
    from alexnet_fast.bench.infer_files import InferFiles
    from alexnet_fast.runtime.tensorrt_runtime import EngineTimes
    from alexnet_fast.utils.arrays import Pixels

OURS = "ours, onnxruntime"
CROP_BY_CROP = "ours without the shared stem, onnxruntime"
PLAIN = "torch export, onnxruntime"
SINGLE = "ours, one crop, onnxruntime"
EAGER = "PyTorch, ten crops at once"
OURS_OPENVINO = "ours, OpenVINO"
PLAIN_OPENVINO = "torch export, OpenVINO"
# In the order of the table; the last needs --cuda-graphs.
ON_GPU = (
    "ours, onnxruntime CUDA",
    "ours, onnxruntime TensorRT",
    "ours, TensorRT engine",
    "PyTorch on the GPU, ten crops at once",
    "ours, TensorRT engine, CUDA graphs",
)
CUDA, TENSORRT, ENGINE, EAGER_GPU, GRAPHS = ON_GPU


@dataclasses.dataclass(frozen=True, kw_only=True)
class CandidateSet:
    """All candidates.

    Args:
        running: Those that run here, by name.
        not_run: The reasons of the others, by name.
    """

    running: Mapping[str, Candidate]
    not_run: Mapping[str, str]


def gather(bench: InferBench, files: InferFiles, directory: Path) -> CandidateSet:
    """Loads all candidates that can run here.

    Args:
        bench: What is measured.
        files: The network's forms.
        directory: For the engine.
    """
    makers = (*_on_cpu(bench, files), *_on_gpu(bench, files, directory))
    loaded = {name: _loaded(make) for name, make in makers}
    return CandidateSet(
        running={name: result for name, result in loaded.items() if isinstance(result, Candidate)},
        not_run={name: result for name, result in loaded.items() if isinstance(result, str)},
    )


def _loaded(make: Callable[[], Candidate]) -> Candidate | str:
    """Returns a candidate, or the reason why it cannot run."""
    try:
        return make()
    except UnavailableError as error:
        return str(error)


def choose_ours(candidates: CandidateSet, device: str, *, cuda_graphs: bool) -> str:
    """Returns the name of our candidate, which `--device` selects.

    Raises:
        UnavailableError: It cannot run here.
    """
    requested = {"cuda": CUDA, "tensorrt": ENGINE}.get(parse_device(device).kind, OURS)
    for name in (requested, *([GRAPHS] if cuda_graphs else [])):
        if name not in candidates.running:
            raise UnavailableError(
                f"{name} is unavailable: {candidates.not_run[name]}", "allow the CPU with --allow-fallback"
            )
    return requested


def _on_cpu(bench: InferBench, files: InferFiles) -> Iterator[tuple[str, Callable[[], Candidate]]]:
    yield OURS, lambda: _onnx(files.ours, threads=bench.threads)
    yield CROP_BY_CROP, lambda: _onnx(files.crop_by_crop, threads=bench.threads)
    yield PLAIN, lambda: _onnx(_plain(files), threads=bench.threads)
    yield SINGLE, lambda: _onnx(files.single, threads=bench.threads)
    yield EAGER, lambda: _eager(bench, None)
    yield OURS_OPENVINO, lambda: _openvino(files.ours, bench.threads)
    yield PLAIN_OPENVINO, lambda: _openvino(_plain(files), bench.threads)


def _on_gpu(
    bench: InferBench, files: InferFiles, directory: Path
) -> Iterator[tuple[str, Callable[[], Candidate]]]:
    for name in ON_GPU:
        if bench.cuda_graphs or name != GRAPHS:
            yield name, lambda name=name: _gpu_candidate(name, bench, files, directory)  # type: ignore[misc]


def _gpu_candidate(name: str, bench: InferBench, files: InferFiles, directory: Path) -> Candidate:
    """Loads one of `ON_GPU`.

    Raises:
        UnavailableError: It cannot run here.
    """
    device = parse_device(bench.device)
    if device.kind == "cpu":
        raise UnavailableError("--device cpu was given")
    problem = driver_problem()
    if problem is not None:
        raise UnavailableError(problem)
    if name == EAGER_GPU:
        return _eager(bench, device.gpu)
    if name in (ENGINE, GRAPHS):
        return _engine(bench, directory, cuda_graphs=name == GRAPHS)
    return _onnx(files.ours, providers=("cuda",) if name == CUDA else ("tensorrt", "cuda"), gpu=device.gpu)


def _plain(files: InferFiles) -> Path:
    """Returns torch's export.

    Raises:
        UnavailableError: onnxscript is missing, which torch's exporter needs.
    """
    if files.plain is None:
        raise UnavailableError("onnxscript is not installed", "pip install 'alexnet-fast[torch-export]'")
    return files.plain


def _onnx(file: Path, **options: Any) -> Candidate:
    from alexnet_fast.runtime.onnx_runtime import OnnxModel

    model = OnnxModel(file, **options)
    if "providers" in options:
        # `release_memory` shrinks the arena of the CPU.
        return Candidate(call=model.run, backend=model.backend)
    return Candidate(call=model.run, backend=model.backend, release=model.release_memory)


def _eager(bench: InferBench, gpu: int | None) -> Candidate:
    """Returns PyTorch on the CPU, or on a GPU with the times of its transfers."""
    import torch

    from alexnet_fast.pipelines.ten_crop import crop_probabilities
    from alexnet_fast.runtime.tensorrt_runtime import EngineTimes
    from alexnet_fast.utils.device import choose_device

    if gpu is None:
        torch.set_num_threads(bench.threads)
    device = choose_device("cpu" if gpu is None else f"cuda:{gpu}")
    net = bench.network.net if gpu is None else copy.deepcopy(bench.network.net)
    net = net.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    events: list[Any] = []
    if gpu is not None:
        events = [torch.cuda.Event(enable_timing=True) for _ in range(4)]  # type: ignore[no-untyped-call]

    def record(number: int) -> None:
        if events:
            events[number].record()

    def call(images: Pixels) -> object:
        on_device = contextlib.nullcontext() if gpu is None else torch.cuda.device(device)
        with torch.inference_mode(), on_device:
            record(0)
            inputs = torch.from_numpy(images).to(device)
            record(1)
            outputs = crop_probabilities(net, inputs, bench.network.spec, "ten")
            record(2)
            probabilities = outputs.cpu().numpy()
            record(3)
            if events:
                events[3].synchronize()
        return probabilities

    def times() -> EngineTimes:
        return EngineTimes(*(events[i].elapsed_time(events[i + 1]) for i in range(3)))

    place = "cpu" if gpu is None else torch.cuda.get_device_name(device)
    backend = f"PyTorch {torch.__version__} on {place}"
    return Candidate(call=call, backend=backend, gpu_times=times if events else None)


def _engine(bench: InferBench, directory: Path, *, cuda_graphs: bool) -> Candidate:
    """Builds a float32 engine with kernels for each batch size."""
    from alexnet_fast.runtime.tensorrt_runtime import EngineModel

    file = directory / "model.engine"
    try:
        if not file.exists():
            _build(bench, file)
        model = EngineModel(file, cuda_graphs=cuda_graphs)
    except UserError as error:
        # Without TensorRT for this GPU the other candidates are still measured.
        raise UnavailableError(error.problem, error.hint) from error
    return Candidate(call=model.run, backend=model.backend, gpu_times=model.times)


def _build(bench: InferBench, file: Path) -> None:
    from alexnet_fast.export.config import EngineConfig, for_tensorrt
    from alexnet_fast.export.onnx.model import build_model, write_model
    from alexnet_fast.export.tensorrt.engine import build_engine
    from alexnet_fast.export.tensorrt.library import choose_library
    from alexnet_fast.runtime.cuda import gpus
    from alexnet_fast.runtime.manifest import BatchProfile
    from alexnet_fast.runtime.versions import installed_version

    source = file.with_name("model.tensorrt.onnx")
    write_model(build_model(bench.network.net, bench.network.metadata("ten"), for_tensorrt("fp32")), source)
    archs = None if installed_version("tensorrt") else [gpus()[0].compute_capability]
    profiles = tuple(BatchProfile(min=1, opt=size, max=size) for size in bench.batch_sizes)
    build_engine(source, file, choose_library(archs), EngineConfig(profiles=profiles))


def _openvino(file: Path, threads: int) -> Candidate:
    """Returns a file in OpenVINO, in float32: on some processors its default would be bfloat16."""
    if importlib.util.find_spec("openvino") is None:
        raise UnavailableError("OpenVINO is not installed", "pip install 'alexnet-fast[openvino]'")
    import openvino

    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    compiled = openvino.Core().compile_model(str(file), "CPU", settings)
    request = compiled.create_infer_request()
    devices = ", ".join(compiled.get_property("EXECUTION_DEVICES"))
    return Candidate(
        call=lambda images: request.infer([images]),
        backend=f"OpenVINO {openvino.__version__} on {devices}",
        release=compiled.release_memory,
    )
