"""What every loaded model says about itself, from the metadata in its file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple

from alexnet_fast.errors import UserError

Kind = Literal["auto", "cpu", "cuda", "tensorrt"]

# "gpu" is what `device.choose_device` takes for "cuda", too.
_NAMES: dict[str, Kind] = {
    "auto": "auto",
    "cpu": "cpu",
    "cuda": "cuda",
    "gpu": "cuda",
    "tensorrt": "tensorrt",
}


class DeviceRequest(NamedTuple):
    """A device that was asked for: "auto" takes a GPU where there is one; `gpu` counts from 0."""

    kind: Kind
    gpu: int = 0


def parse_device(text: str) -> DeviceRequest:
    """Reads `--device`.

    Args:
        text: "auto", "cpu", "cuda", "cuda:N" or "tensorrt".

    Raises:
        UserError: It is none of these.
    """
    found = re.fullmatch(r"(?:(cuda|gpu):(\d{1,4})|([a-z]+))", text)
    kind = _NAMES.get(found[1] or found[3]) if found else None
    if found is None or kind is None:
        raise UserError(
            f"--device {text} is not a device", "give auto, cpu, cuda, cuda:N or tensorrt", exit_code=2
        )
    return DeviceRequest(kind, int(found[2] or 0))


if TYPE_CHECKING:
    from alexnet_fast.pipelines.spec import AugmentSpec
    from alexnet_fast.pipelines.ten_crop import Crops
    from alexnet_fast.runtime.metadata import GraphMetadata


class ModelInfo:
    """A model with metadata.

    Attributes:
        metadata: Everything that the model says about itself.
    """

    metadata: GraphMetadata

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the probabilities."""
        return self.metadata.classes

    @property
    def spec(self) -> AugmentSpec:
        """The preprocessing; all of it but the resizing is inside the file."""
        return self.metadata.spec

    @property
    def crops(self) -> Crops:
        """What the probabilities are averaged over."""
        return self.metadata.crops
