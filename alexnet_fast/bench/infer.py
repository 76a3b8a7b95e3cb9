"""How fast images are answered: our ten-crop file against torch's own export, one crop, and PyTorch."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alexnet_fast.bench import report
from alexnet_fast.bench.infer_backends import OURS, SINGLE, choose_ours, gather
from alexnet_fast.bench.infer_config import InferBench
from alexnet_fast.bench.infer_files import write_files
from alexnet_fast.bench.interleave import figure, run_interleaved
from alexnet_fast.errors import UnavailableError
from alexnet_fast.export.layers import read
from alexnet_fast.export.onnx.model import describe_writer
from alexnet_fast.runtime.base import parse_device
from alexnet_fast.runtime.cuda import driver_problem

if TYPE_CHECKING:
    from alexnet_fast.bench.infer_backends import Field
    from alexnet_fast.bench.infer_config import Candidate
    from alexnet_fast.bench.interleave import Rates
    from alexnet_fast.runtime.tensorrt_runtime import EngineTimes
    from alexnet_fast.utils.arrays import Pixels

# onnxruntime's threads go on spinning after a call and take a core from whoever comes next.
_PAUSE_S = 0.2
_UNIT = "p50_ms"
# Seven candidates that keep what a batch took held 5.5 GiB after batches of 4 and 9.5 GiB after 16.
_LARGE = 16

_log = logging.getLogger(__name__)


def measure_infer(
    bench: InferBench,
    begin: Callable[[int], object] = lambda _: None,
    on_progress: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    """Lets everyone answer the same images in turns.

    Args:
        bench: What is measured.
        begin: Told the number of turns before the first.
        on_progress: Called after each turn.

    Returns:
        The figures of `alexnet-fast bench infer --json`, without hardware and versions: those of the first
        batch size, and all in "batches". "not_run" says why somebody is missing.

    Raises:
        UnavailableError: What stands for us cannot run, and no fallback is allowed.
    """
    _check_gpu(bench)
    with tempfile.TemporaryDirectory() as directory:
        field = gather(bench, write_files(bench.network, Path(directory)), Path(directory))
        ours = _ours(bench, field)
        begin(len(bench.batch_sizes) * len(field.running) * (bench.runs + 1))
        batches = [
            _measure_batch(bench, field.running, ours, size, on_progress) for size in bench.batch_sizes
        ]
    return {
        "model": bench.network.model,
        "ours": ours,
        "backend": field.running[ours].backend,
        "stem": describe_writer(read(bench.network.net), bench.network.metadata("ten")),
        "threads": bench.threads,
        **batches[0],
        "batches": batches,
        "backends": {name: candidate.backend for name, candidate in field.running.items()},
        "not_run": dict(field.not_run),
    }


def _check_gpu(bench: InferBench) -> None:
    """Says at once, and not after minutes of exporting, that there is no GPU for what was asked for.

    Raises:
        UnavailableError: There is none, and no fallback is allowed.
    """
    needs_gpu = bench.cuda_graphs or parse_device(bench.device).kind in ("cuda", "tensorrt")
    problem = driver_problem() if needs_gpu else None
    if problem is not None and not bench.allow_fallback:
        option = "--cuda-graphs" if bench.cuda_graphs else f"--device {bench.device}"
        raise UnavailableError(
            f"{option} needs a GPU: {problem}", "leave it out, or allow the CPU with --allow-fallback"
        )


def _ours(bench: InferBench, field: Field) -> str:
    """Returns who stands for us."""
    try:
        return choose_ours(field, bench.device, cuda_graphs=bench.cuda_graphs)
    except UnavailableError as error:
        if not bench.allow_fallback:
            raise
        _log.warning("%s; %s stands for it", error.problem, field.running[OURS].backend)
        return OURS


def _measure_batch(
    bench: InferBench,
    running: Mapping[str, Candidate],
    ours: str,
    size: int,
    on_progress: Callable[[], object],
) -> dict[str, Any]:
    """Returns the figures of one batch size."""
    images = bench.images(size)
    on_gpu: dict[str, list[EngineTimes]] = {name: [] for name, one in running.items() if one.gpu_times}
    turns = {name: _timed(one, images, on_gpu.get(name, [])) for name, one in running.items()}
    times = run_interleaved(turns, bench.runs, on_progress)
    baselines = report.compared(times, ours, [name for name in times if name != ours], _UNIT)
    return {
        "batch_size": size,
        **report.main_figure(times[ours], _UNIT),
        **_latencies(times, on_gpu, ours, size),
        "compared": [
            {**baseline, **_latencies(times, on_gpu, baseline["name"], size)} for baseline in baselines
        ],
        "single_crop_ms": figure(times[SINGLE]).median,
    }


def _latencies(
    times: Rates, on_gpu: Mapping[str, list[EngineTimes]], name: str, size: int
) -> dict[str, float]:
    """Returns what every row has; the GPU's own times where it was one, and the way there and back apart."""
    p50, p90, p99 = (float(value) for value in np.percentile(times[name], (50, 90, 99)))
    row = {"p90_ms": p90, "p99_ms": p99, "images_per_second": size / p50 * 1e3}
    if name in on_gpu:
        upload, compute, download = np.median(on_gpu[name], axis=0)
        row |= {"transfer_ms": float(upload + download), "compute_ms": float(compute)}
    return row


def _timed(candidate: Candidate, images: Pixels, gpu_times: list[EngineTimes]) -> Callable[[int], float]:
    """Returns a candidate that reports the milliseconds of a call; between large ones it holds no memory."""
    large = len(images) >= _LARGE

    def run(number: int) -> float:
        time.sleep(_PAUSE_S)
        # Not counted: the memory and the caches that the others' turns took are taken back.
        candidate.call(images)
        started = time.perf_counter()
        candidate.call(images)
        passed = (time.perf_counter() - started) * 1e3
        if large:
            candidate.release()
        # Number 0 is the warm-up.
        if number and candidate.gpu_times is not None:
            gpu_times.append(candidate.gpu_times())
        return passed

    return run
