"""Benchmarks take turns, compare run by run and say what they ran on."""

from __future__ import annotations

import importlib.metadata
import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from alexnet_fast.bench import report
from alexnet_fast.bench.input import LIMIT, NAMES, InputBench, measure_input, name_beside
from alexnet_fast.bench.interleave import rate_of, ratio, run_interleaved, summarize
from alexnet_fast.data import open_data
from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.loader import LoaderConfig
from alexnet_fast.pipelines.spec import AugmentSpec


def test_candidates_take_turns_after_one_run_that_is_not_counted() -> None:
    order: list[tuple[str, int]] = []

    def candidate(name: str, rate: float) -> object:
        def run(number: int) -> float:
            order.append((name, number))
            return rate * (number or 100)

        return run

    rates = run_interleaved({"a": candidate("a", 2.0), "b": candidate("b", 1.0)}, runs=3)  # type: ignore[dict-item]
    assert order == [(name, run) for run in range(4) for name in "ab"]
    assert rates == {"a": [2.0, 4.0, 6.0], "b": [1.0, 2.0, 3.0]}
    summary = summarize(rates["a"])
    assert (summary.low, summary.median, summary.high) == (2.0, 4.0, 6.0)


def test_a_ratio_is_taken_run_by_run() -> None:
    """A machine that slows down to a tenth in the middle does not change what is compared."""
    ours, theirs = [20.0, 2.0, 2.0], [10.0, 1.0, 1.0]
    assert ratio(ours, theirs).median == 2.0
    assert ratio(ours, theirs).low == ratio(ours, theirs).high == 2.0


def bench_of(root: Path, **options: object) -> InputBench:
    """Makes a bench over 48 real images."""
    settings = {
        "image_list": open_data(root).train,
        "spec": AugmentSpec(resize=72, crop=64),
        "config": LoaderConfig(device=torch.device("cpu"), workers=2),
        "batch_size": 16,
        "runs": 2,
        "seconds": 0.05,
    }
    return InputBench(**{**settings, **options})  # type: ignore[arg-type]


def test_the_clock_starts_once_a_stream_flows_and_counts_what_comes_after() -> None:
    taken: list[int] = []

    def stream() -> Iterator[int]:
        for size in itertools.count(1):
            taken.append(size)
            time.sleep(0.01)
            yield size

    rate = rate_of(stream(), 0.05)
    counted = taken[8:]
    assert counted
    # Every batch takes 10 ms or more, however slow the machine is.
    assert 0 < rate <= sum(counted) / (0.01 * len(counted))


@pytest.mark.parametrize("threads", [1, 4, 16, 64])
def test_prefetched_batches_of_dataloader_workers_are_not_counted(threads: int) -> None:
    """torch's workers prepare two batches each while others have their turn."""
    reserve = itertools.repeat(1_000_000, 2 * threads)
    later = itertools.repeat(0)
    assert rate_of(itertools.chain(reserve, later), 0.01, threads) == 0


def test_a_baseline_beside_a_gpu_is_marked_as_on_the_cpu() -> None:
    """The baselines' scripts load on the CPU, wherever ours do."""
    assert name_beside("libjpeg-turbo, decoding alone", "cpu") == "libjpeg-turbo, decoding alone"
    assert name_beside("DALI, NVIDIA's example", "cuda") == "DALI, NVIDIA's example, on the CPU"


@pytest.mark.parametrize("kind", ["dali", pytest.param("torch", marks=pytest.mark.slow)])
def test_input_is_compared_with_the_other_loader_and_with_decoding_alone(
    two_classes: Path, kind: str
) -> None:
    shown: list[tuple[int, int]] = []
    config = LoaderConfig(kind=kind, device=torch.device("cpu"), workers=2)
    result = measure_input(bench_of(two_classes, config=config), lambda *turns: shown.append(turns))
    other = NAMES["torch" if kind == "dali" else "dali"]
    assert result["loader"] == kind
    assert [row["name"] for row in result["compared"]] == [other, LIMIT]
    assert result["decoding_alone"] == result["compared"][1]
    assert all(row["images_per_second"] > 0 and row["ours_over_it"] > 0 for row in result["compared"])
    assert result["low"] <= result["images_per_second"] <= result["high"]
    costs = result["microseconds_per_image"]
    assert set(costs) == {"reading", "decoding", "resizing", "normalising"}
    assert shown == [(turn, 6 * 3) for turn in range(1, 6 * 3 + 1)]
    # The parts of an image add up to the time of an image.
    dali = result if kind == "dali" else result["compared"][0]
    assert sum(costs.values()) == pytest.approx(1e6 / dali["images_per_second"])


def test_other_formats_of_the_images_take_turns_too(two_classes: Path) -> None:
    again = bench_of(two_classes).image_list
    result = measure_input(bench_of(two_classes, compare={"raw": again}, runs=1))
    assert result["compared"][1]["name"] == "DALI, raw"
    assert result["compared"][1]["ours_over_it"] > 0


def test_numbers_that_measure_nothing_are_refused(two_classes: Path) -> None:
    with pytest.raises(UserError, match="runs=0 does not fit; give a whole number of at least 1"):
        bench_of(two_classes, runs=0)
    with pytest.raises(UserError, match="seconds=0 does not fit; give a number above 0"):
        bench_of(two_classes, seconds=0)
    with pytest.raises(UserError, match="--batch-size 5000 exceeds the 40"):
        measure_input(bench_of(two_classes, batch_size=5000))


def test_a_report_carries_the_spread_and_every_ratio_is_taken_run_by_run() -> None:
    rates = {"ours": [20.0, 40.0, 60.0], "baseline": [10.0, 10.0, 20.0]}
    assert report.main_figure(rates["ours"], "images_per_second") == {
        "images_per_second": 40.0,
        "low": 20.0,
        "high": 60.0,
        "runs": 3,
    }
    (baseline,) = report.compared(rates, "ours", "images_per_second")
    assert (baseline["images_per_second"], baseline["low"], baseline["high"]) == (10.0, 10.0, 20.0)
    assert (baseline["ours_over_it"], baseline["ratio_low"], baseline["ratio_high"]) == (3.0, 2.0, 4.0)
    machine = report.machine()
    assert machine["hardware"]["cpu"]["cores"] >= 1
    # What is installed: the build for CUDA has more behind it in torch.__version__.
    assert machine["versions"]["torch"] == importlib.metadata.version("torch")
