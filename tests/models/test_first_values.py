"""What weights begin with, and what is learned from there."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from alexnet_fast.models import create_model, model_spec


@pytest.mark.parametrize("name", ["alexnet-64", "alexnet-dense-64", "caffenet-64"])
def test_the_papers_first_values(name):
    torch.manual_seed(0)
    net = create_model(name, 100)
    biases = {n: set(layer.bias.tolist()) for n, layer in net.named_children() if hasattr(layer, "bias")}
    ones = {"conv2", "conv4", "conv5", "fc6", "fc7"}
    assert biases == {n: {1.0 if n in ones else 0.0} for n in biases}
    for layer_name in ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"):
        weight = getattr(net, layer_name).weight
        std = 0.005 if name == "caffenet-64" and layer_name in ("fc6", "fc7") else 0.01
        assert weight.std().item() == pytest.approx(std, rel=0.05)
        assert abs(weight.mean().item()) < 5 * std / math.sqrt(weight.numel())


def test_batch_norm_networks_start_where_the_loss_is_that_of_a_guess():
    torch.manual_seed(0)
    net = create_model("alexnet-bn-64", 10)
    loss = nn.functional.cross_entropy(net(torch.randn(16, 3, 64, 64)), torch.arange(16) % 10)
    assert loss.item() == pytest.approx(math.log(10), rel=0.25)
    assert net.conv3.weight.std().item() == pytest.approx(math.sqrt(2 / (9 * 384)), rel=0.02)  # fan out
    assert net.fc7.weight.std().item() == pytest.approx(math.sqrt(2 / 4096), rel=0.02)
    assert not any(getattr(net, n).bias.any() for n in ("conv1", "conv5", "fc6", "fc8"))


@pytest.mark.parametrize("name", ["alexnet-64", "vgg16-64", "mlp"])
def test_xavier_can_be_asked_for(name):
    net = create_model(name, 10, init="xavier")
    for layer in net:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            inputs, outputs = nn.init._calculate_fan_in_and_fan_out(layer.weight)
            assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / (inputs + outputs)), rel=0.06)
            assert not layer.bias.any()


def test_truncated_weights_are_within_two_deviations():
    net = create_model("alexnet-64", 10, init="truncated")
    inputs = {
        "conv1": 64 * 64,
        "conv2": 96,
        "conv3": 256,
        "conv4": 384,
        "fc6": 2304,
        "fc7": 4096,
        "fc8": 4096,
    }
    for name, number in inputs.items():
        weight, wanted = getattr(net, name).weight, 1 / math.sqrt(number)
        assert weight.abs().max().item() <= 2 * wanted * (1 + 1e-6)
        # A normal cut off at two deviations has 0.8796 of the deviation.
        assert weight.std().item() == pytest.approx(0.8796 * wanted, rel=0.02)
    assert model_spec("alexnet-same").initial == "truncated"


@pytest.mark.slow
def test_alexnet_bn_learns_eight_images_in_ten_steps():
    torch.manual_seed(0)
    net = create_model("alexnet-bn-64", 2, dropout=0.0)
    x, labels = torch.randn(8, 3, 64, 64), torch.arange(8) % 2
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    for _ in range(10):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), labels)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1


def test_the_seed_decides_the_weights():
    def weights():
        torch.manual_seed(3)
        return create_model("alexnet-64", 2).state_dict()

    first, second = weights(), weights()
    assert all(torch.equal(first[key], second[key]) for key in first)
