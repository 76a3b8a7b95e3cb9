"""The limits of a machine: multiplying, convolving and copying memory. No network exceeds them.

    python -m benchmarks.roofline [--device cpu|cuda] [--threads N] [--runs N] [--quick]

prints one JSON object. torch does the work, so the roof is that of the library that training uses, not of
a data sheet. See Williams, Waterman and Patterson, "Roofline" (2009), https://doi.org/10.1145/1498765.1498785.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from alexnet_fast.bench import report
from alexnet_fast.bench.interleave import run_interleaved

# Side of square matrices that multiply at full speed, and a side for a quick run.
_SIDE, _QUICK_SIDE = 2048, 768
# conv3 of the paper's network (section 3.5): 256 channels to 384, 3 x 3, maps of 13 x 13, for a batch of 32.
_BATCH, _FROM, _TO, _KERNEL, _MAP = 32, 256, 384, 3, 13
# Number of 4-byte floats: far more than any cache holds.
_COPIED, _QUICK_COPIED = 1 << 26, 1 << 23
# Repetitions per turn, after an uncounted one.
_REPEAT = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class RooflineBench:
    """What `benchmarks.roofline` measures.

    Args:
        device: Device.
        threads: Threads of torch, on a CPU.
        runs: Counted turns.
        quick: Use small matrices, which shows that it runs but not the machine's limits.
    """

    device: torch.device
    threads: int
    runs: int
    quick: bool = False


def measure_roofline(bench: RooflineBench) -> dict[str, Any]:
    """Lets the three take turns.

    Returns:
        "gemm_gflops", "conv_gflops" (10^9 operations a second; a multiplication and an addition are two) and
        "copy_gb_per_second" (10^9 bytes a second, read and written), each with "median", "low" and "high"; on
        a GPU also "gemm_fp16_gflops"; and what they were measured with.
    """
    torch.set_num_threads(bench.threads)
    rates = run_interleaved(_candidates(bench), bench.runs)
    return {
        "device": bench.device.type,
        "threads": bench.threads,
        "runs": bench.runs,
        "matrix_side": _side(bench),
        "copied_bytes": 4 * _copied(bench),
        **{name: _summary(each) for name, each in rates.items()},
    }


def _summary(rates: list[float]) -> dict[str, float]:
    """Returns the median and the spread."""
    figure = report.main_figure(rates, "median")
    return {name: figure[name] for name in ("median", "low", "high")}


def _candidates(bench: RooflineBench) -> dict[str, Callable[[int], float]]:
    """Returns each as a function that returns its rate in 10^9 per second."""
    gemm = {"gemm_gflops": torch.float32}
    if bench.device.type == "cuda":
        gemm["gemm_fp16_gflops"] = torch.float16
    candidates = {
        name: _timed(bench, _gemm(bench, dtype), 2 * _side(bench) ** 3) for name, dtype in gemm.items()
    }
    convolved = 2 * _BATCH * _TO * _MAP**2 * _FROM * _KERNEL**2
    candidates["conv_gflops"] = _timed(bench, _convolution(bench), convolved)
    # Every number is read once and written once.
    candidates["copy_gb_per_second"] = _timed(bench, _copy(bench), 2 * 4 * _copied(bench))
    return candidates


def _side(bench: RooflineBench) -> int:
    return _QUICK_SIDE if bench.quick else _SIDE


def _copied(bench: RooflineBench) -> int:
    return _QUICK_COPIED if bench.quick else _COPIED


def _gemm(bench: RooflineBench, dtype: torch.dtype) -> Callable[[], object]:
    """Multiplies square matrices."""
    side = _side(bench)
    left, right = (torch.randn(side, side, device=bench.device).to(dtype) for _ in range(2))
    out = torch.empty_like(left)
    return lambda: torch.mm(left, right, out=out)


def _convolution(bench: RooflineBench) -> Callable[[], object]:
    """Convolves as conv3 of the network does, channels last."""
    last = torch.channels_last
    maps = torch.randn(_BATCH, _FROM, _MAP, _MAP, device=bench.device).to(memory_format=last)
    kernels = torch.randn(_TO, _FROM, _KERNEL, _KERNEL, device=bench.device).to(memory_format=last)

    def convolve() -> object:
        with torch.inference_mode():
            return functional.conv2d(maps, kernels, padding=1)

    return convolve


def _copy(bench: RooflineBench) -> Callable[[], object]:
    """Copies memory."""
    source = torch.ones(_copied(bench), device=bench.device)
    target = torch.zeros_like(source)
    return lambda: target.copy_(source)


def _timed(bench: RooflineBench, work: Callable[[], object], amount: int) -> Callable[[int], float]:
    """Returns a candidate that reports `amount` times 10^-9 per second."""

    def run(_: int) -> float:
        work()
        _wait(bench.device)
        started = time.perf_counter()
        for _turn in range(_REPEAT):
            work()
        _wait(bench.device)
        return _REPEAT * amount / (time.perf_counter() - started) * 1e-9

    return run


def _wait(device: torch.device) -> None:
    """Waits until a GPU has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _main() -> None:
    """Reads the options and prints the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.roofline")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    if given.threads < 1 or given.runs < 1:
        parser.error("--threads and --runs are 1 or more")
    bench = RooflineBench(**{**vars(given), "device": torch.device(given.device)})
    print(json.dumps({**measure_roofline(bench), **report.machine()}))  # noqa: T201 - it is the answer


if __name__ == "__main__":
    _main()
