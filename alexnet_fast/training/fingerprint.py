"""What a resumed run must share with the run that it goes on with."""

from __future__ import annotations

import dataclasses
from typing import Any

from alexnet_fast.data import Splits
from alexnet_fast.errors import UserError
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.picture_record import describe_change
from alexnet_fast.training.precision import Precision
from alexnet_fast.training.run_folder import RunFolder

# Options that change nothing in the weights, or are compared in another form below. Every other option, also
# one that is added later, must be the same for a run to go on as if it had not been cut off.
_FREE = frozenset(
    {
        "data",
        "leave_out",
        "layout",
        "labels",
        "label_encoding",
        "image_key",
        "label_key",
        "run",
        "epochs",
        "val_fraction",
        "device",
        "amp",
        "threads",
        "on_bad_image",
        "log_every",
        "checkpoint_steps",
        "checkpoint_minutes",
        "keep",
        "processes",
        "gpus",
    }
)

# Schedules whose rates depend on the length of the run; under the others epochs may be added.
_OF_KNOWN_LENGTH = frozenset({"cosine"})


def make_fingerprint(config: TrainConfig, splits: Splits, precision: Precision) -> dict[str, Any]:
    """Returns what a resumed run must share with the run it goes on with."""
    names = [field.name for field in dataclasses.fields(config) if field.name not in _FREE]
    # Pictures that grow do so over all epochs, unless the option says over how many.
    grows = config.progressive is not None and config.progressive.count(":") < 2
    if config.schedule in _OF_KNOWN_LENGTH or grows:
        names.append("epochs")
    plain = config.to_dict()
    return {
        **{"--" + name.replace("_", "-"): plain.get(name) for name in names},
        "--amp": precision.name,
        "the training pictures": splits.train.fingerprint(),
        "the validation pictures": splits.val.fingerprint(),
    }


def refuse_other_run(
    config: TrainConfig, splits: Splits, before: dict[str, Any], now: dict[str, Any]
) -> None:
    """Refuses to go on with a run that was another one, naming what differs.

    Raises:
        UserError: It was.
    """
    for name, value in now.items():
        if name in before and before[name] == value:
            continue
        if name.startswith("--"):
            raise UserError(
                f"the run in {config.run} has {name} {before.get(name)}, not {value}",
                "go on with the same value, or start another --run",
            )
        change = describe_change(RunFolder(config.run).pictures, splits)
        raise UserError(
            f"{name} in {config.data} have changed since the run in {config.run} began"
            + (f": {change}" if change else ""),
            "restore them, or start another --run",
        )
