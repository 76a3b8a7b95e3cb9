"""Versions of the TensorRT libraries that are installed."""

from __future__ import annotations

import importlib.metadata
import re
from typing import Literal

LibraryName = Literal["tensorrt", "tensorrt_rtx"]


def installed_version(name: str) -> str | None:
    """Returns the version of an installed TensorRT without importing it, or None.

    Wheels repaired after a release are called 10.13.3.9.post1; the library inside is 10.13.3.9.
    """
    try:
        return re.sub(r"\.post\d+$", "", importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return None
