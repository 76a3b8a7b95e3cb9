"""Values that nobody gave yield to those that somebody did, and to the data.

A default, and what one of our recipes says, is a proposal: where it cannot hold beside an option that was
given or with the images that there are, a value that can takes its place, and a line says so. A value that
the user gave is never changed: what it contradicts is an error.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from alexnet_fast.errors import UserError
from alexnet_fast.models import input_of, is_custom, model_spec
from alexnet_fast.training.config import TrainConfig

# Optimiser steps that an epoch should have at least, where the batch is ours to choose.
_STEPS = 4
# Share of the epochs that a warm-up takes where the recipe's is longer than the run.
_WARM_UP = 0.1


def adapt_recipe(
    values: dict[str, Any], recipe: dict[str, Any], given: Collection[str]
) -> tuple[dict[str, Any], list[str]]:
    """Lets what a recipe says, and nobody gave, yield to the other options.

    Args:
        values: Fields of `TrainConfig`, settled.
        recipe: What the recipe says.
        given: Names of the options that were given beside it.

    Returns:
        The fields, and a line for each that was changed.
    """
    found, lines = dict(values), []
    alone = {name: value for name, value in recipe.items() if name not in given}
    for name, value, why in _conflicts(values, alone, recipe.get("model", TrainConfig.model)):
        was, found[name] = found[name], value
        option = name.replace("_", "-")
        now = "is left out" if value in (None, False, 0.0) else f"is {value}"
        lines.append(f"the recipe's {option} = {_plain(was)} {now}: {why}")
    return found, lines


def _conflicts(
    values: dict[str, Any], recipe: dict[str, Any], made_for: str
) -> Iterator[tuple[str, Any, str]]:
    """Yields each option that has to yield, what takes its place, and the reason.

    Args:
        values: Fields of `TrainConfig`, settled.
        recipe: What the recipe alone says.
        made_for: The recipe's network.
    """
    model = values["model"]
    sides = {name: values[name] for name in ("resize", "crop")}
    if input_of(model).crop != input_of(made_for).crop:
        for name in sorted(recipe.keys() & sides.keys()):
            yield name, None, f"{model} reads {input_of(model).crop} pixels"
            sides[name] = None
    if "progressive_resize" in recipe:
        yield from _course(values, sides["crop"] or input_of(model).crop)
    if "dropout" in recipe and (is_custom(model) or model_spec(model).dropout is None):
        yield "dropout", None, f"{model} has no dropout that could be set"
    if "nesterov" in recipe and (values["optimizer"] != "sgd" or not values["momentum"]):
        yield "nesterov", False, "it is a kind of SGD's momentum"
    if "label_smoothing" in recipe and values["loss"] == "hinge":
        yield "label_smoothing", 0.0, "it belongs to cross-entropy"
    if "warmup_epochs" in recipe and values["warmup_epochs"] >= values["epochs"]:
        yield "warmup_epochs", values["epochs"] * _WARM_UP, f"--epochs is {values['epochs']}"


def _course(values: dict[str, Any], side: int) -> Iterator[tuple[str, Any, str]]:
    """Yields a recipe's growing images where they end in another size than the network's."""
    start, end, *epochs = values["progressive_resize"].split(":")
    if values["linear_probe"] or is_custom(values["model"]):
        yield "progressive_resize", None, "the network sees images of one size"
    elif int(end) != side:
        scaled = ":".join([str(round(int(start) * side / int(end))), str(side), *epochs])
        yield "progressive_resize", scaled, f"{values['model']} reads {side} pixels"


def fit_batch(config: TrainConfig, images: int, processes: int) -> int:
    """Returns the largest batch up to the options' that suits the data, where nobody gave one.

    Args:
        config: The options.
        images: Training images.
        processes: That share a batch.

    Returns:
        The batch of the options, made a multiple of what it is shared by; or, where there are fewer images
        than that, a power of two, with several steps an epoch.

    Raises:
        UserError: There are fewer images than parts.
    """
    parts = processes * config.grad_accum_steps
    if parts > images:
        raise UserError(
            f"{images} training images cannot be shared by {processes} processes in"
            f" {config.grad_accum_steps} passes",
            "give fewer --gpus, --processes or --grad-accum-steps",
            exit_code=2,
        )
    whole = config.batch_size - config.batch_size % parts
    if 0 < whole <= images:
        return whole
    # Batch norm learns nothing from a part of one image.
    least = min(2 * parts, images - images % parts)
    few = max(1, images // _STEPS)
    return max(least, (1 << (few.bit_length() - 1)) // parts * parts)


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
