"""Which device the work runs on."""

from __future__ import annotations

import torch

from alexnet_fast.errors import UnavailableError, UserError


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
    if kind not in ("cpu", "cuda") or (number and not number.isdecimal()):
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
