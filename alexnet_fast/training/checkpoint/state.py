"""Everything that a run has to remember, as parts that each have a name."""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

from alexnet_fast.errors import UserError


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

    shared: dict[str, Stateful] = dataclasses.field(default_factory=dict)
    own: dict[str, Stateful] = dataclasses.field(default_factory=dict)

    def add(self, name: str, part: Stateful) -> None:
        """Adds a part that is the same in every process."""
        self.shared[name] = part

    def add_own(self, name: str, part: Stateful) -> None:
        """Adds a part that each process has of its own."""
        self.own[name] = part

    def shared_state(self) -> dict[str, dict[str, Any]]:
        """Returns the state of the shared parts by name."""
        return {name: part.state_dict() for name, part in self.shared.items()}

    def own_state(self) -> dict[str, dict[str, Any]]:
        """Returns the state of this process's own parts by name."""
        return {name: part.state_dict() for name, part in self.own.items()}

    def load_shared(self, state: dict[str, dict[str, Any]]) -> None:
        """Takes up the shared parts.

        Raises:
            UserError: The saved run had other parts.
        """
        _load(self.shared, state)

    def load_own(self, state: dict[str, dict[str, Any]]) -> None:
        """Takes up this process's own parts.

        Raises:
            UserError: The saved run had other parts.
        """
        _load(self.own, state)


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
