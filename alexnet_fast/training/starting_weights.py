"""Weights that a run begins with, and the images that they were made for."""

from __future__ import annotations

import dataclasses

from torch import nn

from alexnet_fast.models import InputSpec, input_of
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.log import log
from alexnet_fast.weights import Pretrained, fit_weights


def starting_input(config: TrainConfig, weights: Pretrained | None) -> InputSpec:
    """Returns the images of a run: what its weights were trained with, or what its network is made for.

    Weights of the same network bring their sizes along; of another one only mean and standard deviation.
    """
    own = input_of(config.model)
    if weights is None or weights.input is None:
        return own
    if weights.model == config.model:
        return weights.input
    return dataclasses.replace(own, mean=weights.input.mean, std=weights.input.std)


def load_initial_weights(
    net: nn.Module, weights: Pretrained, config: TrainConfig, classes: tuple[str, ...]
) -> None:
    """Fills a network and says with what.

    Raises:
        UserError: The weights do not fit.
    """
    fitted = fit_weights(net, weights, classes, new_head=config.transfer or config.features)
    log.info(
        "weights of %s: %d tensors%s",
        weights.path,
        fitted.tensors,
        ", the last layer is new" * fitted.new_head,
    )
    if weights.model is not None and weights.model != config.model:
        log.info(
            "they are those of %s, and %s may compute with them in another way", weights.model, config.model
        )
