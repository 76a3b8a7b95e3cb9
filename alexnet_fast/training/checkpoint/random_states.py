"""The random generators of a process: dropout draws from torch's, a user's network may from the others."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import numpy.typing as npt
import torch


class RandomStates:
    """State of Python's, NumPy's and torch's generators.

    Args:
        device: Whose generator counts besides the CPU's.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def seed(self, seed: int, rank: int) -> None:
        """Starts the generators of a process; each draws its own dropout masks.

        The first process keeps the plain seed, so that a run of one does not depend on this rule.
        """
        mixed = seed if rank == 0 else int(np.random.SeedSequence([seed, rank]).generate_state(1)[0])
        torch.manual_seed(mixed)
        np.random.seed(mixed % 2**32)
        random.seed(mixed)

    def state_dict(self) -> dict[str, Any]:
        """Returns the states as tensors and plain values."""
        version, words, gauss = random.getstate()
        numpy = np.random.get_state(legacy=False)
        cuda = self._device.type == "cuda"
        return {
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state(self._device) if cuda else None,
            "python": [version, torch.tensor(words), gauss],
            "numpy": {**numpy, "state": _words(numpy["state"]["key"], numpy["state"]["pos"])},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up saved states."""
        torch.set_rng_state(state["torch"].cpu())
        if self._device.type == "cuda" and state["cuda"] is not None:
            torch.cuda.set_rng_state(state["cuda"].cpu(), self._device)
        version, words, gauss = state["python"]
        random.setstate((version, tuple(words.tolist()), gauss))
        words = state["numpy"]["state"].cpu().numpy()
        key = {"key": words[:-1].astype(np.uint32), "pos": int(words[-1])}
        np.random.set_state({**state["numpy"], "state": key})


def _words(key: npt.NDArray[np.uint32], position: int) -> torch.Tensor:
    """Returns the state of NumPy's Mersenne twister and the place in it as one int64 tensor (625,)."""
    return torch.from_numpy(np.append(key.astype(np.int64), position))
