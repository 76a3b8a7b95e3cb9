"""Checkpoints: written whole or not at all, read without running code."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from alexnet_fast.errors import UserError
from alexnet_fast.files import atomic_file

FORMAT = "alexnet-fast checkpoint 1"

_KEYS = frozenset({"format", "model", "classes", "spec", "weights", "training"})


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Writes a checkpoint atomically.

    Args:
        path: Where; an older one stays until the new one is complete.
        content: "model" (the arguments of `create_model`), "classes" (names), "spec" (`AugmentSpec.to_dict`),
            "weights" (state dict) and "training" (everything a resumed run needs).

    Raises:
        UserError: It cannot be written.
    """
    with atomic_file(path) as file:
        torch.save({"format": FORMAT, **content}, file)


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Reads what `save_checkpoint` wrote; tensors and plain values only, so no code can hide in it.

    Raises:
        UserError: The file is missing, damaged or no checkpoint of ours.
    """
    content = load_tensors(path, device)
    if content.get("format") != FORMAT or not content.keys() >= _KEYS:
        raise UserError(
            f"{path} is not a checkpoint of alexnet-fast", "give a run folder or its checkpoints/best.pt"
        )
    return content


def load_tensors(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Reads a dictionary of tensors and plain values that `torch.save` wrote.

    Raises:
        UserError: The file is missing, damaged or something else.
    """
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"no such checkpoint: {path}", "check the path", exit_code=2) from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error
    # What torch raises for a file that is cut short, garbled, no zip archive or holds more than tensors.
    except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, ValueError, AttributeError) as error:
        raise UserError(
            f"{path} is not a checkpoint, or is damaged", "give a run folder or its checkpoints/best.pt"
        ) from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no weights by name", "give a run folder or its checkpoints/best.pt")
    return content
