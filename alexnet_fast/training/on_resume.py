"""What `--resume` may do to an option, declared beside each option of `TrainConfig`.

A field made by `free` changes nothing that is learned. One made by `changes` may differ from then on, which
the run records. Every other field, also one that is added later, must stay: `stays` says why.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

_FREE: Final = "free"
_CHANGES: Final = "changes"

# Reasons of `stays`, worded to follow "cannot change: ".
NETWORK = "the weights in the checkpoint belong to this network"
BEGINNING = "it decides how the run began"
OPTIMIZER = "the checkpoint holds the state of this optimizer"
AVERAGE = "the checkpoint holds a moving average of this decay"
POSITION = "the position in the data is counted in these steps"
ORDER = "it decides the order of the images and their augmentation"
PREPROCESSING = "the preprocessing in the checkpoint is part of the trained model"
_OTHER = "the weights would be those of another run"


def free(default: Any = dataclasses.MISSING) -> Any:
    """Declares an option that may differ on `--resume` because no weight depends on it."""
    return _declared(default, {"on_resume": _FREE})


def changes(default: Any) -> Any:
    """Declares an option that `--resume` may change; the run records the change."""
    return _declared(default, {"on_resume": _CHANGES})


def stays(default: Any, reason: str) -> Any:
    """Declares an option that `--resume` must not change.

    Args:
        default: The option's default.
        reason: Why, worded to follow "cannot change: ".
    """
    return _declared(default, {"on_resume": reason})


def _declared(default: Any, metadata: dict[str, str]) -> Any:
    """Returns a dataclass field."""
    # The two overloads of `field` differ in whether a default is passed at all.
    if default is dataclasses.MISSING:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def is_free(field: dataclasses.Field[Any]) -> bool:
    """Tells whether no weight depends on an option."""
    return bool(field.metadata.get("on_resume") == _FREE)


def may_change(field: dataclasses.Field[Any]) -> bool:
    """Tells whether `--resume` may change an option, on record."""
    return bool(field.metadata.get("on_resume") == _CHANGES)


def reason_to_stay(field: dataclasses.Field[Any]) -> str:
    """Returns why `--resume` must not change an option."""
    return str(field.metadata.get("on_resume", _OTHER))
