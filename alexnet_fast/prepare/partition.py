"""Which images a run prepares, where several runs share the work."""

from __future__ import annotations

import dataclasses
import hashlib
import re

from alexnet_fast.errors import UserError


@dataclasses.dataclass(frozen=True)
class Partition:
    """One of several equal shares of the work.

    Args:
        index: From 1 on.
        count: Number of shares.
    """

    index: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Partition:
        """Reads "I/N".

        Raises:
            UserError: The text is not I/N.
        """
        match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text, re.ASCII)
        if not match or not 1 <= int(match[1]) <= int(match[2]):
            raise UserError(f"--part {text} is not a part", "give I/N, from 1/N to N/N", exit_code=2)
        return cls(int(match[1]), int(match[2]))

    @property
    def whole(self) -> bool:
        """Whether there are no others."""
        return self.count == 1

    def has(self, name: str) -> bool:
        """Returns whether an image belongs to this share; it depends on its name alone."""
        digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index - 1

    def __str__(self) -> str:
        return f"{self.index}-of-{self.count}"
