"""Who answers in `bench infer`, what really runs each of them, and who cannot, with the reason."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from alexnet_fast.bench.infer_config import Candidate
from alexnet_fast.errors import UnavailableError, UserError
from alexnet_fast.runtime.base import parse_device
from alexnet_fast.runtime.cuda import driver_problem

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from alexnet_fast.bench.infer_config import InferBench
    from alexnet_fast.bench.infer_files import InferFiles
    from alexnet_fast.runtime.onnx_runtime import ProviderName
    from alexnet_fast.utils.arrays import Pixels

# In the order in which they are shown; the last needs --cuda-graphs.
ON_GPU = (
    "ours, onnxruntime CUDA",
    "ours, onnxruntime TensorRT",
    "ours, TensorRT engine",
    "PyTorch on the GPU, ten crops at once",
    "ours, TensorRT engine, CUDA graphs",
)
CUDA, TENSORRT, ENGINE, EAGER_GPU, GRAPHS = ON_GPU


def gpu_candidate(name: str, bench: InferBench, files: InferFiles, directory: Path) -> Candidate:
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
        return _engine(bench, directory, cuda_graphs=name == GRAPHS)
    return _onnx(files.ours, ("cuda",) if name == CUDA else ("tensorrt", "cuda"), asked.gpu)


def _onnx(file: Path, providers: Sequence[ProviderName], gpu: int) -> Candidate:
    from alexnet_fast.runtime.onnx_runtime import OnnxModel

    model = OnnxModel(file, providers=providers, gpu=gpu)
    return Candidate(call=model.run, backend=model.backend)


def _engine(bench: InferBench, directory: Path, *, cuda_graphs: bool) -> Candidate:
    """Builds an engine in float32 with kernels for each of the batch sizes."""
    from alexnet_fast.runtime.tensorrt_runtime import EngineModel

    file = directory / "model.engine"
    try:
        if not file.exists():
            _build(bench, file)
        model = EngineModel(file, cuda_graphs=cuda_graphs)
    except UserError as error:
        # No TensorRT for this GPU is no reason to leave the others unmeasured.
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


def _eager(bench: InferBench, gpu: int) -> Candidate:
    """PyTorch with its own times of the ways there and back."""
    import copy

    import torch

    from alexnet_fast.pipelines.ten_crop import crop_probabilities
    from alexnet_fast.runtime.tensorrt_runtime import EngineTimes
    from alexnet_fast.utils.device import choose_device

    device = choose_device(f"cuda:{gpu}")
    net = copy.deepcopy(bench.network.net).eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    marks: Sequence[Any] = [
        torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        for _ in range(4)
    ]

    def call(images: Pixels) -> object:
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


if TYPE_CHECKING:
    from pathlib import Path

    from alexnet_fast.bench.infer_config import InferBench
    from alexnet_fast.bench.infer_files import InferFiles
    from alexnet_fast.utils.arrays import Pixels

OURS = "ours, onnxruntime"
CROP_BY_CROP = "ours without the shared stem, onnxruntime"
PLAIN = "torch export, onnxruntime"
SINGLE = "ours, one crop, onnxruntime"
EAGER = "PyTorch, ten crops at once"
OURS_OPENVINO = "ours, OpenVINO"
PLAIN_OPENVINO = "torch export, OpenVINO"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Field:
    """Everybody.

    Args:
        running: By name.
        not_run: Why the others are missing, by name.
    """

    running: Mapping[str, Candidate]
    not_run: Mapping[str, str]


def gather(bench: InferBench, files: InferFiles, directory: Path) -> Field:
    """Loads everybody who can run here.

    Args:
        bench: What is measured, and on what.
        files: The network's forms.
        directory: For the engine.
    """
    everybody = (*_on_cpu(bench, files), *_on_gpu(bench, files, directory))
    loaded = {name: _loaded(make) for name, make in everybody}
    return Field(
        running={name: one for name, one in loaded.items() if isinstance(one, Candidate)},
        not_run={name: one for name, one in loaded.items() if isinstance(one, str)},
    )


def _loaded(make: Callable[[], Candidate]) -> Candidate | str:
    """Returns a candidate, or why it cannot run."""
    try:
        return make()
    except UnavailableError as error:
        return str(error)


def _on_cpu(bench: InferBench, files: InferFiles) -> Iterator[tuple[str, Callable[[], Candidate]]]:
    yield OURS, lambda: _onnx_on_cpu(files.ours, bench.threads)
    yield CROP_BY_CROP, lambda: _onnx_on_cpu(files.crop_by_crop, bench.threads)
    yield PLAIN, lambda: _onnx_on_cpu(_there(files.plain), bench.threads)
    yield SINGLE, lambda: _onnx_on_cpu(files.single, bench.threads)
    yield EAGER, lambda: _eager_on_cpu(bench)
    yield OURS_OPENVINO, lambda: _openvino(files.ours, bench.threads)
    yield PLAIN_OPENVINO, lambda: _openvino(_there(files.plain), bench.threads)


def _on_gpu(
    bench: InferBench, files: InferFiles, directory: Path
) -> Iterator[tuple[str, Callable[[], Candidate]]]:
    for name in ON_GPU:
        if bench.cuda_graphs or name != GRAPHS:
            yield name, lambda name=name: gpu_candidate(name, bench, files, directory)  # type: ignore[misc]


def _there(plain: Path | None) -> Path:
    """Returns torch's export.

    Raises:
        UnavailableError: There is none.
    """
    if plain is None:
        raise UnavailableError("onnxscript is not installed", "pip install 'alexnet-fast[torch-export]'")
    return plain


def _onnx_on_cpu(file: Path, threads: int) -> Candidate:
    from alexnet_fast.runtime.onnx_runtime import OnnxModel

    model = OnnxModel(file, threads=threads)
    return Candidate(call=model.run, backend=model.backend, release=model.release_memory)


def _eager_on_cpu(bench: InferBench) -> Candidate:
    import torch

    from alexnet_fast.pipelines.ten_crop import crop_probabilities

    net = bench.network.net.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    torch.set_num_threads(bench.threads)

    def call(images: Pixels) -> object:
        with torch.inference_mode():
            return crop_probabilities(net, torch.from_numpy(images), bench.network.spec, "ten").numpy()

    return Candidate(call=call, backend=f"PyTorch {torch.__version__} on cpu")


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


def choose_ours(field: Field, device: str, *, cuda_graphs: bool) -> str:
    """Returns who stands for us: what `--device` asks for.

    Raises:
        UnavailableError: It cannot run, and the reason.
    """
    from alexnet_fast.runtime.base import parse_device

    wanted = {"cuda": CUDA, "tensorrt": ENGINE}.get(parse_device(device).kind, OURS)
    for name in (wanted, *([GRAPHS] if cuda_graphs else [])):
        if name not in field.running:
            raise UnavailableError(
                f"{name} was asked for and cannot run: {field.not_run[name]}",
                "allow the CPU with --allow-fallback",
            )
    return wanted
