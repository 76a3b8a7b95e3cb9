"""Which process this is among those that share the images."""

from __future__ import annotations

import os

from alexnet_fast.errors import UserError

# What torchrun sets: https://docs.pytorch.org/docs/stable/elastic/run.html#environment-variables
RANK, WORLD, LOCAL_RANK = "RANK", "WORLD_SIZE", "LOCAL_RANK"


def world_info(rank: int | None = None, world: int | None = None) -> tuple[int, int]:
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
        return _from_group() or processes_of_environment()
    if not 0 <= rank < world:
        raise UserError(f"rank {rank} is not among {world} processes", "count from 0", exit_code=2)
    return rank, world


def processes_of_environment() -> tuple[int, int]:
    """Returns (rank, number of processes) as the environment says them; (0, 1) where it says nothing.

    Raises:
        UserError: A variable is no number or is missing, or they contradict each other; it is named.
    """
    world, rank = number_of_environment(WORLD, 1), number_of_environment(RANK, 0)
    if world < 1:
        raise _wrong(WORLD, "no job has that many processes")
    for there, missing in ((WORLD, RANK), (RANK, WORLD)):
        if there in os.environ and missing not in os.environ and (world > 1 or rank > 0):
            raise _wrong(there, f"but no {missing}")
    if rank >= world:
        raise _wrong(RANK, f"which is not among {WORLD}={world} processes, counted from 0")
    return rank, world


def number_of_environment(name: str, default: int) -> int:
    """Reads a number, from 0 on, from the environment.

    Raises:
        UserError: It is none.
    """
    text = os.environ.get(name, str(default)).strip()
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise _wrong(name, "which is no number from 0 on")
    return int(text)


def _wrong(name: str, what: str) -> UserError:
    """Returns what is said of a variable of the environment."""
    hint = "start the job with torchrun, which sets them all, or unset it for a single process"
    return UserError(f"the environment has {name}={os.environ.get(name, '')}, {what}", hint, exit_code=2)


def _from_group() -> tuple[int, int] | None:
    """Asks torch's process group, where there is one."""
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return None
