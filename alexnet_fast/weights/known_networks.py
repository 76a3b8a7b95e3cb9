"""Which network a state dict is of, by its names and shapes."""

from __future__ import annotations

import dataclasses
import re

import torch

from alexnet_fast.weights.state_dict import with_torchvision_names, without_prefixes

Tensors = dict[str, torch.Tensor]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recognised:
    """A network.

    Args:
        name: As torchvision and timm call it.
        ours: Our name of the network that computes the same; None if there is none.
    """

    name: str
    ours: str | None = None


def recognise(tensors: Tensors) -> Recognised | None:
    """Returns the network that a state dict is of; None where it is not known.

    Args:
        tensors: By name, with or without prefixes.
    """
    for plain in without_prefixes(tensors):
        named = with_torchvision_names(plain)
        for known in (_alexnet, _vgg, _resnet, _densenet, _by_a_layer):
            if (found := known(named)) is not None:
                return found
    return None


Shape = tuple[int, ...]

# torchvision.models.alexnet: where its convolutions and matrices stand.
_ALEXNET = {f"features.{n}.weight" for n in (0, 3, 6, 8, 10)} | {f"classifier.{n}.weight" for n in (1, 4, 6)}
# Kernels of the first convolution: torchvision's, and that of our form for 64 pixels.
_ALEXNETS: dict[Shape, str] = {(64, 3, 11, 11): "alexnet-owt", (64, 3, 5, 5): "alexnet-owt-64"}


def _alexnet(tensors: Tensors) -> Recognised | None:
    if {name for name in tensors if name.endswith(".weight")} != _ALEXNET:
        return None
    return Recognised(name="alexnet", ours=_ALEXNETS.get(tuple(tensors["features.0.weight"].shape)))


# Convolutions of each VGG (Simonyan and Zisserman 2014, table 1).
_VGGS = {8: "vgg11", 10: "vgg13", 13: "vgg16", 16: "vgg19"}
# Inputs of the first matrix: 512 maps of 7 x 7.
_VGG_INPUTS = 25_088


def _vgg(tensors: Tensors) -> Recognised | None:
    first = tensors.get("classifier.0.weight")
    convs = [
        name for name, t in tensors.items() if re.fullmatch(r"features\.\d+\.weight", name) and t.dim() == 4
    ]
    if first is None or len(convs) not in _VGGS or "classifier.6.weight" not in tensors:
        return None
    norms = any(name.endswith("running_mean") for name in tensors)
    name = _VGGS[len(convs)] + "_bn" * norms
    fits = name == "vgg16" and first.dim() == 2 and first.shape[1] == _VGG_INPUTS
    return Recognised(name=name, ours="vgg16" if fits else None)


# Blocks of each stage, and whether they are bottlenecks (He et al. 2015, table 1).
_RESNETS: dict[tuple[Shape, bool], str] = {
    ((2, 2, 2, 2), False): "resnet18",
    ((3, 4, 6, 3), False): "resnet34",
    ((3, 4, 6, 3), True): "resnet50",
    ((3, 4, 23, 3), True): "resnet101",
    ((3, 8, 36, 3), True): "resnet152",
}
# What the middle convolution of the first bottleneck, by its outputs and inputs, makes of a ResNet.
_WIDER: dict[Shape, str] = {
    (64, 64): "{}",
    (128, 128): "wide_{}_2",
    (128, 4): "{}_32x4d",
    (256, 8): "{}_32x8d",
}


def _resnet(tensors: Tensors) -> Recognised | None:
    if "conv1.weight" not in tensors or "layer1.0.conv1.weight" not in tensors:
        return None
    blocks = tuple(
        len({name.split(".")[1] for name in tensors if name.startswith(f"layer{stage}.")})
        for stage in (1, 2, 3, 4)
    )
    bottleneck = "layer1.0.conv3.weight" in tensors
    plain = _RESNETS.get((blocks, bottleneck))
    if plain is None or "layer1.0.conv2.weight" not in tensors:
        return Recognised(name="resnet")
    form = _WIDER.get(tuple(tensors["layer1.0.conv2.weight"].shape[:2]), "{}")
    name = form.format(plain)
    return Recognised(name=name.replace("resnet", "resnext") if name.endswith("d") else name)


_DENSENETS: dict[Shape, str] = {
    (6, 12, 24, 16): "121",
    (6, 12, 32, 32): "169",
    (6, 12, 48, 32): "201",
    (6, 12, 36, 24): "161",
}


def _densenet(tensors: Tensors) -> Recognised | None:
    blocks = tuple(
        len({name.split(".")[2] for name in tensors if name.startswith(f"features.denseblock{block}.")})
        for block in (1, 2, 3, 4)
    )
    return Recognised(name=f"densenet{_DENSENETS.get(blocks, '')}") if blocks[0] else None


# A name that only networks of one family have.
_FAMILIES = {
    r"features\.\d+\.squeeze\.weight": "squeezenet",
    r"features\.1\.conv\.0\.0\.weight": "mobilenet_v2",
    r"features\.1\.block\.0\.0\.weight": "mobilenet_v3",
    r"features\.1\.0\.block\.0\.0\.weight": "efficientnet",
    r"blocks\.0\.0\.conv_dw\.weight": "efficientnet",
    r"features\.1\.0\.block\.0\.weight": "convnext",
    r"stages\.0\.blocks\.0\.conv_dw\.weight": "convnext",
    r"inception3a\.branch1\.conv\.weight": "googlenet",
    r"Mixed_5b\.branch1x1\.conv\.weight": "inception_v3",
    r"trunk_output\.block1\..*": "regnet",
    r"s1\.b1\.conv1\.conv\.weight": "regnet",
    r"stage2\.0\.branch1\.0\.weight": "shufflenet_v2",
    r"layers\.0\.blocks\.0\.attn\.relative_position_bias_table": "swin",
    r"(conv_proj|patch_embed\.proj)\.weight": "vit",
}


def _by_a_layer(tensors: Tensors) -> Recognised | None:
    for pattern, name in _FAMILIES.items():
        if any(re.fullmatch(pattern, layer) for layer in tensors):
            return Recognised(name=name)
    return None
