"""Defaults and recipes adapt to the options that the user gave, and to the data.

A default or a value of a built-in recipe that conflicts with a given option or with the data is replaced, and
a line reports it. A value that the user gave is never changed: a conflict with it is an error.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from alexnet_fast.errors import UserError
from alexnet_fast.models import input_of, is_custom, model_spec
from alexnet_fast.training.config import TrainConfig

# Least number of optimiser steps per epoch with an adapted batch size.
_STEPS = 4
# Warmup as a fraction of the epochs if that of the recipe is longer than the run.
_WARMUP = 0.1


def adapt_recipe(
    values: dict[str, Any], recipe: dict[str, Any], given: Collection[str]
) -> tuple[dict[str, Any], list[str]]:
    """Adapts the values of a recipe to the options that the user gave.

    Args:
        values: Fields of `TrainConfig` from recipe, defaults and given options.
        recipe: The options of the recipe.
        given: Names of the options that the user gave.

    Returns:
        The fields, and a line for each change.
    """
    adapted, lines = dict(values), []
    adaptable = {name: value for name, value in recipe.items() if name not in given}
    for name, value, why in _conflicts(values, adaptable, recipe.get("model", TrainConfig.model)):
        was, adapted[name] = adapted[name], value
        option = name.replace("_", "-")
        now = "is left out" if value in (None, False, 0.0) else f"is {value}"
        lines.append(f"the recipe's {option} = {_plain(was)} {now}: {why}")
    return adapted, lines


def _conflicts(
    values: dict[str, Any], recipe: dict[str, Any], made_for: str
) -> Iterator[tuple[str, Any, str]]:
    """Yields each option to change, with its new value and the reason.

    Args:
        values: Fields of `TrainConfig`.
        recipe: The options that come from the recipe alone.
        made_for: The network of the recipe.
    """
    model = values["model"]
    sides = {name: values[name] for name in ("resize", "crop")}
    if input_of(model).crop != input_of(made_for).crop:
        for name in sorted(recipe.keys() & sides.keys()):
            yield name, None, f"{model} reads {input_of(model).crop} pixels"
            sides[name] = None
    if "progressive_resize" in recipe:
        yield from _progressive_resize(values, sides["crop"] or input_of(model).crop)
    if "dropout" in recipe and (is_custom(model) or model_spec(model).dropout is None):
        yield "dropout", None, f"{model} has no dropout"
    if "nesterov" in recipe and (values["optimizer"] != "sgd" or not values["momentum"]):
        yield "nesterov", False, "it is a kind of SGD's momentum"
    if "label_smoothing" in recipe and values["loss"] == "hinge":
        yield "label_smoothing", 0.0, "it belongs to cross-entropy"
    if "warmup_epochs" in recipe and values["warmup_epochs"] >= values["epochs"]:
        yield "warmup_epochs", values["epochs"] * _WARMUP, f"--epochs is {values['epochs']}"


def _progressive_resize(values: dict[str, Any], side: int) -> Iterator[tuple[str, Any, str]]:
    """Yields a new `progressive_resize` if that of the recipe ends in another size than the network's."""
    start, end, *epochs = values["progressive_resize"].split(":")
    if values["linear_probe"] or is_custom(values["model"]):
        yield "progressive_resize", None, "the network sees images of one size"
    elif int(end) != side:
        scaled = ":".join([str(round(int(start) * side / int(end))), str(side), *epochs])
        yield "progressive_resize", scaled, f"{values['model']} reads {side} pixels"


def fit_batch(config: TrainConfig, images: int, processes: int) -> int:
    """Returns the largest batch size up to `config.batch_size` that suits the data.

    Args:
        config: The options.
        images: Number of training images.
        processes: Number of processes that share a batch.

    Returns:
        The batch size of the options, rounded down to a multiple of processes and passes. For fewer images, a
        power of two with several steps per epoch.

    Raises:
        UserError: There are fewer images than processes times passes.
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
    # Batch norm needs two images per pass.
    least = min(2 * parts, images - images % parts)
    few = max(1, images // _STEPS)
    return max(least, (1 << (few.bit_length() - 1)) // parts * parts)


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
