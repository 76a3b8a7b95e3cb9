"""The small networks: below a million parameters, for 32 to 96 pixels and whatever lies around."""

from __future__ import annotations

import pytest
import torch

from alexnet_fast.models import create_model, layer_table
from alexnet_fast.recipes import recipe_options


@pytest.mark.parametrize("side", [32, 64, 96])
def test_it_is_small_for_a_thousand_classes_and_any_size(side: int) -> None:
    name = f"convnet-{side}"
    with torch.device("meta"):
        net = create_model(name)
    assert net.input.crop == net.input.resize == side
    assert sum(parameter.numel() for parameter in net.parameters()) < 1_000_000
    assert layer_table(net)[-5].output_shape[1] == {32: 4, 64: 4, 96: 6}[side]
    for other in (24, 57):
        images = torch.zeros(2, 3, other, other)
        assert create_model(name, 3, image_size=other)(images).shape == (2, 3)


def test_one_network_takes_images_of_every_size() -> None:
    """The mean over each map leaves nothing that depends on the size, so weights move between sizes."""
    small, large = create_model("convnet-64", 3), create_model("convnet-96", 3)
    large.load_state_dict(small.state_dict())
    assert large(torch.zeros(2, 3, 48, 80)).shape == (2, 3)


def test_the_recipe_for_small_images_is_its_own() -> None:
    assert recipe_options("small-images")["model"] == "convnet-64"


def test_dropout_is_that_of_the_spec_unless_another_is_given() -> None:
    assert create_model("convnet-64", 3).drop.p == 0.2
    assert create_model("convnet-64", 3, dropout=0.0).drop.p == 0.0
