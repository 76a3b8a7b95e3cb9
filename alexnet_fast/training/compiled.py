"""`torch.compile`, with an error for what it lacks before the first batch has been read."""

from __future__ import annotations

import importlib.util
import os
import shutil
from typing import cast

import torch
from torch import nn

from alexnet_fast.errors import UserError


def compile_net(net: nn.Module, device: torch.device) -> nn.Module:
    """Returns the network compiled; its parameters stay those of `net`.

    Every shape is compiled by itself: code for all shapes is slower, and training has few.

    Raises:
        UserError: A compiler is missing.
    """
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        raise UserError("--compile needs Triton on a GPU", "pip install triton")
    compilers = filter(None, (os.environ.get("CXX"), "g++", "clang++"))
    if device.type == "cpu" and not any(map(shutil.which, compilers)):
        raise UserError("--compile finds no C++ compiler", "apt-get install g++, or set CXX")
    return cast("nn.Module", torch.compile(net, dynamic=False))
