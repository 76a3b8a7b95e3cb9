"""The memory of this machine, and checks that work fits into it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from alexnet_fast.errors import UserError

# Limits of a container: version 2 of control groups, and version 1.
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def memory_bytes() -> int:
    """Returns the memory limit of this process: the machine's, or its container's if that is less."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for limit in _LIMITS:
        # The file may be missing, or contain "max".
        with contextlib.suppress(OSError, ValueError):
            limits.append(int(limit.read_text(encoding="ascii")))
    return min(limits)


def check_memory(needed: int, what: str, hint: str) -> None:
    """Checks that the data of the work fit into memory.

    Args:
        needed: Bytes of the data.
        what: Name of the data, as the beginning of a sentence.
        hint: The hint of the error.

    Raises:
        UserError: The data are larger than the memory.
    """
    limit = memory_bytes()
    if needed > limit:
        raise UserError(
            f"{what} would take {needed / 2**30:,.1f} GiB of memory, and there are {limit / 2**30:.1f} GiB",
            hint,
            exit_code=2,
        )


def resident_mib() -> float:
    """Returns the memory of this process that is in RAM, in MiB."""
    return _status_mib("VmRSS")


def peak_mib() -> float:
    """Returns the peak of that memory.

    getrusage's ru_maxrss includes the process that started this one (Linux, fs/exec.c).
    """
    return _status_mib("VmHWM")


def _status_mib(field: str) -> float:
    """Reads a field of proc(5), which is in KiB."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status has no {field}")
