"""Which device the work runs on."""

from __future__ import annotations

import logging
import re

import torch

from alexnet_fast.errors import UnavailableError, UserError

# No machine has more GPUs, and Python reads no number of any length.
_INDEX = re.compile("[0-9]{1,6}")

_log = logging.getLogger("alexnet_fast")


def choose_device(name: str) -> torch.device:
    """Returns the device that a name asks for; "auto" is the first GPU where there is one.

    Args:
        name: "auto", "cpu", "gpu", "cuda" or "cuda:N".

    Raises:
        UserError: It is no device.
        UnavailableError: There is no such device; nothing else is taken in its place.
    """
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    wanted = name.replace("gpu", "cuda")
    kind, _, number = wanted.partition(":")
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
    """Returns the device that was asked for, or, where that is allowed and it is not there, the CPU.

    Raises:
        UserError: It is no device.
        UnavailableError: It is not there, and nothing else may take its place.
    """
    try:
        return choose_device(name)
    except UnavailableError as error:
        if not allow_fallback:
            hint = "give --device cpu, or allow it with --allow-fallback"
            raise UnavailableError(error.problem, hint, exit_code=error.exit_code) from error
        _log.warning("%s; PyTorch runs on the CPU instead", error.problem)
        return torch.device("cpu")
