"""What is said of the members of tars that no sample uses."""

from __future__ import annotations

import collections
from pathlib import Path

from alexnet_fast.data.tar_members import A_FOLDER
from alexnet_fast.data.tar_samples import ShardReading
from alexnet_fast.errors import UserError

_MOST_REASONS = 6


class ShardNotes:
    """Counts what is in no sample, over several tars."""

    def __init__(self) -> None:
        self._reasons: collections.Counter[str] = collections.Counter()
        self._odd: list[str] = []

    def add(self, found: ShardReading) -> None:
        """Adds one tar."""
        self._reasons.update(ignored.reason for ignored in found.ignored if ignored.reason != A_FOLDER)
        self._reasons.update({f"field {field}": count for field, count in found.other.items()})
        self._odd += found.odd

    def text(self) -> str:
        """Returns what is to be said of them; empty where there are none."""
        lines = list(self._odd)
        if self._reasons:
            lines.append(f"{self._reasons.total()} members of the tars are not used: {self._counted()}")
        return "\n".join(lines)

    def no_sample(self, folder: Path) -> UserError:
        """Returns the error where there is no sample at all."""
        counted = f": {self._counted()}" if self._reasons else ""
        return UserError(
            f"the tars in {folder} hold no sample{counted}",
            "a sample is KEY.jpg and KEY.cls; image-key and label-key choose other fields",
        )

    def _counted(self) -> str:
        most = self._reasons.most_common(_MOST_REASONS)
        rest = len(self._reasons) - len(most)
        return ", ".join(f"{count} x {reason}" for reason, count in most) + (", ..." if rest else "")
