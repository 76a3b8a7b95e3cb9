"""Which process this is among those that share the pictures."""

from __future__ import annotations

import os

from alexnet_fast.errors import UserError


def find_processes(rank: int | None = None, world: int | None = None) -> tuple[int, int]:
    """Returns (rank, number of processes).

    Args:
        rank: As the caller says, together with `world`; else an initialised process group is asked, then the
            environment (`RANK` and `WORLD_SIZE`, as torchrun sets them); else it is one process.
        world: Number of processes.

    Raises:
        UserError: They do not fit together.
    """
    if (rank is None) != (world is None):
        raise UserError(f"rank {rank} without world {world}", "give both, or neither", exit_code=2)
    if rank is None or world is None:
        rank, world = _from_group() or (_from_environment("RANK", 0), _from_environment("WORLD_SIZE", 1))
    if not 0 <= rank < world:
        raise UserError(f"rank {rank} is not among {world} processes", "count from 0", exit_code=2)
    return rank, world


def _from_group() -> tuple[int, int] | None:
    """Asks torch's process group, where there is one."""
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return None


def _from_environment(name: str, default: int) -> int:
    """Reads a number from the environment.

    Raises:
        UserError: It is none.
    """
    text = os.environ.get(name, str(default))
    if not text.isdecimal():
        raise UserError(f"the environment has {name}={text}", f"unset {name}, or set it to a number")
    return int(text)
