"""What happens when an image cannot be decoded: a policy, not a crash."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

from alexnet_fast.errors import UserError

Policy = Literal["fail", "skip"]

_log = logging.getLogger("alexnet_fast")


class BadImages:
    """Names and counts the images that could not be decoded.

    Args:
        policy: "fail" ends the work at the first one, "skip" leaves it out and goes on.
    """

    def __init__(self, policy: Policy = "fail") -> None:
        self.policy = policy
        self.reasons: dict[str, str] = {}

    def report(self, path: str, reason: str) -> None:
        """Takes note of one; each is logged once.

        Raises:
            UserError: The policy is "fail".
        """
        if self.policy == "fail":
            raise UserError(f"cannot decode {path}: {reason}", "remove it, or give --on-bad-image skip")
        if path not in self.reasons:
            _log.warning("left out %s: %s", path, reason)
        self.reasons[path] = reason

    def __len__(self) -> int:
        return len(self.reasons)


def nothing_decoded(root: Path) -> UserError:
    """Returns the error for a folder none of whose images could be decoded; each of them was logged."""
    return UserError(f"none of the images in {root} could be decoded", "see the log")
