"""What decides a stream of batches, so that a saved position is never taken up by another stream."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from typing import Any

from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.loader import Loader

# Raised whenever the same images, spec and seed would give another order, other draws or other pixels.
PIPELINES_VERSION = 1

_DECODERS = {"dali": "nvidia-dali-cuda120", "torch": "pillow"}


def describe_stream(loader: Loader) -> dict[str, Any]:
    """Returns everything that a loader's batches depend on, besides epoch and step.

    Plain values by the name that a message gives them. The versions are there because another decoder may
    give other pixels; the image list is a hash over names, labels and classes.
    """
    config, schedule = loader.config, loader.schedule
    decoder = _DECODERS[config.kind]
    return {
        "pipelines": PIPELINES_VERSION,
        "loader": config.kind,
        "decoder": f"{decoder} {importlib.metadata.version(decoder)}",
        "device": config.device.type,
        "half precision": config.half,
        "view": loader.view,
        "image list": loader.images.fingerprint(),
        "images": schedule.images,
        "batch size": schedule.batch_size,
        "shuffle": schedule.shuffle,
        "full batches only": schedule.full_only,
        "seed": schedule.seed,
        "rank": schedule.rank,
        "processes": schedule.world,
        **{f"spec.{name}": value for name, value in loader.spec.to_dict().items()},
    }


def refuse_other_stream(saved: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Compares a saved description with that of the loader at hand.

    Raises:
        UserError: They differ; each thing is named with both values.
    """
    differing = [name for name in {**saved, **here} if saved.get(name) != here.get(name)]
    if not differing:
        return
    each = "; ".join(f"{name} was {saved.get(name)}, is {here.get(name)}" for name in differing)
    raise UserError(
        f"the saved position belongs to another stream of images: {each}",
        "make the loader as it was, or start an epoch anew with set_epoch",
    )
