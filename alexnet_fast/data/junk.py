"""Members of archives that systems leave behind, told by their names."""

from __future__ import annotations

from alexnet_fast.data.image_names import why_junk, why_not_entered


def junk_reason(name: str) -> str | None:
    """Returns why a member is never looked at; None for one that may be.

    Args:
        name: With "/" between the parts.
    """
    *directories, file = name.split("/")
    return next(filter(None, (*map(why_not_entered, directories), why_junk(file))), None)
