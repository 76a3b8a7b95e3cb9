"""Progressive resizing: small images in the first epochs, the network's own size at the end."""

from __future__ import annotations

import dataclasses
import re

from alexnet_fast.errors import UserError
from alexnet_fast.utils.ranges import COUNT, SIDE

# Sides between the ends are multiples of this: the smallest step that all strides of AlexNet (4, 2, 2, 2)
# divide, so that few different sides meet the GPU's search for the fastest convolutions.
_STEP = 32

# Python reads no number of more than 4,300 digits.
_NUMBER = re.compile("[0-9]{1,18}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Progressive:
    """The input side of training as a function of the epoch: a straight line, then level.

    Args:
        start: Side in pixels in the first epoch.
        end: Side in pixels from epoch `epochs` on.
        epochs: Epochs until the end is reached.

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
                f"--progressive {self.start}:{self.end}:{self.epochs} is no course of sizes ({error})",
                "give positive numbers of pixels and epochs, such as 128:224:30",
                exit_code=2,
            ) from error

    @classmethod
    def parse(cls, text: str, epochs: int) -> Progressive:
        """Reads `START:END` or `START:END:EPOCHS`.

        Args:
            text: What the option says.
            epochs: Taken where the text names none.

        Raises:
            UserError: It says something else.
        """
        parts = text.split(":")
        if not 2 <= len(parts) <= 3 or not all(_NUMBER.fullmatch(part) for part in parts):
            raise UserError(
                f"--progressive {text} is no course of sizes",
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
