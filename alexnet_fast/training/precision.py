"""Mixed precision: the number type of a device, and the scaler that fp16 needs."""

from __future__ import annotations

import dataclasses
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch

from alexnet_fast.errors import UserError
from alexnet_fast.training.config import Amp
from alexnet_fast.training.log import log


@dataclasses.dataclass(frozen=True, kw_only=True)
class Precision:
    """Device and number type of a network.

    Args:
        device: The device.
        dtype: Type of convolutions and matrix products under autocast; None is float32 throughout.
    """

    device: torch.device
    dtype: torch.dtype | None

    @property
    def name(self) -> str:
        """The name of the type in logs."""
        return {None: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}[self.dtype]

    def autocast(self) -> AbstractContextManager[object]:
        """Returns the autocast context of the network."""
        if self.dtype is None:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)

    def scaler(self) -> torch.amp.GradScaler:
        """Returns a gradient scaler, enabled only for fp16, whose small gradients vanish."""
        return torch.amp.GradScaler(self.device.type, enabled=self.dtype is torch.float16)


def choose_precision(amp: Amp, device: torch.device) -> Precision:
    """Chooses the number type of a device.

    "auto" selects bf16 on GPUs that have it (compute capability 8.0 and up), fp16 on older ones, and float32
    on the CPU: bf16 is faster on few CPUs, and ten times slower on those without its instructions.

    Raises:
        UserError: The device lacks the requested type.
    """
    if amp == "off" or (amp == "auto" and device.type == "cpu"):
        return Precision(device=device, dtype=None)
    if amp == "auto":
        has_bf16 = torch.cuda.get_device_capability(device) >= (8, 0)
        return Precision(device=device, dtype=torch.bfloat16 if has_bf16 else torch.float16)
    if amp == "fp16" and device.type == "cpu":
        raise UserError("--amp fp16 needs a GPU", "give --amp bf16 or --amp off", exit_code=2)
    if device.type == "cpu" and not has_bf16_instructions():
        log.warning("this processor has no bf16 instructions: --amp bf16 is some ten times slower than off")
    return Precision(device=device, dtype=torch.float16 if amp == "fp16" else torch.bfloat16)


def has_bf16_instructions() -> bool:
    """Returns whether the processor multiplies bf16 numbers; otherwise each is converted to float32."""
    words = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").split()
    # As Linux names them: Intel and AMD, Intel's matrix unit, ARM.
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(words)
