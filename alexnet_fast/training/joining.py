"""Joining the other processes of a job that torchrun, or `alexnet-fast train --processes`, has started."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch
from torch import distributed

from alexnet_fast.device import choose_device
from alexnet_fast.errors import UserError
from alexnet_fast.training.processes import ALONE, Processes

# What torchrun sets: https://docs.pytorch.org/docs/stable/elastic/run.html#environment-variables
_RANK, _WORLD, _LOCAL_RANK = "RANK", "WORLD_SIZE", "LOCAL_RANK"


class LostPeerError(UserError):
    """Another process of the job is gone; the reason is its own error."""


def launched() -> bool:
    """Tells whether a launcher has started this process as one of a job."""
    return _RANK in os.environ and _WORLD in os.environ


def own_device(name: str) -> torch.device:
    """Returns the device of this process: of several on a machine, each takes the GPU of its number.

    Raises:
        UserError: There is no such device.
    """
    if not launched() or os.environ[_WORLD] == "1":
        return choose_device(name)
    kind, _, number = name.partition(":")
    if number:
        raise UserError(f"--device {name} is one for many processes", f"give --device {kind}", exit_code=2)
    device = choose_device(kind)
    return device if device.type == "cpu" else choose_device(f"cuda:{os.environ.get(_LOCAL_RANK, '0')}")


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """Joins the job while the block runs; a process that nobody launched is alone.

    Args:
        device: This process's; GPUs speak through NCCL, CPUs through gloo.

    Raises:
        UserError: The others cannot be reached, or one of them ended during the block.
    """
    if not launched() or os.environ[_WORLD] == "1":
        yield ALONE
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        control = distributed.new_group(backend="gloo")
        yield Processes(rank=distributed.get_rank(), world=distributed.get_world_size(), control=control)
    except RuntimeError as error:
        if not _is_lost_peer(error):
            raise
        raise LostPeerError(
            "another process of the job ended or cannot be reached", "see its error; then go on with --resume"
        ) from error
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()


def _is_lost_peer(error: RuntimeError) -> bool:
    """Tells whether an error comes from the connection to another process.

    Gloo raises a plain RuntimeError with the path of its source or of the connection's end in it.
    """
    marks = ("gloo", "Connection closed by peer", "Connection reset by peer", "Broken pipe")
    return isinstance(error, distributed.DistError) or any(mark in str(error) for mark in marks)
