"""What is said of the members of tars that no sample uses."""

from __future__ import annotations

from pathlib import Path

from alexnet_fast.data.entries import Ignored
from alexnet_fast.data.tar_members import A_DIR
from alexnet_fast.data.webdataset import ShardReading
from alexnet_fast.errors import UserError


class ShardNotes:
    """Counts what is in no sample, and what is odd, over several tars."""

    def __init__(self) -> None:
        self.ignored = Ignored()
        self.odd: list[str] = []

    def add(self, found: ShardReading) -> None:
        """Adds one tar."""
        for member in found.ignored:
            if member.reason != A_DIR:
                self.ignored.add(member.name, member.reason)
        self.ignored.add_counts({field_reason(field): count for field, count in found.other.items()})
        self.odd += found.odd

    def no_sample(self, directory: Path) -> UserError:
        """Returns the error where there is no sample at all."""
        counted = f": {self.ignored.summary()}" if len(self.ignored) else ""
        return UserError(
            f"the tars in {directory} hold no sample{counted}",
            "a sample is KEY.jpg and KEY.cls; image-key and label-key choose other fields",
        )


def field_reason(field: str) -> str:
    """Returns why a member is not used that is a field of a sample."""
    return f"in the unused field {field}"
