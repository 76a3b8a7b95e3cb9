"""The augmentation spec: everything that happens to an image between the file and the network.

One frozen value configures the DALI graphs, the plain PyTorch loader, the ten crops and the served
preprocessing, so that all of them give the same pixels.
"""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.augment.color_jitter import ColorJitter
from alexnet_fast.pipelines.augment.random_resized_crop import RandomResizedCrop
from alexnet_fast.pipelines.color import WHITE, Color
from alexnet_fast.utils.ranges import COUNT, SIDE

# Sides between the ends are multiples of this: the smallest step that all strides of AlexNet (4, 2, 2, 2)
# divide, so that few different sides meet the GPU's search for the fastest convolutions.
_STEP = 32

# Python reads no number of more than 4,300 digits.
_NUMBER = re.compile("[0-9]{1,18}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Progressive:
    """The input side of training as a function of the epoch: linear, then constant.

    Args:
        start: Side in pixels in the first epoch.
        end: Side in pixels from epoch `epochs` on.
        epochs: Epochs until `end` is reached.

    Raises:
        UserError: A number is not positive, or is larger than any image or training.
    """

    start: int
    end: int
    epochs: int

    def __post_init__(self) -> None:
        try:
            SIDE.take(self.start), SIDE.take(self.end), COUNT.take(self.epochs)
        except ValueError as error:
            raise UserError(
                f"--progressive-resize {self.start}:{self.end}:{self.epochs} is no range of sizes ({error})",
                "give positive numbers of pixels and epochs, such as 128:224:30",
                exit_code=2,
            ) from error

    @classmethod
    def parse(cls, text: str, epochs: int) -> Progressive:
        """Reads `START:END` or `START:END:EPOCHS`.

        Args:
            text: Value of the option.
            epochs: Default if the text names none.

        Raises:
            UserError: The text has another form.
        """
        parts = text.split(":")
        if not 2 <= len(parts) <= 3 or not all(_NUMBER.fullmatch(part) for part in parts):
            raise UserError(
                f"--progressive-resize {text} is no range of sizes",
                "give START:END or START:END:EPOCHS, such as 128:224:30",
                exit_code=2,
            )
        start, end, *rest = (int(part) for part in parts)
        return cls(start=start, end=end, epochs=rest[0] if rest else epochs)

    def side(self, epoch: int) -> int:
        """Returns the side in pixels of an epoch, counted from 0."""
        if epoch >= self.epochs - 1:
            return self.end
        if epoch == 0:
            return self.start
        exact = self.start + (self.end - self.start) * epoch / (self.epochs - 1)
        low, high = sorted((self.start, self.end))
        return min(high, max(low, round(exact / _STEP) * _STEP))


Triple = tuple[float, float, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PcaJitter:
    """Colour jitter along the principal components of RGB (Krizhevsky et al. 2012, section 4.1).

    Each image gets one shift `eigenvectors @ (stdev * sigma * z)`, z ~ N(0, 1) per component.

    Args:
        stdev: Standard deviation along each component, largest first, on the 0..255 scale.
        eigenvectors: Rows R, G, B; columns are the components, largest first.
        sigma: Standard deviation of z; 0.1 in the paper.
    """

    stdev: Triple
    eigenvectors: tuple[Triple, Triple, Triple]
    sigma: float = 0.1


_IMAGENET_EIGENVECTORS = (
    (-0.56351045, -0.71257945, 0.41795513),
    (-0.5761844, -0.02354167, -0.81698062),
    (-0.59200296, 0.70119634, 0.39731118),
)

# The constants of the authors' own code (cuda-convnet2), on the 0..255 scale.
ORIGINAL_JITTER = PcaJitter(
    stdev=(121.78006099, 37.09388853, 19.72083305), eigenvectors=_IMAGENET_EIGENVECTORS
)

# The widely copied "lighting" constants: eigenvalues 0.2175, 0.0188, 0.0045 on the 0..1 scale used as if they
# were standard deviations, 2.2 to 5.4 times weaker than the original.
LIGHTING_JITTER = PcaJitter(
    stdev=(0.2175 * 255, 0.0188 * 255, 0.0045 * 255), eigenvectors=_IMAGENET_EIGENVECTORS
)

# Mean RGB of ImageNet's training images on the 0..255 scale, from the same code.
IMAGENET_MEAN: Triple = (127.30, 119.72, 104.91)

# Defaults: the paper's scale. Distinct objects, made at run time (equal constants of one module are one
# object), tell a default from the same numbers given by the caller.
_DEFAULT_MEAN: Triple = (*IMAGENET_MEAN[:2], IMAGENET_MEAN[2])
_DEFAULT_STD: Triple = (float("1"), float("1"), float("1"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentSpec:
    """Geometry, normalisation and random parts of the input.

    Args:
        resize: Length in pixels of the shorter side after resizing (antialiased triangle filter).
        crop: Side in pixels of the square that the network sees.
        mean: Subtracted per RGB channel, on the 0..255 scale; by default the paper's.
        std: Divides per RGB channel, on the 0..255 scale; by default the paper's (1, 1, 1).
        flip: Whether training images are mirrored with probability 0.5.
        jitter: PCA colour jitter of training images; None for none.
        random_resized_crop: Random area and aspect ratio of training images; None for the paper's crop.
        color_jitter: Random brightness, contrast, saturation and hue of training images; None for none.
        progressive: Side of the training images per epoch; None for `crop` in every epoch.
        background: Red, green and blue, 0 to 255, behind transparent parts of an image.

    Raises:
        UserError: The crop does not fit into the resized image, or a size is not positive.
    """

    resize: int = 256
    crop: int = 224
    mean: Triple = _DEFAULT_MEAN
    std: Triple = _DEFAULT_STD
    flip: bool = True
    jitter: PcaJitter | None = ORIGINAL_JITTER
    random_resized_crop: RandomResizedCrop | None = None
    color_jitter: ColorJitter | None = None
    progressive: Progressive | None = None
    background: Color = WHITE

    def __post_init__(self) -> None:
        if self.crop < 1:
            raise UserError(f"--crop {self.crop} is not a size", "give a number of pixels", exit_code=2)
        if self.crop > self.resize:
            raise UserError(
                f"--crop {self.crop} does not fit into images whose shorter side is {self.resize}",
                f"give --resize {self.crop} or more",
                exit_code=2,
            )
        if self.progressive is not None and self.progressive.end != self.crop:
            raise UserError(
                f"--progressive-resize ends at {self.progressive.end}, the network reads {self.crop} pixels",
                f"let it end at {self.crop}, or give --crop {self.progressive.end}",
                exit_code=2,
            )
        if not all(0 <= part <= 255 for part in self.background):
            raise UserError(
                f"background {self.background} is not a colour", "give red, green and blue, 0 to 255"
            )
        if min(self.std) <= 0:
            raise UserError(f"std {self.std} must be positive", "check the spec of this run")

    @property
    def margin(self) -> int:
        """Pixels by which the resized square exceeds the crop; 0 leaves no room for ten crops."""
        return self.resize - self.crop

    @property
    def says_normalisation(self) -> bool:
        """Whether the caller gave mean and std; the export of a custom network must not guess them."""
        return self.mean is not _DEFAULT_MEAN and self.std is not _DEFAULT_STD

    def in_epoch(self, epoch: int) -> AugmentSpec:
        """Returns the spec of one training epoch, counted from 0, with the sizes that `progressive` gives it.

        The shorter side shrinks with the crop, so that the crop always shows the same fraction of the image.
        """
        if self.progressive is None:
            return self
        side = self.progressive.side(epoch)
        shorter = max(side, round(self.resize * side / self.crop))
        return dataclasses.replace(self, crop=side, resize=shorter, progressive=None)

    def to_dict(self) -> dict[str, Any]:
        """Returns the spec as plain JSON values; additions to the paper are omitted when they are off."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return {name: value for name, value in plain.items() if value is not None or name not in _ADDITIONS}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> AugmentSpec:
        """Reads what `to_dict` wrote.

        Raises:
            UserError: A key is unknown or missing.
        """
        fields = dict(plain)
        try:
            jitter = fields.pop("jitter")
            if jitter is not None:
                jitter = PcaJitter(
                    stdev=tuple(jitter["stdev"]),
                    eigenvectors=_rows(jitter["eigenvectors"]),
                    sigma=jitter["sigma"],
                )
            if "background" in fields:
                fields["background"] = _color(fields["background"])
            fields["mean"], fields["std"] = tuple(fields["mean"]), tuple(fields["std"])
            for name, addition in _ADDITIONS.items():
                if fields.get(name) is not None:
                    fields[name] = addition(**fields[name])
            return cls(**fields, jitter=jitter)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise UserError(
                f"the preprocessing description is not one of this version ({error})",
                "export or train again with this version",
            ) from error


# Fields that older versions did not save.
_ADDITIONS: dict[str, Any] = {
    "random_resized_crop": RandomResizedCrop,
    "color_jitter": ColorJitter,
    "progressive": Progressive,
}


def _color(parts: list[int]) -> Color:
    """Returns a colour as a tuple."""
    red, green, blue = map(int, parts)
    return red, green, blue


def _rows(rows: list[list[float]]) -> tuple[Triple, Triple, Triple]:
    """Returns a 3 x 3 matrix as tuples."""
    red, green, blue = ((row[0], row[1], row[2]) for row in rows)
    return (red, green, blue)
