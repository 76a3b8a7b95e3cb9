"""`bench compute` and `bench train`: the steps of `train`, in turns, with the schema of every benchmark."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from alexnet_fast.bench.compute import plain_net
from alexnet_fast.bench.train import together
from alexnet_fast.models import create_model

COMMON = {"hardware", "versions", "runs", "low", "high"}


@pytest.mark.slow
def test_compute_compares_ours_with_the_plain_net(json_of) -> None:
    result = json_of(
        "bench", "compute", "--model", "alexnet-64", "--batch-size", 8, "--steps", 2, "--runs", 2
    )
    assert {"model", "device", "precision", "images_per_second", "compared"} | COMMON <= result.keys()
    assert (result["model"], result["device"], result["precision"]) == ("alexnet-64", "cpu", "fp32")
    (plain,) = result["compared"]
    assert plain["name"] == "plain"
    assert 0 < plain["ratio_low"] <= plain["ours_over_it"] <= plain["ratio_high"]
    assert result["low"] <= result["images_per_second"] <= result["high"]


def test_the_plain_net_computes_the_same_function() -> None:
    torch.manual_seed(0)
    ours = create_model("alexnet-64", 1000).eval()
    plain = plain_net("alexnet-64", 64).eval()
    plain.load_state_dict(ours.state_dict())
    images = torch.randn(2, 3, 64, 64) * 60
    torch.testing.assert_close(plain(images), ours(images), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_train_says_what_bounds_it(json_of, two_classes: Path) -> None:
    result = json_of(
        "bench", "train", two_classes, "--model", "alexnet-64", "--batch-size", 8, "--steps", 3, "--runs", 2
    )
    assert {"input", "compute", "train", "bound_by", "of_allowed"} | COMMON <= result.keys()
    slower = min(("input", "compute"), key=lambda part: result[part])
    assert result["bound_by"] == slower
    assert result["train"] > 0
    assert result["steps"] == 3


def test_times_add_up_on_shared_cores_and_the_slower_part_decides_on_others() -> None:
    assert together(300.0, 600.0, shared=True) == pytest.approx(200.0)
    assert together(300.0, 600.0, shared=False) == 300.0


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["compute", "--runs", "0"], "'--runs': give a whole number of at least 1"),
        (["compute", "--steps", "-1"], "'--steps': give a whole number of at least 1"),
        (["compute", "--model", "alexnett"], "--model alexnett: no such model; did you mean alexnet?"),
        (["compute", "--cuda-graphs", "--device", "cpu"], "--cuda-graphs on cpu"),
        (["compute", "--amp", "fp16", "--device", "cpu"], "--amp fp16 needs a GPU"),
        (["compute", "--batch-size", "0"], "'--batch-size': give a whole number of at least 1"),
        (
            ["train", "{data}", "--batch-size", "100"],
            "--batch-size 100 exceeds the 48 training images",
        ),
        (["train", "/nowhere/at/all"], "/nowhere/at/all"),
        (["train", "{data}", "--runs", "0"], "'--runs': give a whole number of at least 1"),
    ],
)
def test_what_cannot_be_measured_is_refused(refusal, two_classes: Path, words, complaint: str) -> None:
    assert complaint in refusal("bench", *[word.format(data=two_classes) for word in words])
