"""Those of `bench infer` that need a GPU. None has been run yet, because none was there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alexnet_fast.bench.infer_config import Candidate
from alexnet_fast.errors import UnavailableError, UserError
from alexnet_fast.runtime.asked_device import parse_device
from alexnet_fast.runtime.cuda import driver_problem

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from alexnet_fast.bench.infer import InferBench
    from alexnet_fast.bench.infer_config import Images
    from alexnet_fast.bench.infer_files import InferFiles
    from alexnet_fast.runtime.execution_provider import ProviderName

# In the order in which they are shown; the last needs --cuda-graphs.
ON_GPU = (
    "ours, onnxruntime CUDA",
    "ours, onnxruntime TensorRT",
    "ours, TensorRT engine",
    "PyTorch on the GPU, ten crops at once",
    "ours, TensorRT engine, CUDA graphs",
)
CUDA, TENSORRT, ENGINE, EAGER_GPU, GRAPHS = ON_GPU


def gpu_candidate(name: str, bench: InferBench, files: InferFiles, folder: Path) -> Candidate:
    """Loads one of `ON_GPU`.

    Raises:
        UnavailableError: It cannot run here, and the reason.
    """
    asked = parse_device(bench.device)
    if asked.kind == "cpu":
        raise UnavailableError("--device cpu was asked for")
    problem = driver_problem()
    if problem is not None:
        raise UnavailableError(problem)
    if name == EAGER_GPU:
        return _eager(bench, asked.gpu)
    if name in (ENGINE, GRAPHS):
        return _engine(bench, folder, cuda_graphs=name == GRAPHS)
    return _onnx(files.ours, ("cuda",) if name == CUDA else ("tensorrt", "cuda"), asked.gpu)


def _onnx(file: Path, providers: Sequence[ProviderName], gpu: int) -> Candidate:
    from alexnet_fast.runtime.onnx_runtime import OnnxModel

    model = OnnxModel(file, providers=providers, gpu=gpu)
    return Candidate(call=model.run, backend=model.backend)


def _engine(bench: InferBench, folder: Path, *, cuda_graphs: bool) -> Candidate:
    """Builds an engine in float32 with kernels for each of the batch sizes."""
    from alexnet_fast.runtime.tensorrt_runtime import EngineModel

    file = folder / "model.engine"
    try:
        if not file.exists():
            _build(bench, file)
        model = EngineModel(file, cuda_graphs=cuda_graphs)
    except UserError as error:
        # No TensorRT for this GPU is no reason to leave the others unmeasured.
        raise UnavailableError(error.problem, error.mend) from error
    return Candidate(call=model.run, backend=model.backend, gpu_times=model.times)


def _build(bench: InferBench, file: Path) -> None:
    from alexnet_fast.export.engine_config import EngineConfig
    from alexnet_fast.export.graph_form import for_tensorrt
    from alexnet_fast.export.onnx.model import build_model, write_model
    from alexnet_fast.export.tensorrt.engine import build_engine
    from alexnet_fast.export.tensorrt.library import choose_library, installed_version
    from alexnet_fast.runtime.cuda import gpus
    from alexnet_fast.runtime.manifest import BatchProfile

    source = file.with_name("model.tensorrt.onnx")
    write_model(build_model(bench.network.net, bench.network.metadata("ten"), for_tensorrt("fp32")), source)
    archs = None if installed_version("tensorrt") else [gpus()[0].compute_capability]
    profiles = tuple(BatchProfile(min=1, opt=size, max=size) for size in bench.batch_sizes)
    build_engine(source, file, choose_library(archs), EngineConfig(profiles=profiles))


def _eager(bench: InferBench, gpu: int) -> Candidate:
    """PyTorch with its own times of the ways there and back."""
    import copy

    import torch

    from alexnet_fast.pipelines.ten_crop import crop_probabilities
    from alexnet_fast.runtime.engine_context import EngineTimes
    from alexnet_fast.utils.device import choose_device

    device = choose_device(f"cuda:{gpu}")
    net = copy.deepcopy(bench.network.net).eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    marks: Sequence[Any] = [
        torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        for _ in range(4)
    ]

    def call(images: Images) -> object:
        with torch.inference_mode(), torch.cuda.device(device):
            marks[0].record()
            there = torch.from_numpy(images).to(device)
            marks[1].record()
            answer = crop_probabilities(net, there, bench.network.spec, "ten")
            marks[2].record()
            back = answer.cpu().numpy()
            marks[3].record()
            marks[3].synchronize()
        return back

    def times() -> EngineTimes:
        return EngineTimes(*(marks[i].elapsed_time(marks[i + 1]) for i in range(3)))

    name = torch.cuda.get_device_name(device)
    return Candidate(call=call, backend=f"PyTorch {torch.__version__} on {name}", gpu_times=times)
