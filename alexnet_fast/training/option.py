"""The declaration of a training option as a field of `TrainConfig`.

The command line, the keys of TOML files, the reference in the documentation, the check of values and the
rules of `--resume` all come from the field's metadata.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Final

from alexnet_fast.utils.ranges import Range

# Groups of `train --help`, in their order.
GROUPS: Final = (
    DATA := "Data",
    MODEL := "Model",
    OPTIMISATION := "Optimisation",
    SCHEDULE := "Schedule",
    AUGMENTATION := "Augmentation",
    HARDWARE := "Hardware",
    CHECKPOINTS := "Checkpoints",
    LOGGING := "Logging",
)

# Options that `--resume` may change: without a record, or on record.
FREE: Final = "free"
RECORDED: Final = "recorded"

# Reasons why `--resume` must not change an option, worded to follow "cannot change it: ".
NETWORK = "the weights in the checkpoint belong to this network"
INITIALISATION = "it decides how the run began"
OPTIMIZER = "the checkpoint holds the state of this optimizer"
AVERAGE = "the checkpoint holds a moving average of this decay"
POSITION = "the position in the data is counted in these steps"
ORDER = "it decides the order of the images and their augmentation"
PREPROCESSING = "the preprocessing in the checkpoint is part of the trained model"
_OTHER = "the weights would be those of another run"

_KEY = "option"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Option:
    """Everything about an option except its name, type and default, which are the field's.

    Args:
        help: One plain sentence.
        group: One of `GROUPS`.
        on_resume: `FREE` if no weight depends on it, `RECORDED` if `--resume` may change it on record, else
            the reason why it must stay.
        range: The range of a number.
        choices: The values of a name.
        common: Whether `train --help` shows it; `--help-all` shows every option.
        metavar: Placeholder of the value in the help.
        default_text: Text in the help instead of the field's default.
        cli_default: Computes the default of the command line if it depends on the machine.
    """

    help: str
    group: str
    on_resume: str = _OTHER
    range: Range | None = None
    choices: tuple[str, ...] | None = None
    common: bool = False
    metavar: str | None = None
    default_text: str | None = None
    cli_default: Callable[[], Any] | None = None


def option(default: Any = dataclasses.MISSING, **declared: Any) -> Any:
    """Declares an option as a dataclass field.

    Args:
        default: The field's default; without one the field is required.
        declared: The fields of `Option`.
    """
    declaration = Option(**declared)
    # `ranges.check_fields` reads the last two.
    metadata = {_KEY: declaration, "range": declaration.range, "choices": declaration.choices}
    # The two overloads of `field` differ in whether a default is passed at all.
    if default is dataclasses.MISSING:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def option_of(field: dataclasses.Field[Any]) -> Option:
    """Returns what a field declares; a field without a declaration must stay on `--resume`."""
    declared = field.metadata.get(_KEY)
    return declared if declared is not None else Option(help="", group=DATA)


def is_free(field: dataclasses.Field[Any]) -> bool:
    """Returns whether no weight depends on an option."""
    return option_of(field).on_resume == FREE


def may_change(field: dataclasses.Field[Any]) -> bool:
    """Returns whether `--resume` may change an option on record."""
    return option_of(field).on_resume == RECORDED


def reason_to_stay(field: dataclasses.Field[Any]) -> str:
    """Returns why `--resume` must not change an option."""
    return option_of(field).on_resume


def flag_name(field: str) -> str:
    """Returns the flag of a field: `--batch-size` for "batch_size"."""
    return "--" + field.replace("_", "-")
