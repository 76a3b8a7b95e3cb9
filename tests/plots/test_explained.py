"""Saliency maps, activations and misclassified images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

from alexnet_fast.data import ClassMap, open_split
from alexnet_fast.errors import UserError
from alexnet_fast.inference.classifier import NetClassifier
from alexnet_fast.inference.evaluate import worst_misclassified
from alexnet_fast.models import create_model
from alexnet_fast.pipelines.factory import make_loader
from alexnet_fast.pipelines.loader import LoaderConfig
from alexnet_fast.pipelines.sampler import EpochSampler
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.pipelines.ten_crop import take_crops
from alexnet_fast.plots.activations import layer_output
from alexnet_fast.plots.saliency import gradient_map, smooth_map, view_of
from alexnet_fast.training.checkpoint.model_io import TrainedModel

if TYPE_CHECKING:
    from pathlib import Path

SPEC = AugmentSpec(resize=72, crop=64)


def linear_net() -> nn.Sequential:
    """Its derivative is its weights, whatever the image."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4)).eval()


def image(side: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


class TestSaliency:
    def test_the_gradient_of_a_linear_net_is_its_largest_weight_of_each_pixel(self) -> None:
        net = linear_net()
        found = gradient_map(net, torch.randn(3, 8, 8), 2)
        expected = net[1].weight[2].view(3, 8, 8).abs().amax(dim=0)
        np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-6)

    def test_noise_does_not_change_what_all_copies_agree_on(self) -> None:
        net = linear_net()
        view = torch.randn(3, 8, 8)
        plain = torch.from_numpy(gradient_map(net, view, 1))
        around = nn.functional.avg_pool2d(plain[None, None], 9, 1, 4, count_include_pad=False)[0, 0]
        np.testing.assert_allclose(smooth_map(net, view, 1, samples=3), around.numpy(), rtol=1e-5)

    def test_the_noise_comes_from_the_seed(self) -> None:
        net = create_model("alexnet-64", 3).eval()
        _, view = view_of(image(72), SPEC)
        first, again, other = (smooth_map(net, view, 0, samples=2, seed=seed) for seed in (1, 1, 2))
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)

    def test_a_frozen_net_in_evaluation_keeps_its_weights_and_their_gradients(self) -> None:
        net = create_model("alexnet-64", 3).eval().requires_grad_(requires_grad=False)
        _, view = view_of(image(72), SPEC)
        assert gradient_map(net, view, 0).max() > 0
        assert all(weight.grad is None for weight in net.parameters())

    def test_the_view_is_the_centre_crop_that_the_net_is_given(self) -> None:
        square = image(72)
        pixels, view = view_of(square, SPEC)
        assert np.array_equal(pixels, square[4:68, 4:68])
        torch.testing.assert_close(view[None], take_crops(torch.tensor(square)[None], SPEC, "single"))


class TestActivations:
    def test_they_are_those_of_the_layer_and_not_of_the_relu_that_works_in_its_place(self) -> None:
        torch.manual_seed(0)
        net = create_model("alexnet-64", 3).eval()
        view = torch.randn(3, 64, 64)
        found = layer_output(net, view, "conv1")
        assert found.min() < 0
        with torch.inference_mode():
            np.testing.assert_array_equal(found, net.conv1(view[None])[0].numpy())

    def test_a_layer_after_the_maps_is_refused(self) -> None:
        with pytest.raises(UserError, match="fc7 has no spatial output; choose a layer before flatten"):
            layer_output(create_model("alexnet-64", 3).eval(), torch.randn(3, 64, 64), "fc7")

    def test_an_unknown_layer_is_refused_with_the_names(self) -> None:
        with pytest.raises(
            UserError,
            match=r"conv9 is no layer of this network; did you mean conv\d\? choose from conv1, relu1",
        ):
            layer_output(create_model("alexnet-64", 3).eval(), torch.randn(3, 64, 64), "conv9")


@pytest.mark.parametrize("count", [1, 2, 99])
def test_worst_misclassified_come_highest_probability_first(directory: Path, count: int) -> None:
    torch.manual_seed(0)
    net = create_model("alexnet-64", 2).eval()
    trained = TrainedModel(
        net=net, arguments={"name": "alexnet-64"}, classes=("ant", "bee"), spec=SPEC, provenance={}
    )
    classifier = NetClassifier(trained, device="cpu", amp="off")
    images = open_split(directory, "all", ClassMap(("ant", "bee")))
    sampler = EpochSampler(num_images=len(images), batch_size=2, shuffle=False)
    loader = make_loader(images, SPEC, "square", sampler, LoaderConfig(kind="dali"))

    worst, wrong, total = worst_misclassified(classifier, loader, "ten", count)

    squares = [batch.images.numpy() for batch in loader.epoch(0)]
    answers = classifier.probabilities(np.concatenate(squares), "ten")
    labels = np.array(images.labels)
    at = np.flatnonzero(answers.argmax(axis=1) != labels)
    expected = at[np.argsort(-answers.max(axis=1)[at], kind="stable")]
    assert total == len(labels)
    assert wrong == len(at) > 0
    assert [one.file for one in worst] == [images.path(int(row)) for row in expected[:count]]
    assert all(one.truth != one.guesses[0].label for one in worst)
