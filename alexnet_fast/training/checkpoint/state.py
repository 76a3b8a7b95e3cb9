"""The state of a run, as named parts."""

from __future__ import annotations

import dataclasses
import random
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.loader import BadImages


class Stateful(Protocol):
    """Something whose state is tensors and plain values."""

    def state_dict(self) -> dict[str, Any]:
        """Returns the state."""

    def load_state_dict(self, state: dict[str, Any], /) -> object:
        """Loads a saved state."""


class ScalerState:
    """The state of the loss scaler; torch refuses to load the empty state of a disabled one."""

    def __init__(self, scaler: torch.amp.GradScaler) -> None:
        self._scaler = scaler

    def state_dict(self) -> dict[str, Any]:
        """See `Stateful`."""
        return self._scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `Stateful`."""
        if state:
            self._scaler.load_state_dict(state)


class BadImagesState:
    """The images skipped so far."""

    def __init__(self, *lists: BadImages) -> None:
        self._lists = lists

    def state_dict(self) -> dict[str, Any]:
        """See `Stateful`."""
        return {"reasons": [dict(bad.reasons) for bad in self._lists]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `Stateful`."""
        for bad, reasons in zip(self._lists, state["reasons"], strict=True):
            bad.reasons.update(reasons)


class RngState:
    """The states of the random generators of Python, NumPy and torch.

    Args:
        device: A GPU whose generator is included.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def seed(self, seed: int, rank: int) -> None:
        """Seeds the generators of a process; each process draws its own dropout masks.

        Rank 0 uses the plain seed, so that a run of one process does not depend on this rule.
        """
        mixed = seed if rank == 0 else int(np.random.SeedSequence([seed, rank]).generate_state(1)[0])
        torch.manual_seed(mixed)
        np.random.seed(mixed % 2**32)
        random.seed(mixed)

    def state_dict(self) -> dict[str, Any]:
        """See `Stateful`."""
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
        """See `Stateful`."""
        torch.set_rng_state(state["torch"].cpu())
        if self._device.type == "cuda" and state["cuda"] is not None:
            torch.cuda.set_rng_state(state["cuda"].cpu(), self._device)
        version, words, gauss = state["python"]
        random.setstate((version, tuple(words.tolist()), gauss))
        words = state["numpy"]["state"].cpu().numpy()
        key = {"key": words[:-1].astype(np.uint32), "pos": int(words[-1])}
        np.random.set_state({**state["numpy"], "state": key})


def _words(key: npt.NDArray[np.uint32], position: int) -> torch.Tensor:
    """Returns the state of NumPy's Mersenne twister and its position as one int64 tensor (625,)."""
    return torch.from_numpy(np.append(key.astype(np.int64), position))


@dataclasses.dataclass(kw_only=True)
class Position:
    """A position in the data; with the seed it determines the next images and their augmentation.

    Args:
        epoch: Finished epochs, including validation.
        epoch_step: Optimiser steps in the current epoch; all of them during validation.
        step: Optimiser steps since the start of the run.
        seconds: Training time of the current epoch, including that before a resume.
        data_wait_seconds: Part of that time spent waiting for data.
    """

    epoch: int = 0
    epoch_step: int = 0
    step: int = 0
    seconds: float = 0.0
    data_wait_seconds: float = 0.0

    @property
    def at_boundary(self) -> bool:
        """Whether the run is between two epochs."""
        return self.epoch_step == 0

    @property
    def data_wait(self) -> float:
        """Fraction of the epoch's training time spent waiting for data, 0..1."""
        return min(1.0, self.data_wait_seconds / self.seconds) if self.seconds else 0.0

    def next_step(self) -> None:
        """Advances by an optimiser step."""
        self.epoch_step += 1
        self.step += 1

    def next_epoch(self) -> None:
        """Advances to the next epoch."""
        self.epoch += 1
        self.epoch_step, self.seconds, self.data_wait_seconds = 0, 0.0, 0.0

    def state_dict(self) -> dict[str, Any]:
        """See `Stateful`."""
        return dataclasses.asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `Stateful`."""
        for name, value in state.items():
            setattr(self, name, value)


@dataclasses.dataclass(kw_only=True)
class CheckpointState:
    """The parts of a run by name; a checkpoint holds the state of each.

    Args:
        replicated: Parts that are the same in every process: network, optimiser, schedule.
        per_rank: Parts that differ between processes: random states, sums over the images of a process.
    """

    replicated: dict[str, Stateful] = dataclasses.field(default_factory=dict)
    per_rank: dict[str, Stateful] = dataclasses.field(default_factory=dict)


def part_states(parts: dict[str, Stateful]) -> dict[str, dict[str, Any]]:
    """Returns the state of each part by name."""
    return {name: part.state_dict() for name, part in parts.items()}


def load_parts(parts: dict[str, Stateful], states: dict[str, dict[str, Any]]) -> None:
    """Loads the state of every part.

    Raises:
        UserError: A state or a part is missing: the run would silently continue as another one.
    """
    if parts.keys() != states.keys():
        differing = ", ".join(sorted(parts.keys() ^ states.keys()))
        raise UserError(
            f"the checkpoint and this run differ in what they remember ({differing})",
            "go on with the same options and the same version, or start another --run",
        )
    for name, part in parts.items():
        part.load_state_dict(states[name])
