"""Devices by name, and the metadata of every loaded model."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple

from alexnet_fast.errors import UserError

if TYPE_CHECKING:
    from alexnet_fast.pipelines.spec import AugmentSpec
    from alexnet_fast.pipelines.ten_crop import Crops
    from alexnet_fast.runtime.metadata import GraphMetadata

Kind = Literal["auto", "cpu", "cuda", "tensorrt"]

# `device.choose_device` also accepts "gpu" for "cuda".
_NAMES: dict[str, Kind] = {
    "auto": "auto",
    "cpu": "cpu",
    "cuda": "cuda",
    "gpu": "cuda",
    "tensorrt": "tensorrt",
}


class DeviceRequest(NamedTuple):
    """A requested device: "auto" takes a GPU if there is one; `gpu` counts from 0."""

    kind: Kind
    gpu: int = 0


def parse_device(text: str) -> DeviceRequest:
    """Reads `--device`.

    Args:
        text: "auto", "cpu", "cuda", "cuda:N" or "tensorrt".

    Raises:
        UserError: The text is none of these.
    """
    match = re.fullmatch(r"(?:(cuda|gpu):(\d{1,4})|([a-z]+))", text)
    kind = _NAMES.get(match[1] or match[3]) if match else None
    if match is None or kind is None:
        raise UserError(
            f"--device {text} is not a device", "give auto, cpu, cuda, cuda:N or tensorrt", exit_code=2
        )
    return DeviceRequest(kind, int(match[2] or 0))


class ModelInfo:
    """A model with metadata.

    Attributes:
        metadata: The metadata in its file.
    """

    metadata: GraphMetadata

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the probabilities."""
        return self.metadata.classes

    @property
    def spec(self) -> AugmentSpec:
        """The preprocessing; everything but the resizing is inside the file."""
        return self.metadata.spec

    @property
    def crops(self) -> Crops:
        """The crops that the probabilities are averaged over."""
        return self.metadata.crops
