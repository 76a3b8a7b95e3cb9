"""Settings of DALI's decoder on a GPU."""

from __future__ import annotations

import dataclasses
from typing import Any

from alexnet_fast.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecoderSettings:
    """How a GPU decodes; of it all only the upsampling changes a pixel. The CPU's decoder has nothing to set.

    DALI's cache of decoded images is not among them: it is meant for readers that stay with their shard.
    Our images come in an order of our own, and nobody has tried the cache with that on a GPU.

    Args:
        hardware_load: Share of the JPEGs that the hardware decoder takes where there is one (A100 and later);
            the other GPU kernels and the CPU threads decode the rest. 0.65 is DALI's default, MLPerf's
            entries take 0.99 on an H100; the best share depends on the threads.
        width_hint: Pixels across of the largest image: memory is taken once, not image by image. 5980
            is the widest of ImageNet (MLPerf).
        height_hint: Pixels down of the largest image; 6430 in ImageNet.
        device_padding: Bytes of GPU memory taken for each thread at the start.
        host_padding: Bytes of pinned memory taken twice for each thread at the start.
        fancy_upsampling: Chroma as libjpeg interpolates it. Without it a GPU's pixels are not the CPU's.
        affinity: Ties DALI's threads to processors near the GPU.

    Raises:
        UserError: A number is out of its range.
    """

    hardware_load: float = 0.65
    width_hint: int = 5980
    height_hint: int = 6430
    device_padding: int = 16 << 20
    host_padding: int = 8 << 20
    fancy_upsampling: bool = True
    affinity: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.hardware_load <= 1:
            raise UserError(
                f"--hw-decoder-load {self.hardware_load:g} is no share", "give 0 to 1", exit_code=2
            )
        for name in ("width_hint", "height_hint", "device_padding", "host_padding"):
            if getattr(self, name) < 0:
                raise UserError(f"the decoder setting {name} must not be negative", exit_code=2)

    def arguments(self) -> dict[str, Any]:
        """Returns the arguments of DALI's mixed decoders."""
        return {
            "device": "mixed",
            "hw_decoder_load": self.hardware_load,
            "preallocate_width_hint": self.width_hint,
            "preallocate_height_hint": self.height_hint,
            "device_memory_padding": self.device_padding,
            "host_memory_padding": self.host_padding,
            "jpeg_fancy_upsampling": self.fancy_upsampling,
            "affine": self.affinity,
        }
