"""`--model package.module:Net`: trained, saved by name, evaluated again; each mistake is named."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from alexnet_fast.errors import UserError
from alexnet_fast.inference.classifier import open_classifier
from alexnet_fast.models import InputSpec, build_model, input_of
from alexnet_fast.training.checkpoint.model_io import load_trained
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.run import train

SOURCE = """
import torch
from torch import nn
from alexnet_fast.models import InputSpec

class Net(nn.Module):
    input = InputSpec(crop=32, resize=40, mean=(100.0, 100.0, 100.0), std=(50.0, 50.0, 50.0))

    def __init__(self, num_classes):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, num_classes)

    def forward(self, x):
        return self.head(self.norm(self.conv(x)).relu().mean((2, 3)))

def broken(num_classes):
    raise RuntimeError("out of ideas")

def two_arguments(num_classes, width):
    return Net(num_classes)

def no_module(num_classes):
    return 3

def other_size(num_classes):
    return Net(num_classes + 1)

def for_other_images(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, num_classes))

def nothing_to_train(num_classes):
    return nn.Flatten()

number = 3
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module in the current folder."""
    name = f"own_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(SOURCE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    # The folder is put on the path when a model is looked up; leave the path as it was.
    monkeypatch.setattr("sys.path", list(sys.path))
    return name


def test_it_is_trained_resumed_and_used_again(
    config: Callable[..., TrainConfig], own: str, tmp_path: Path
) -> None:
    model = f"{own}:Net"
    whole, cut = (config(model=model, run=tmp_path / name, resize=None, crop=None) for name in "ab")
    train(whole)
    import dataclasses

    train(dataclasses.replace(cut, epochs=1))
    assert train(cut, resume=True)["resumed_from"] is not None
    one, other = load_trained(tmp_path / "a"), load_trained(tmp_path / "b" / "model.safetensors")
    assert one.model == other.model == model
    assert (one.spec.resize, one.spec.crop, one.spec.mean[0]) == (40, 32, 100.0)
    left, right = one.net.state_dict(), other.net.state_dict()
    assert all(torch.equal(value, right[name]) for name, value in left.items())
    assert open_classifier(tmp_path / "a").name == model


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("nowhere.to.be.found:Net", "nowhere.to.be.found cannot be imported .ModuleNotFoundError"),
        (":Net", "an empty name cannot be imported"),
        ("{own}:Nets", "has no Nets; did you mean {own}:Net?"),
        ("{own}:", "has no empty name"),
        ("{own}:number", "cannot be called; it must be a class or function of num_classes"),
        ("{own}:broken", "cannot be called with 4 .RuntimeError: out of ideas"),
        ("{own}:two_arguments", "cannot be called with 4 .TypeError: .*'width'"),
        ("{own}:no_module", "gives a int, not an nn.Module"),
        ("{own}:other_size", r"turns 2 images into \(2, 5\), not \(2, 4\)"),
        ("{own}:for_other_images", "fails on images of 224 x 224 pixels .RuntimeError.*; give --crop"),
        ("{own}:nothing_to_train", "has no parameters to train"),
    ],
)
def test_what_is_no_network_is_named(own: str, name: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint.format(own=own)) as caught:
        build_model({"name": name.format(own=own), "num_classes": 4})
    assert caught.value.exit_code == 2


def test_an_error_inside_the_module_is_told_from_a_missing_one(own: str, tmp_path: Path) -> None:
    Path(f"{own}_b.py").write_text("import not_installed_anywhere\n", encoding="utf-8")
    with pytest.raises(UserError, match="No module named 'not_installed_anywhere'"):
        input_of(f"{own}_b:Net")


def test_options_of_our_networks_are_refused_for_others(own: str) -> None:
    with pytest.raises(UserError, match="has no --dropout; leave"):
        build_model({"name": f"{own}:Net", "num_classes": 2, "dropout": 0.1})


def test_without_an_input_of_its_own_it_gets_torchvisions(own: str) -> None:
    assert input_of(f"{own}:for_other_images") == InputSpec(
        crop=224, resize=256, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)
    )
