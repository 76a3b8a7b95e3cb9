"""Progressive resizing: the network learns from images of other sizes and is kept for its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from alexnet_fast.errors import UserError
from alexnet_fast.models import create_model
from alexnet_fast.training.checkpoint.model_io import load_trained
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.metrics_log import read_metrics
from alexnet_fast.training.resizable import ResizableHead, for_sizes
from alexnet_fast.training.run import train


def test_at_its_own_size_nothing_is_added() -> None:
    net = create_model("alexnet-64", 5).eval()
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(ResizableHead(net)(images), net(images))


@pytest.mark.parametrize("side", [40, 56, 96])
def test_other_sizes_reach_every_weight(side: int) -> None:
    net = create_model("alexnet-bn-64", 5)
    ResizableHead(net)(torch.randn(4, 3, side, side)).square().sum().backward()
    assert all(
        parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in net.fc6.parameters()
    )


def test_images_too_small_for_the_network_are_refused_before_training() -> None:
    net = create_model("alexnet-bn-64", 5)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(
        UserError, match="--progressive-resize 4:64: images of 4 pixels are too small"
    ) as caught:
        for_sizes(net, "4:64")
    assert caught.value.exit_code == 2
    for_sizes(net, "32:64")
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.slow
def test_a_run_grows_its_images_and_ends_at_the_networks_size(config: Callable[..., TrainConfig]) -> None:
    options = config(
        model="alexnet-bn-64",
        crop=64,
        batch_size=8,
        progressive_resize="32:64",
        epochs=2,
        ema_decay=0.5,
        precise_bn_batches=2,
    )
    train(options)
    assert len(read_metrics(options.run / "metrics.csv")) == 2
    trained = load_trained(options.run)
    assert trained.net(torch.randn(2, 3, 64, 64)).shape == (2, 2)
