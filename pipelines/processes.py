"""Rank and number of the processes that share the images."""

from __future__ import annotations

import os

from alexnet_fast.errors import UserError

# What torchrun sets: https://docs.pytorch.org/docs/stable/elastic/run.html#environment-variables
RANK, WORLD, LOCAL_RANK = "RANK", "WORLD_SIZE", "LOCAL_RANK"


def world_info(rank: int | None = None, world: int | None = None) -> tuple[int, int]:
    """Returns (rank, number of processes).

    Args:
        rank: Rank, given together with `world`. Without it, an initialised process group decides, then the
            environment (`RANK` and `WORLD_SIZE`, as torchrun sets them); else there is one process.
        world: Number of processes.

    Raises:
        UserError: Rank and number of processes contradict each other.
    """
    if (rank is None) != (world is None):
        raise UserError(f"rank {rank} without world {world}", "give both, or neither", exit_code=2)
    if rank is None or world is None:
        return _from_group() or processes_of_environment()
    if not 0 <= rank < world:
        raise UserError(f"rank {rank} is not among {world} processes", "count from 0", exit_code=2)
    return rank, world


def processes_of_environment() -> tuple[int, int]:
    """Returns (rank, number of processes) from the environment; (0, 1) if it has neither.

    Raises:
        UserError: A variable is no number or is missing, or the variables contradict each other.
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
    """Reads a number, 0 or larger, from the environment.

    Raises:
        UserError: The variable is no such number.
    """
    text = os.environ.get(name, str(default)).strip()
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise _wrong(name, "which is no number from 0 on")
    return int(text)


def _wrong(name: str, what: str) -> UserError:
    """Returns the error about a variable of the environment."""
    hint = "start the job with torchrun, which sets them all, or unset it for a single process"
    return UserError(f"the environment has {name}={os.environ.get(name, '')}, {what}", hint, exit_code=2)


def _from_group() -> tuple[int, int] | None:
    """Returns rank and size of torch's process group, None if there is none."""
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return None
