"""State dicts of other programs are recognised by their names, whatever is wrapped around them."""

from __future__ import annotations

import argparse
import collections
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from alexnet_fast.cli.main import commands
from alexnet_fast.errors import UserError
from alexnet_fast.models import create_model
from alexnet_fast.training.checkpoint.model_io import load_trained, read_pretrained
from alexnet_fast.weights import Pretrained, fit_weights, our_names, recognise

Tensors = dict[str, torch.Tensor]


def blank(*shape: int) -> torch.Tensor:
    """A tensor of any size that takes four bytes, in a file too."""
    return torch.full((), 0.01).expand(shape)


def alexnet(first: tuple[int, ...] = (64, 3, 11, 11), inputs: int = 9216, classes: int = 1000) -> Tensors:
    """torchvision's AlexNet."""
    convs = {0: first, 3: (192, 64, 5, 5), 6: (384, 192, 3, 3), 8: (256, 384, 3, 3), 10: (256, 256, 3, 3)}
    layers = {f"features.{n}": shape for n, shape in convs.items()}
    layers |= {"classifier.1": (4096, inputs), "classifier.4": (4096, 4096), "classifier.6": (classes, 4096)}
    return {
        f"{n}.{kind}": blank(*s[: None if kind == "weight" else 1])
        for n, s in layers.items()
        for kind in KINDS
    }


KINDS = ("weight", "bias")


def small(classes: int = 3) -> Tensors:
    """The same for 64 pixels, which a test has time for."""
    return alexnet((64, 3, 5, 5), 256 * 3 * 3, classes)


def vgg(convs: int, *, norm: bool = False, timm: bool = False) -> Tensors:
    tensors = {f"features.{3 * n}.weight": blank(64, 64, 3, 3) for n in range(convs)}
    if norm:
        tensors["features.1.running_mean"] = blank(64)
    if timm:
        head = {
            "pre_logits.fc1": (4096, 512, 7, 7),
            "pre_logits.fc2": (4096, 4096, 1, 1),
            "head.fc": (10, 4096),
        }
    else:
        head = {"classifier.0": (4096, 25_088), "classifier.3": (4096, 4096), "classifier.6": (10, 4096)}
    return tensors | {f"{name}.weight": blank(*shape) for name, shape in head.items()}


def resnet(blocks: tuple[int, ...], *, bottleneck: bool, middle: tuple[int, int] = (64, 64)) -> Tensors:
    names = [
        f"layer{s}.{b}.conv{c}.weight" for s, n in enumerate(blocks, 1) for b in range(n) for c in (1, 2)
    ]
    tensors = {"conv1.weight": blank(64, 3, 7, 7), **{name: blank(*middle, 3, 3) for name in names}}
    return tensors | ({"layer1.0.conv3.weight": blank(256, 64, 1, 1)} if bottleneck else {})


@pytest.mark.parametrize(
    ("tensors", "name", "ours"),
    [
        (alexnet(), "alexnet", "alexnet-owt"),
        (small(), "alexnet", "alexnet-owt-64"),
        (alexnet((32, 3, 3, 3)), "alexnet", None),
        (vgg(13), "vgg16", "vgg16"),
        (vgg(13, timm=True), "vgg16", "vgg16"),
        (vgg(13, norm=True), "vgg16_bn", None),
        (vgg(8), "vgg11", None),
        (resnet((2, 2, 2, 2), bottleneck=False), "resnet18", None),
        (resnet((3, 4, 6, 3), bottleneck=True), "resnet50", None),
        (resnet((3, 4, 6, 3), bottleneck=True, middle=(128, 128)), "wide_resnet50_2", None),
        (resnet((3, 4, 23, 3), bottleneck=True, middle=(256, 8)), "resnext101_32x8d", None),
        ({"cls_token": blank(1, 1, 8), "patch_embed.proj.weight": blank(8, 3, 4, 4)}, "vit", None),
        ({"features.1.conv.0.0.weight": blank(1)}, "mobilenet_v2", None),
        ({"features.denseblock1.denselayer1.norm1.weight": blank(1)}, "densenet", None),
    ],
)
def test_networks_are_known_by_their_names(tensors: Tensors, name: str, ours: str | None) -> None:
    for prefix in ("", "module.", "model.", "module._orig_mod.", "net.backbone."):
        found = recognise({prefix + layer: value for layer, value in tensors.items()})
        assert found is not None, prefix
        assert (found.name, found.ours) == (name, ours)


def test_what_is_of_no_known_network_is_not_guessed() -> None:
    for tensors in ({"weight": blank(3, 3)}, create_model("linear", 3).state_dict(), {"a.b": blank(1)}, {}):
        assert recognise(tensors) is None


WRAPPED: dict[str, Callable[[Tensors], dict[str, Any]]] = {
    "bare": lambda t: t,
    "ordered": collections.OrderedDict,
    "DataParallel": lambda t: {f"module.{name}": value for name, value in t.items()},
    "Lightning": lambda t: {"state_dict": {f"model.{n}": v for n, v in t.items()}, "epoch": 3},
    "timm": lambda t: {"arch": "alexnet", "state_dict": t, "optimizer": {"state": {0: t}}, "metric": 0.5},
    "torchvision's scripts": lambda t: {"model": t, "args": argparse.Namespace(lr=0.1, out=None), "epoch": 1},
    "averaged": lambda t: {"n_averaged": torch.tensor(3), **{f"module.{n}": v for n, v in t.items()}},
    "nested": lambda t: {"model": {"state_dict": t}},
}


@pytest.mark.parametrize("wrapped", WRAPPED, ids=str)
def test_wrapped_state_dicts_are_read(tmp_path: Path, wrapped: str) -> None:
    torch.save(WRAPPED[wrapped](small()), tmp_path / "net.pth")
    found = read_pretrained(tmp_path / "net.pth")
    assert found.model == "alexnet-owt-64"
    with torch.device("meta"):
        net = create_model("alexnet-owt-64", 3)
    assert our_names(net, found.tensors).keys() == net.state_dict().keys()


def test_a_bare_state_dict_answers_without_naming_its_model(tmp_path: Path, cells: Any) -> None:
    torch.save(WRAPPED["Lightning"](small()), tmp_path / "net.ckpt")
    done = CliRunner().invoke(commands, ["predict", str(tmp_path / "net.ckpt"), str(cells["mono"][0])])
    assert done.exit_code == 0, done.output
    assert load_trained(tmp_path / "net.ckpt").model == "alexnet-owt-64"


@pytest.mark.parametrize("command", ["export", "predict", "evaluate"])
def test_a_network_that_is_not_ours_is_named(tmp_path: Path, command: str) -> None:
    torch.save({"state_dict": resnet((3, 4, 6, 3), bottleneck=True)}, tmp_path / "net.pth")
    more = [] if command == "export" else [str(tmp_path)]
    (tmp_path / "x.jpg").write_bytes(b"")
    done = CliRunner().invoke(commands, [command, str(tmp_path / "net.pth"), *more])
    assert done.exit_code == 2
    assert "net.pth looks like resnet50 of torchvision or timm, which is not one of our" in done.stderr
    assert "give --model package.module:Net" in done.stderr


def test_weights_for_another_network_say_which_they_are_for(tmp_path: Path) -> None:
    torch.save(small(), tmp_path / "net.pth")
    found = read_pretrained(tmp_path / "net.pth")
    with pytest.raises(UserError, match="give --model alexnet-owt-64"):
        fit_weights(create_model("linear", 3), found, None)
    resnet18 = Pretrained(path=tmp_path, tensors=resnet((2, 2, 2, 2), bottleneck=False))
    with pytest.raises(UserError, match="they look like resnet18 of torchvision or timm"):
        fit_weights(create_model("linear", 3), resnet18, None)


class Wrapped(nn.Module):
    """A user's network whose parameters all begin with `model.`."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_a_prefix_that_the_network_has_itself_stays(prefix: str) -> None:
    net = Wrapped()
    saved = {prefix + name: value for name, value in Wrapped().state_dict().items()}
    assert our_names(net, saved).keys() == net.state_dict().keys()
    fit_weights(net, Pretrained(path=Path("x"), tensors=saved), None)
    assert torch.equal(net.state_dict()["model.1.weight"], saved[f"{prefix}model.1.weight"])


@pytest.mark.slow
def test_timms_vgg_becomes_torchvisions() -> None:
    with torch.device("meta"):
        net = create_model("vgg16", 10)
    tensors = {name: value for name, value in vgg(13, timm=True).items() if "features" not in name}
    found = our_names(net, tensors)
    assert {name: value.shape for name, value in found.items()} == {
        name: net.state_dict()[name].shape for name in ("fc6.weight", "fc7.weight", "fc8.weight")
    }


def test_files_that_are_code_are_refused_by_what_they_hold(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(2, 2))
    torch.save(net, tmp_path / "module.pth")
    with pytest.raises(
        UserError, match="holds an object of torch.nn.modules.container.Sequential, and nothing"
    ):
        read_pretrained(tmp_path / "module.pth")
    torch.jit.script(net).save(tmp_path / "script.pt")
    with pytest.raises(UserError, match="is a TorchScript archive, which is code; give a state dict"):
        read_pretrained(tmp_path / "script.pt")
    (tmp_path / "noise.pth").write_bytes(b"\x80\x02noise")
    with pytest.raises(UserError, match="is not a checkpoint, or is damaged"):
        read_pretrained(tmp_path / "noise.pth")
