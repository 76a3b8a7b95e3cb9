"""Selection of the device."""

from __future__ import annotations

import logging
import re

import torch

from alexnet_fast.errors import UnavailableError, UserError

# No machine has more GPUs, and Python does not read numbers of any length.
_INDEX = re.compile("[0-9]{1,6}")

_log = logging.getLogger("alexnet_fast")


def choose_device(name: str) -> torch.device:
    """Returns the device of a name; "auto" is the first GPU, or the CPU without one.

    Args:
        name: "auto", "cpu", "gpu", "cuda" or "cuda:N".

    Raises:
        UserError: The name is not a device.
        UnavailableError: This machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    kind, _, number = name.replace("gpu", "cuda").partition(":")
    if kind not in ("cpu", "cuda") or (number and not _INDEX.fullmatch(number)):
        raise UserError(f"--device {name} is not a device", "give auto, cpu, cuda or cuda:N", exit_code=2)
    if kind == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UnavailableError(
            f"--device {name}: PyTorch finds no CUDA device", "give --device cpu, or see alexnet-fast doctor"
        )
    if int(number or 0) >= torch.cuda.device_count():
        raise UnavailableError(
            f"--device {name}: there are {torch.cuda.device_count()} GPUs", "count from 0", exit_code=2
        )
    return torch.device("cuda", int(number or 0))


def device_or_cpu(name: str, *, allow_fallback: bool) -> torch.device:
    """Returns the requested device, or the CPU if it is unavailable and a fallback is allowed.

    Raises:
        UserError: The name is not a device.
        UnavailableError: The device is unavailable, and no fallback is allowed.
    """
    try:
        return choose_device(name)
    except UnavailableError as error:
        if not allow_fallback:
            hint = "give --device cpu, or allow it with --allow-fallback"
            raise UnavailableError(error.problem, hint, exit_code=error.exit_code) from error
        _log.warning("%s; PyTorch runs on the CPU instead", error.problem)
        return torch.device("cpu")
