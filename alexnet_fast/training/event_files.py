"""The order of a run's event files."""

from __future__ import annotations

import time
from pathlib import Path

_PREFIX = "events.out.tfevents."


def order_before_now(folder: Path) -> None:
    """Renames event files so that TensorBoard reads one that is made now after them.

    It reads them by name, and their names begin with the second they were made in. After the clock was put
    back a resumed run's file would come first, and TensorBoard would cut off what it draws.

    Raises:
        OSError: A file cannot be renamed.
    """
    latest = int(time.time()) - 1
    for file in sorted(folder.glob(f"{_PREFIX}*"), reverse=True):
        second, _, rest = file.name.removeprefix(_PREFIX).partition(".")
        if not second.isdecimal() or int(second) <= latest:
            break
        file.rename(folder / f"{_PREFIX}{latest:010d}.{rest}")
        latest -= 1
