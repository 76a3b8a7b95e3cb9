"""Latency of a prediction: our ten-crop file against torch's own export, one crop, and PyTorch."""

from __future__ import annotations

import functools
import logging
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alexnet_fast.bench.infer_backends import OURS, SINGLE, choose_ours, gather
from alexnet_fast.bench.infer_config import InferBench
from alexnet_fast.bench.infer_files import write_files
from alexnet_fast.bench.interleave import OnProgress, ignore_progress, run_interleaved, summarize
from alexnet_fast.bench.report import compared, main_figure
from alexnet_fast.errors import UnavailableError
from alexnet_fast.export.layers import read
from alexnet_fast.export.onnx.model import describe_writer
from alexnet_fast.runtime.base import parse_device
from alexnet_fast.runtime.cuda import driver_problem

if TYPE_CHECKING:
    from alexnet_fast.bench.infer_backends import CandidateSet
    from alexnet_fast.bench.infer_config import Candidate
    from alexnet_fast.bench.interleave import Rates
    from alexnet_fast.runtime.tensorrt_runtime import EngineTimes
    from alexnet_fast.utils.arrays import Pixels

# onnxruntime's threads keep spinning after a call and would take a core from the next candidate.
_PAUSE_S = 0.2
_UNIT = "p50_ms"
# Seven candidates that keep what a batch took held 5.5 GiB after batches of 4 and 9.5 GiB after 16.
_LARGE = 16

_log = logging.getLogger(__name__)


def measure_infer(bench: InferBench, on_progress: OnProgress = ignore_progress) -> dict[str, Any]:
    """Lets all candidates classify the same images in turns.

    Args:
        bench: What is measured.
        on_progress: Called after each turn with the turns done and all turns.

    Returns:
        The figures of `alexnet-fast bench infer --json`, without hardware and versions: those of the first
        batch size, and all in "batches". "not_run" gives the reason for each missing candidate.

    Raises:
        UnavailableError: Our candidate cannot run, and no fallback is allowed.
    """
    _check_gpu(bench)
    with tempfile.TemporaryDirectory() as directory:
        candidates = gather(bench, write_files(bench.network, Path(directory)), Path(directory))
        ours = _ours(bench, candidates)
        batches = []
        for index, size in enumerate(bench.batch_sizes):
            show = functools.partial(_show_all, on_progress, index, len(bench.batch_sizes))
            batches.append(_measure_batch(bench, candidates.running, ours, size, show))
    return {
        "model": bench.network.model,
        "ours": ours,
        "backend": candidates.running[ours].backend,
        "stem": describe_writer(read(bench.network.net), bench.network.metadata("ten")),
        "threads": bench.threads,
        **batches[0],
        "batches": batches,
        "backends": {name: candidate.backend for name, candidate in candidates.running.items()},
        "not_run": dict(candidates.not_run),
    }


def _show_all(on_progress: OnProgress, index: int, sizes: int, done: int, total: int) -> None:
    """Reports the progress of one batch size as that of all sizes."""
    on_progress(index * total + done, sizes * total)


def _check_gpu(bench: InferBench) -> None:
    """Checks the GPU before the minutes of exporting.

    Raises:
        UnavailableError: There is no GPU, and no fallback is allowed.
    """
    needs_gpu = bench.cuda_graphs or parse_device(bench.device).kind in ("cuda", "tensorrt")
    problem = driver_problem() if needs_gpu else None
    if problem is not None and not bench.allow_fallback:
        option = "--cuda-graphs" if bench.cuda_graphs else f"--device {bench.device}"
        raise UnavailableError(
            f"{option} needs a GPU: {problem}", "leave it out, or allow the CPU with --allow-fallback"
        )


def _ours(bench: InferBench, candidates: CandidateSet) -> str:
    """Returns the name of our candidate."""
    try:
        return choose_ours(candidates, bench.device, cuda_graphs=bench.cuda_graphs)
    except UnavailableError as error:
        if not bench.allow_fallback:
            raise
        _log.warning("%s; using %s", error.problem, candidates.running[OURS].backend)
        return OURS


def _measure_batch(
    bench: InferBench, running: Mapping[str, Candidate], ours: str, size: int, on_progress: OnProgress
) -> dict[str, Any]:
    """Returns the figures of one batch size."""
    images = bench.images(size)
    on_gpu: dict[str, list[EngineTimes]] = {name: [] for name, each in running.items() if each.gpu_times}
    turns = {name: _timed(each, images, on_gpu.get(name, [])) for name, each in running.items()}
    times = run_interleaved(turns, bench.runs, on_progress)
    rows = compared(times, ours, _UNIT)
    return {
        "batch_size": size,
        **main_figure(times[ours], _UNIT),
        **_latencies(times, on_gpu, ours, size),
        "compared": [{**row, **_latencies(times, on_gpu, row["name"], size)} for row in rows],
        "single_crop_ms": summarize(times[SINGLE]).median,
    }


def _latencies(
    times: Rates, on_gpu: Mapping[str, list[EngineTimes]], name: str, size: int
) -> dict[str, float]:
    """Returns the latencies of a row; on a GPU its own times too, with the transfers apart."""
    p50, p90, p99 = (float(value) for value in np.percentile(times[name], (50, 90, 99)))
    row = {"p90_ms": p90, "p99_ms": p99, "images_per_second": size / p50 * 1e3}
    if name in on_gpu:
        upload, compute, download = np.median(on_gpu[name], axis=0)
        row |= {"transfer_ms": float(upload + download), "compute_ms": float(compute)}
    return row


def _timed(candidate: Candidate, images: Pixels, gpu_times: list[EngineTimes]) -> Callable[[int], float]:
    """Returns a candidate that reports the milliseconds of a call; it releases the memory of large ones."""
    large = len(images) >= _LARGE

    def run(number: int) -> float:
        time.sleep(_PAUSE_S)
        # Not counted: it takes back the memory and the caches that the other candidates used.
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
