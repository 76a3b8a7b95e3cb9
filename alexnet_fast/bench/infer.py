"""How fast a picture is answered: our ten-crop file against torch's own export, one crop, and PyTorch."""

from __future__ import annotations

import dataclasses
import importlib.util
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alexnet_fast.bench import report
from alexnet_fast.bench.turns import figure, take_turns
from alexnet_fast.errors import UserError
from alexnet_fast.export.graph_form import PORTABLE
from alexnet_fast.export.metadata import GraphMetadata
from alexnet_fast.export.net_layers import read_layers
from alexnet_fast.export.onnx_graph import build_model, plan_for, write_model

if TYPE_CHECKING:
    import torch

    from alexnet_fast.pipelines.spec import AugmentSpec

OURS = "ours, onnxruntime"
CROP_BY_CROP = "ours without the shared stem, onnxruntime"
PLAIN = "torch export, onnxruntime"
SINGLE = "ours, one crop, onnxruntime"
EAGER = "PyTorch, ten crops at once"
OURS_OPENVINO = "ours, OpenVINO"
PLAIN_OPENVINO = "torch export, OpenVINO"
# onnxruntime's threads go on spinning after a call and take a core from whoever comes next.
_PAUSE_S = 0.2

Pictures = np.ndarray[Any, np.dtype[np.uint8]]
Call = Callable[[Pictures], object]


@dataclasses.dataclass(frozen=True, kw_only=True)
class InferBench:
    """What `bench infer` measures.

    Args:
        net: A sequential network that returns logits, on the CPU.
        spec: Its sizes and normalisation, with a margin for ten crops.
        model: Its name.
        classes: Number of its outputs.
        batch_size: Pictures a call.
        threads: Of every contestant.
        runs: Counted calls of each.

    Raises:
        UserError: There is no run.
    """

    net: torch.nn.Module
    spec: AugmentSpec
    model: str
    classes: int
    batch_size: int
    threads: int
    runs: int

    def __post_init__(self) -> None:
        for option, value in (("--runs", self.runs), ("--batch-size", self.batch_size)):
            if value < 1:
                raise UserError(f"{option} is {value}", "give 1 or more", exit_code=2)

    @property
    def pictures(self) -> Pictures:
        """Noise: how long a network takes does not depend on what it sees."""
        side = self.spec.resize
        return np.random.default_rng(0).integers(0, 256, (self.batch_size, side, side, 3), np.uint8)


def measure_infer(bench: InferBench, show: Callable[[], object] = lambda: None) -> dict[str, Any]:
    """Lets everyone answer the same pictures in turns.

    Returns:
        The figures of `alexnet-fast bench infer --json`, without hardware and versions. "left_out" names the
        contestants that need a package which is not installed.
    """
    with tempfile.TemporaryDirectory() as folder:
        calls, backend, left_out = _contestants(bench, Path(folder))
        times = take_turns(
            {name: _timed(call, bench.pictures) for name, call in calls.items()}, bench.runs, show
        )
    peers = [name for name in times if name != OURS]
    p50, p90, p99 = np.percentile(times[OURS], (50, 90, 99))
    plan = plan_for(read_layers(bench.net), _metadata(bench, "ten"), PORTABLE)
    return {
        "model": bench.model,
        "backend": backend,
        "stem": plan.describe() if plan else None,
        "batch_size": bench.batch_size,
        "threads": bench.threads,
        **report.main_figure(times[OURS], "p50_ms"),
        "p90_ms": float(p90),
        "p99_ms": float(p99),
        "images_per_second": bench.batch_size / float(p50) * 1e3,
        "compared": report.compared(times, OURS, peers, "p50_ms"),
        "single_crop_ms": figure(times[SINGLE]).median,
        "left_out": left_out,
    }


def _contestants(bench: InferBench, folder: Path) -> tuple[dict[str, Call], str, list[dict[str, str]]]:
    """Returns the contestants, what ours runs on as its session says, and who is missing, with the mend."""
    from alexnet_fast.serve.onnx_model import OnnxModel

    files = _write_files(bench, folder)
    models = {name: OnnxModel(file, threads=bench.threads) for name, file in files.items()}
    calls: dict[str, Call] = {name: model.run for name, model in models.items()}
    calls[EAGER] = _eager(bench)
    left_out = []
    if PLAIN not in files:
        left_out.append({"name": PLAIN, "mend": "pip install 'alexnet-fast[torch-export]'"})
    if importlib.util.find_spec("openvino") is None:
        left_out.append({"name": PLAIN_OPENVINO, "mend": "pip install 'alexnet-fast[openvino]'"})
    else:
        calls[OURS_OPENVINO] = _openvino(files[OURS], bench.threads)
        if PLAIN in files:
            calls[PLAIN_OPENVINO] = _openvino(files[PLAIN], bench.threads)
    return calls, models[OURS].backend, left_out


def _write_files(bench: InferBench, folder: Path) -> dict[str, Path]:
    """Writes the network in each form."""
    plain_stem = dataclasses.replace(PORTABLE, stem="plain")
    models = {
        OURS: build_model(bench.net, _metadata(bench, "ten")),
        CROP_BY_CROP: build_model(bench.net, _metadata(bench, "ten"), plain_stem),
        SINGLE: build_model(bench.net, _metadata(bench, "single")),
    }
    files = {}
    for number, (name, model) in enumerate(models.items()):
        files[name] = folder / f"{number}.onnx"
        write_model(model, files[name])
    if importlib.util.find_spec("onnxscript") is not None:
        from alexnet_fast.export.torch_export import export_ten_crop

        classes = _metadata(bench, "ten").classes
        files[PLAIN] = export_ten_crop(
            _with_torchs_lrn(bench.net), bench.spec, classes, folder / "plain.onnx"
        )
    return files


def _metadata(bench: InferBench, crops: Any) -> GraphMetadata:
    return GraphMetadata(
        classes=tuple(str(number) for number in range(bench.classes)),
        spec=bench.spec,
        model=bench.model,
        crops=crops,
        version="bench",
        provenance={},
    )


def _with_torchs_lrn(net: torch.nn.Module) -> torch.nn.Module:
    """Returns the network with PyTorch's own LRN: what somebody would export who has never seen ours."""
    import torch

    return torch.nn.Sequential(
        *(
            torch.nn.LocalResponseNorm(layer.size, layer.alpha, layer.beta, layer.k)  # type: ignore[arg-type]
            if type(layer).__name__ == "LocalResponseNorm"
            else layer
            for layer in net.children()
        )
    )


def _eager(bench: InferBench) -> Call:
    import torch

    from alexnet_fast.pipelines.crops import crop_probabilities

    net = bench.net.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    torch.set_num_threads(bench.threads)

    def call(pictures: Pictures) -> object:
        with torch.inference_mode():
            return crop_probabilities(net, torch.from_numpy(pictures), bench.spec, "ten").numpy()

    return call


def _openvino(file: Path, threads: int) -> Call:
    """Returns a file in OpenVINO, in float32: on some processors its default would be bfloat16."""
    import openvino

    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    request = openvino.Core().compile_model(str(file), "CPU", settings).create_infer_request()
    return lambda pictures: request.infer([pictures])


def _timed(call: Call, pictures: Pictures) -> Callable[[int], float]:
    """Returns a contestant that reports the milliseconds of one call."""

    def run(number: int) -> float:
        del number
        time.sleep(_PAUSE_S)
        started = time.perf_counter()
        call(pictures)
        return (time.perf_counter() - started) * 1e3

    return run
