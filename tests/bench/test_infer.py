"""`bench infer` answers the same pictures with everyone, in turns, and says who is missing."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import pytest

from alexnet_fast.bench import infer
from alexnet_fast.errors import UserError
from alexnet_fast.models import create_model
from alexnet_fast.pipelines.spec import AugmentSpec

KEYS = {"model", "backend", "batch_size", "p50_ms", "p90_ms", "p99_ms", "images_per_second", "compared"}


def test_everyone_answers_in_turns() -> None:
    # As users run it, in a process of its own: OpenVINO in one that holds DALI pipelines crashed it later on.
    command = [sys.executable, "-m", "alexnet_fast", "bench", "infer"]
    options = ["--model", "alexnet-64", "--batch-size", "2", "--runs", "1", "--json"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert KEYS | {"hardware", "versions", "runs", "low", "high", "stem", "threads"} <= set(found)
    assert "onnxruntime CPUExecutionProvider" in found["backend"]
    assert found["low"] <= found["p50_ms"] <= found["p90_ms"] <= found["p99_ms"] <= found["high"] + 1e-9
    names = {other["name"] for other in found["compared"]}
    missing = {other["name"] for other in found["left_out"]}
    assert {infer.SINGLE, infer.EAGER, infer.CROP_BY_CROP} <= names
    assert (infer.PLAIN in names) == (importlib.util.find_spec("onnxscript") is not None)
    assert (infer.PLAIN_OPENVINO in missing) == (importlib.util.find_spec("openvino") is None)
    assert all(other["p50_ms"] > 0 and other["ours_over_it"] > 0 for other in found["compared"])


@pytest.mark.parametrize("option", ["runs", "batch_size"])
def test_what_cannot_be_measured_is_refused(option) -> None:
    given = {
        "net": create_model("alexnet-64", 2),
        "spec": AugmentSpec(resize=72, crop=64),
        "model": "alexnet-64",
        "classes": 2,
        "batch_size": 1,
        "threads": 1,
        "runs": 1,
    }
    with pytest.raises(UserError, match="is 0; give 1 or more"):
        infer.InferBench(**{**given, option: 0})
