"""What the commands of `bench` share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import click

from alexnet_fast.cli.command import Result, answers
from alexnet_fast.cli.types import number


def benchmark(
    table: Callable[[Result], str | Iterable[str]],
) -> Callable[[Callable[..., Result]], Callable[..., None]]:
    """Returns a decorator as `answers` does, which adds hardware and versions to the result.

    Args:
        table: Renders the result for a reader.
    """

    def decorate(function: Callable[..., Result]) -> Callable[..., None]:
        @functools.wraps(function)
        def measured(*args: Any, **kwargs: Any) -> Result:
            result = function(*args, **kwargs)
            from alexnet_fast.bench.report import machine

            return {**result, **machine()}

        return answers(table)(measured)

    return decorate


def runs(default: int, help_text: str) -> Callable[[Any], Any]:
    """Adds `--runs`."""
    return number("--runs", default=default, show_default=True, help=help_text)


turn_runs = runs(5, "Counted turns per candidate.")
steps = number("--steps", default=10, show_default=True, help="Training steps per turn.")
model = click.option("--model", default="alexnet", show_default=True, help="Name of the network.")
step_batch_size = number("--batch-size", default=32, show_default=True, help="Images per step.")


def turn_seconds(default: float) -> Callable[[Any], Any]:
    """Adds `--seconds`."""
    return number("--seconds", default=default, show_default=True, help="Length of a turn.")
