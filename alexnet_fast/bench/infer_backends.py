"""Who answers in `bench infer`, what really runs each of them, and who cannot, with the reason."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from alexnet_fast.bench.gpu_candidates import CUDA, ENGINE, GRAPHS, ON_GPU, gpu_candidate
from alexnet_fast.bench.infer_config import Candidate
from alexnet_fast.errors import UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

    from alexnet_fast.bench.infer import InferBench
    from alexnet_fast.bench.infer_config import Images
    from alexnet_fast.bench.infer_files import InferFiles

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


def gather(bench: InferBench, files: InferFiles, folder: Path) -> Field:
    """Loads everybody who can run here.

    Args:
        bench: What is measured, and on what.
        files: The network's forms.
        folder: For the engine.
    """
    everybody = (*_on_cpu(bench, files), *_on_gpu(bench, files, folder))
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
    yield OURS, lambda: _onnx(files.ours, bench.threads)
    yield CROP_BY_CROP, lambda: _onnx(files.crop_by_crop, bench.threads)
    yield PLAIN, lambda: _onnx(_there(files.plain), bench.threads)
    yield SINGLE, lambda: _onnx(files.single, bench.threads)
    yield EAGER, lambda: _eager(bench)
    yield OURS_OPENVINO, lambda: _openvino(files.ours, bench.threads)
    yield PLAIN_OPENVINO, lambda: _openvino(_there(files.plain), bench.threads)


def _on_gpu(
    bench: InferBench, files: InferFiles, folder: Path
) -> Iterator[tuple[str, Callable[[], Candidate]]]:
    for name in ON_GPU:
        if bench.cuda_graphs or name != GRAPHS:
            yield name, lambda name=name: gpu_candidate(name, bench, files, folder)  # type: ignore[misc]


def _there(plain: Path | None) -> Path:
    """Returns torch's export.

    Raises:
        UnavailableError: There is none.
    """
    if plain is None:
        raise UnavailableError("onnxscript is not installed", "pip install 'alexnet-fast[torch-export]'")
    return plain


def _onnx(file: Path, threads: int) -> Candidate:
    from alexnet_fast.runtime.onnx_runtime import OnnxModel

    model = OnnxModel(file, threads=threads)
    return Candidate(call=model.run, backend=model.backend, release=model.release_memory)


def _eager(bench: InferBench) -> Candidate:
    import torch

    from alexnet_fast.pipelines.ten_crop import crop_probabilities

    net = bench.network.net.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    torch.set_num_threads(bench.threads)

    def call(images: Images) -> object:
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
    from alexnet_fast.runtime.asked_device import parse_device

    wanted = {"cuda": CUDA, "tensorrt": ENGINE}.get(parse_device(device).kind, OURS)
    for name in (wanted, *([GRAPHS] if cuda_graphs else [])):
        if name not in field.running:
            raise UnavailableError(
                f"{name} was asked for and cannot run: {field.not_run[name]}",
                "allow the CPU with --allow-fallback",
            )
    return wanted
