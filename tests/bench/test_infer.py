"""`bench infer` answers the same images with everyone, in turns, and says who is missing and why."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from alexnet_fast.bench import infer
from alexnet_fast.bench import infer_backends as candidates
from alexnet_fast.bench.infer_config import Candidate
from alexnet_fast.bench.network import BenchModel
from alexnet_fast.cli.commands.bench_infer import _sizes, bench_infer
from alexnet_fast.errors import UnavailableError, UserError
from alexnet_fast.models import create_model
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.runtime.cuda import gpu_count
from alexnet_fast.runtime.tensorrt_runtime import EngineTimes
from needs import needs_no_gpu

KEYS = {"model", "backend", "batch_size", "p50_ms", "p90_ms", "p99_ms", "images_per_second", "compared"}


def small(**given):
    network = BenchModel(
        net=create_model("alexnet-64", 2), spec=AugmentSpec(resize=72, crop=64), model="alexnet-64", classes=2
    )
    return infer.InferBench(**{"network": network, "batch_sizes": (1,), "threads": 1, "runs": 1, **given})


@pytest.mark.slow
def test_all_candidates_take_turns() -> None:
    # As users run it, in a process of its own: OpenVINO in one that holds DALI pipelines crashed it later on.
    command = [sys.executable, "-m", "alexnet_fast", "bench", "infer"]
    options = ["--model", "alexnet-64", "--batch-size", "2,1", "--runs", "1", "--json"]
    fallback = ["--device", "tensorrt", "--cuda-graphs", "--allow-fallback"] if not gpu_count() else []
    done = subprocess.run([*command, *options, *fallback], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert KEYS | {"hardware", "versions", "runs", "low", "high", "stem", "threads"} <= set(found)
    assert "onnxruntime CPUExecutionProvider" in found["backend"]
    assert [batch["batch_size"] for batch in found["batches"]] == [2, 1]
    assert {key: found[key] for key in found["batches"][0]} == found["batches"][0], "the first one's"
    everyone = {
        candidates.OURS,
        candidates.CROP_BY_CROP,
        candidates.SINGLE,
        candidates.EAGER,
        candidates.PLAIN,
        candidates.OURS_OPENVINO,
        candidates.PLAIN_OPENVINO,
        *candidates.ON_GPU,
    }
    assert set(found["backends"]) | set(found["not_run"]) == everyone
    assert set(found["backends"]) >= {candidates.OURS, candidates.SINGLE, candidates.EAGER}
    assert (candidates.PLAIN in found["backends"]) == (importlib.util.find_spec("onnxscript") is not None)
    assert (candidates.OURS_OPENVINO in found["not_run"]) == (importlib.util.find_spec("openvino") is None)
    if not gpu_count():
        assert all("NVIDIA's driver" in found["not_run"][name] for name in candidates.ON_GPU)
        assert "TensorRT engine is unavailable" in done.stderr
    for batch in found["batches"]:
        names = [row["name"] for row in batch["compared"]]
        assert {candidates.OURS, *names} == set(found["backends"])
        for row in (batch, *batch["compared"]):
            assert 0 < row["low"] <= row["p50_ms"] <= row["p90_ms"] <= row["p99_ms"] <= row["high"] + 1e-9
            assert row["images_per_second"] == pytest.approx(1000 * batch["batch_size"] / row["p50_ms"])


@pytest.mark.parametrize("option", ["runs", "threads"])
def test_numbers_that_measure_nothing_are_refused(option) -> None:
    with pytest.raises(UserError, match=f"{option}=0 does not fit; give a whole number of at least 1"):
        small(**{option: 0})
    with pytest.raises(UserError, match="names a size twice, or none; give each once, 1 or more"):
        small(batch_sizes=(1, -4))
    with pytest.raises(UserError, match="names a size twice, or none"):
        small(batch_sizes=(1, 4, 1))
    with pytest.raises(UserError, match="--cuda-graphs needs a GPU; leave --device cpu out"):
        small(device="cpu", cuda_graphs=True)


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (["--batch-size", "1,x"], "--batch-size 1,x is not a list of batch sizes; give one, or several", 2),
        (["--batch-size", "1,"], "--batch-size 1, is not a list of batch sizes", 2),
        (["--batch-size", ""], "is not a list of batch sizes", 2),
        (["--batch-size", "0"], "--batch-size 0 is not a list of batch sizes; give one, or several", 2),
        (["--batch-size", "4", "--batch-size", "4"], "names a size twice", 2),
        (["--threads", "0"], "'--threads': give a whole number of at least 1", 2),
        (["--runs", "-1"], "'--runs': give a whole number of at least 1", 2),
        (["--device", "tpu"], "--device tpu is not a device", 2),
        (["--device", "cpu", "--cuda-graphs"], "--cuda-graphs needs a GPU", 2),
        (["--model", "alexnet-65"], "did you mean alexnet-64", 2),
        (["nowhere"], "no such run or file: nowhere", 2),
        pytest.param(["--device", "cuda"], "--device cuda needs a GPU: NVIDIA's", 1, marks=needs_no_gpu),
        pytest.param(["--device", "tensorrt"], "--device tensorrt needs a GPU", 1, marks=needs_no_gpu),
        pytest.param(["--cuda-graphs"], "--cuda-graphs needs a GPU: NVIDIA's", 1, marks=needs_no_gpu),
    ],
    ids=str,
)
def test_a_mistake_ends_in_one_line(words, said, code) -> None:
    model = [] if "--model" in words or "nowhere" in words else ["--model", "alexnet-64"]
    done = CliRunner().invoke(bench_infer, [*model, *words])
    assert done.exit_code == code, done.output
    # click says how the command is used before what is wrong with a value.
    assert said in done.stderr.splitlines()[-1]


def test_batch_sizes_come_in_lists_or_one_by_one() -> None:
    assert _sizes(("1",)) == (1,)
    assert _sizes(("1,4", "16, 64")) == (1, 4, 16, 64)


def test_a_requested_candidate_is_not_replaced_silently() -> None:
    cpu = Candidate(call=np.copy, backend="a CPU")
    field = candidates.CandidateSet(
        running={candidates.OURS: cpu}, not_run=dict.fromkeys(candidates.ON_GPU, "no such thing")
    )
    assert candidates.choose_ours(field, "auto", cuda_graphs=False) == candidates.OURS
    for device, graphs in (("cuda:1", False), ("tensorrt", False), ("auto", True)):
        with pytest.raises(UnavailableError, match="is unavailable: no such thing"):
            candidates.choose_ours(field, device, cuda_graphs=graphs)
    both = candidates.CandidateSet(running={candidates.OURS: cpu, candidates.CUDA: cpu}, not_run={})
    assert candidates.choose_ours(both, "cuda", cuda_graphs=False) == candidates.CUDA


def test_transfers_to_and_from_a_gpu_are_reported_apart(monkeypatch) -> None:
    """The figures are made up: what is shown is where they go."""
    given = iter([EngineTimes(1, 10, 2), EngineTimes(3, 20, 2), EngineTimes(2, 60, 1)])
    gpu = Candidate(call=np.copy, backend="a GPU", gpu_times=lambda: next(given))
    cpu = Candidate(call=np.copy, backend="a CPU")
    monkeypatch.setattr(infer, "_PAUSE_S", 0)
    running = {candidates.ENGINE: gpu, candidates.SINGLE: cpu}
    found = infer._measure_batch(small(runs=3), running, candidates.ENGINE, 2, lambda *_: None)
    assert (found["transfer_ms"], found["compute_ms"]) == (4, 20), "medians of 3 calls, the warm-up apart"
    assert found["batch_size"] == 2
    assert "transfer_ms" not in found["compared"][0]


def test_large_batches_release_their_memory_before_the_next_turn(monkeypatch) -> None:
    done = []
    candidate = Candidate(
        call=lambda images: done.append(len(images)), backend="", release=lambda: done.append("released")
    )
    monkeypatch.setattr(infer, "_PAUSE_S", 0)
    infer._timed(candidate, np.zeros((4, 1)), [])(1)
    infer._timed(candidate, np.zeros((16, 1)), [])(1)
    assert done == [4, 4, 16, 16, "released"], "and take it again before they are timed"


@pytest.mark.gpu
def test_on_a_gpu_every_candidate_runs_or_gives_the_reason() -> None:
    command = [sys.executable, "-m", "alexnet_fast", "bench", "infer", "--model", "alexnet-64", "--json"]
    options = ["--batch-size", "1,4", "--runs", "2", "--cuda-graphs", "--allow-fallback"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    for name in candidates.ON_GPU:
        assert (name in found["backends"]) != (name in found["not_run"])
    for batch in found["batches"]:
        for row in batch["compared"]:
            if row["name"] in (candidates.ENGINE, candidates.EAGER_GPU, candidates.GRAPHS):
                assert row["transfer_ms"] > 0
                assert row["compute_ms"] > 0
