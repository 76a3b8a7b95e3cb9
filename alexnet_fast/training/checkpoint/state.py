"""Everything that a run has to remember, as parts that each have a name."""

from __future__ import annotations

import dataclasses
import random
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.loader import BadImages


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


@dataclasses.dataclass(kw_only=True)
class Position:
    """A place in the data; with the seed it says which images come next, and how they are cut.

    Args:
        epoch: Epochs done, validation and all.
        epoch_step: Optimiser steps done in the epoch under way; all of them while it is validated.
        step: Optimiser steps since the start of the run.
        seconds: Training time of the epoch under way, in this process and those before it.
        waiting: What of it was spent waiting for data.
    """

    epoch: int = 0
    epoch_step: int = 0
    step: int = 0
    seconds: float = 0.0
    data_wait_seconds: float = 0.0

    @property
    def at_boundary(self) -> bool:
        """Whether no epoch is under way."""
        return self.epoch_step == 0

    @property
    def data_wait(self) -> float:
        """Share of the epoch's training time that was spent waiting for data, 0..1."""
        return min(1.0, self.data_wait_seconds / self.seconds) if self.seconds else 0.0

    def next_step(self) -> None:
        """Counts an optimiser step."""
        self.epoch_step += 1
        self.step += 1

    def next_epoch(self) -> None:
        """Counts an epoch."""
        self.epoch += 1
        self.epoch_step, self.seconds, self.data_wait_seconds = 0, 0.0, 0.0

    def state_dict(self) -> dict[str, Any]:
        """Returns the position as plain values."""
        return dataclasses.asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up a saved position."""
        for name, value in state.items():
            setattr(self, name, value)


class Stateful(Protocol):
    """Something whose state is tensors and plain values."""

    def state_dict(self) -> dict[str, Any]:
        """Returns the state."""

    def load_state_dict(self, state: dict[str, Any], /) -> object:
        """Takes up a saved state."""


@dataclasses.dataclass(kw_only=True)
class CheckpointState:
    """The parts of a run by name; a checkpoint holds the state of each.

    Args:
        shared: Parts that are the same in every process of the job: network, optimiser, schedule.
        own: Parts that each process has of its own: random states, sums over its images.
    """

    replicated: dict[str, Stateful] = dataclasses.field(default_factory=dict)
    per_rank: dict[str, Stateful] = dataclasses.field(default_factory=dict)

    def add(self, name: str, part: Stateful) -> None:
        """Adds a part that is the same in every process."""
        self.replicated[name] = part

    def add_per_rank(self, name: str, part: Stateful) -> None:
        """Adds a part that each process has of its own."""
        self.per_rank[name] = part

    def replicated_state(self) -> dict[str, dict[str, Any]]:
        """Returns the state of the shared parts by name."""
        return {name: part.state_dict() for name, part in self.replicated.items()}

    def per_rank_state(self) -> dict[str, dict[str, Any]]:
        """Returns the state of this process's own parts by name."""
        return {name: part.state_dict() for name, part in self.per_rank.items()}

    def load_replicated(self, state: dict[str, dict[str, Any]]) -> None:
        """Takes up the shared parts.

        Raises:
            UserError: The saved run had other parts.
        """
        _load(self.replicated, state)

    def load_per_rank(self, state: dict[str, dict[str, Any]]) -> None:
        """Takes up this process's own parts.

        Raises:
            UserError: The saved run had other parts.
        """
        _load(self.per_rank, state)


def _load(parts: dict[str, Stateful], state: dict[str, dict[str, Any]]) -> None:
    """Loads every part; none may be left over on either side, or the run would go on as another one."""
    if parts.keys() != state.keys():
        differing = ", ".join(sorted(parts.keys() ^ state.keys()))
        raise UserError(
            f"the checkpoint and this run differ in what they remember ({differing})",
            "go on with the same options and the same version, or start another --run",
        )
    for name, part in parts.items():
        part.load_state_dict(state[name])
