"""The memory of this machine, and refusing what cannot fit into it before it is asked for."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from alexnet_fast.errors import UserError

# Limits of a container: version 2 of control groups, and version 1.
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def memory_bytes() -> int:
    """Returns the memory that this process may use at most: the machine's, or its container's where less."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for limit in _LIMITS:
        # A file that is missing, or says "max".
        with contextlib.suppress(OSError, ValueError):
            found.append(int(limit.read_text(encoding="ascii")))
    return min(found)


def check_memory(needed: int, what: str, hint: str) -> None:
    """Refuses work whose data alone are larger than the memory.

    Args:
        needed: Their bytes.
        what: What they are, as the beginning of a sentence.
        hint: What to do about it.

    Raises:
        UserError: They are larger.
    """
    there = memory_bytes()
    if needed > there:
        raise UserError(
            f"{what} would take {needed / 2**30:,.1f} GiB of memory, and there are {there / 2**30:.1f} GiB",
            hint,
            exit_code=2,
        )


def resident_mib() -> float:
    """Returns the memory of this process that is in RAM, in MiB."""
    return _status_mib("VmRSS")


def peak_mib() -> float:
    """Returns the most of it that ever was.

    getrusage's ru_maxrss is no less than what the process took that started this one (Linux, fs/exec.c).
    """
    return _status_mib("VmHWM")


def _status_mib(field: str) -> float:
    """Reads a field of proc(5), which is in KiB."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status has no {field}")
