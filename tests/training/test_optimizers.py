"""Optimisers against their formulas; which parameters decay; overflow without asking the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from dispatched import calls
from torch import nn

from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.optim import Lars, make_optimizer

Make = Callable[..., TrainConfig]


def small_net() -> nn.Sequential:
    """A net with a weight, a norm layer and biases, and a gradient for each."""
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 4))
    for parameter in net.parameters():
        parameter.grad = torch.randn_like(parameter)
    return net


def test_lars_moves_as_its_formula_says() -> None:
    """Algorithm 1 of You, Gitman and Ginsburg 2017, in plain numbers, over three steps."""
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(4, 3))
    expected, momentum = weight.detach().clone(), torch.zeros(4, 3)
    lars = Lars([weight], lr=2.0, momentum=0.9, weight_decay=0.01, eta=0.001)
    for _ in range(3):
        gradient = torch.randn(4, 3)
        local = 0.001 * expected.norm() / (gradient.norm() + 0.01 * expected.norm())
        momentum = 0.9 * momentum + 2.0 * local * (gradient + 0.01 * expected)
        expected = expected - momentum
        weight.grad = gradient
        lars.step()
        torch.testing.assert_close(weight.detach(), expected)


def test_lars_moves_alike_whatever_the_size_of_the_gradient() -> None:
    """What it is for: a gradient a thousand times as large does not throw the weights further."""
    moved = []
    for size in (1.0, 1000.0):
        torch.manual_seed(0)
        weight = nn.Parameter(torch.randn(4, 3))
        start = weight.detach().clone()
        weight.grad = size * torch.ones(4, 3)
        Lars([weight], lr=1.0).step()
        moved.append(weight.detach() - start)
    torch.testing.assert_close(moved[0], moved[1])


def test_lars_gives_biases_and_norm_layers_plain_momentum(config: Make) -> None:
    net, twin = small_net(), small_net()
    lars = make_optimizer(config(optimizer="lars", lr=0.1), net)
    sgd = make_optimizer(config(lr=0.1), twin)
    lars.step()
    sgd.step()
    for (name, ours), theirs in zip(net.named_parameters(), twin.parameters(), strict=True):
        same = torch.allclose(ours, theirs, rtol=1e-6)
        assert same == (ours.dim() == 1), name


def test_lars_with_tensors_that_are_all_nothing_does_not_divide_by_it() -> None:
    weight = nn.Parameter(torch.zeros(2, 2))
    lars = Lars([weight], lr=1.0, weight_decay=0.1)
    weight.grad = torch.zeros(2, 2)
    lars.step()
    assert torch.equal(weight, torch.zeros(2, 2))


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "lars"])
def test_norm_and_bias_are_left_out_of_weight_decay_where_asked(config: Make, name: str) -> None:
    """With no gradient, weight decay alone moves a parameter."""

    def moved(**options: Any) -> dict[str, bool]:
        net = small_net()
        for parameter in net.parameters():
            nn.init.ones_(parameter)
            parameter.grad = torch.zeros_like(parameter)
        if name == "lars":
            # Its trust ratio needs a gradient to have a size.
            net[0].weight.grad.fill_(1e-3)
            net[2].weight.grad.fill_(1e-3)
        make_optimizer(config(optimizer=name, lr=0.1, weight_decay=0.1, **options), net).step()
        return {key: not torch.equal(p, torch.ones_like(p)) for key, p in net.named_parameters()}

    assert all(moved().values())
    assert {key for key, yes in moved(bias_weight_decay=False).items() if yes} == {"0.weight", "2.weight"}


def test_nesterov_differs_from_plain_momentum_from_the_first_step(config: Make) -> None:
    plain, nesterov = small_net(), small_net()
    make_optimizer(config(weight_decay=0.0), plain).step()
    make_optimizer(config(weight_decay=0.0, nesterov=True), nesterov).step()
    start, gradient = small_net()[0].weight, small_net()[0].weight.grad
    torch.testing.assert_close(plain[0].weight, start - 0.01 * gradient)
    torch.testing.assert_close(nesterov[0].weight, start - 0.01 * 1.9 * gradient)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "lars"])
def test_an_overflow_skips_the_step_and_halves_the_scale(config: Make, name: str) -> None:
    """Loss scaling as fp16 needs it, on the CPU: the next good step is as large as without a scale."""
    net, twin = small_net(), small_net()
    options = config(optimizer=name, lr=0.1)
    optimizer, plain = make_optimizer(options, net), make_optimizer(options, twin)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    start = {key: value.clone() for key, value in net.state_dict().items()}
    scaler.scale(torch.zeros(()))
    net[0].weight.grad[0, 0] = float("inf")
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 512.0
    assert all(torch.equal(value, start[key]) for key, value in net.state_dict().items())
    for parameter, other in zip(net.parameters(), twin.parameters(), strict=True):
        parameter.grad = 512.0 * other.grad
    scaler.step(optimizer)
    scaler.update()
    plain.step()
    assert scaler.get_scale() == 512.0
    for parameter, other in zip(net.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(parameter, other)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "lars"])
def test_no_optimiser_asks_the_device_anything(config: Make, name: str) -> None:
    """A loss scaler asks for an overflow, unless the optimiser takes that upon itself."""
    net = small_net()
    optimizer = make_optimizer(config(optimizer=name), net)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    scaler.scale(torch.zeros(()))
    with calls() as seen:
        scaler.step(optimizer)
        scaler.update()
    assert any("_foreach_norm" in key or "_fused_" in key for key in seen)
    assert "aten::_local_scalar_dense" not in seen


def test_the_control_is_seen_to_ask() -> None:
    """torch's SGD that is not fused: loss scaling reads the overflow back at every step."""
    net = small_net()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    scaler.scale(torch.zeros(()))
    with calls() as seen:
        scaler.step(torch.optim.SGD(net.parameters(), lr=0.1, foreach=True))
    assert seen["aten::_local_scalar_dense"]
