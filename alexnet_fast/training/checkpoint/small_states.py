"""State of what has no state of its own in the form that `state.CheckpointState` asks for."""

from __future__ import annotations

from typing import Any

import torch

from alexnet_fast.pipelines.bad_images import BadImages


class ScalerState:
    """The loss scale; torch refuses to load the empty state of a scaler that is switched off."""

    def __init__(self, scaler: torch.amp.GradScaler) -> None:
        self._scaler = scaler

    def state_dict(self) -> dict[str, Any]:
        """Returns scale and growth."""
        return self._scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up a saved state."""
        if state:
            self._scaler.load_state_dict(state)


class BadState:
    """The images left out so far, in a run that may be cut off."""

    def __init__(self, *lists: BadImages) -> None:
        self._lists = lists

    def state_dict(self) -> dict[str, Any]:
        """Returns the reasons by file."""
        return {"reasons": [dict(bad.reasons) for bad in self._lists]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up saved reasons."""
        for bad, reasons in zip(self._lists, state["reasons"], strict=True):
            bad.reasons.update(reasons)
