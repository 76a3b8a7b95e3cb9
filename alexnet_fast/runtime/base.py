"""What every loaded model says about itself, from the metadata in its file."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
