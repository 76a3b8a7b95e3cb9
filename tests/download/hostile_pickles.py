"""Twelve pickles that write a canary when Python reads them, each in its way, and files that hold them."""

from __future__ import annotations

import functools
import io
import operator
import os
import pickle
import runpy
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


class Calls:
    """Is pickled as a call."""

    def __init__(self, call: Callable[..., Any], *words: object) -> None:
        self._call, self._words = call, words

    def __call__(self) -> None:
        """A pickle that calls what another call returns must be given something that can be called."""

    def __reduce__(self) -> tuple[Any, ...]:
        return self._call, self._words


def _calling(make: Callable[[Path], tuple[Any, ...]]) -> Callable[[Path], bytes]:
    """Returns what makes the pickle of a call."""
    return lambda canary: pickle.dumps(Calls(*make(canary)), 2)


def _program(canary: Path) -> str:
    return f"open({str(canary)!r}, 'w').close()"


def _script(canary: Path) -> str:
    """Writes a Python file that writes the canary."""
    path = canary.with_suffix(".py")
    path.write_text(_program(canary), encoding="utf-8")
    return str(path)


def _text(text: str) -> bytes:
    """SHORT_BINUNICODE."""
    return b"\x8c" + bytes([len(text)]) + text.encode()


def _on_the_stack(canary: Path) -> bytes:
    """STACK_GLOBAL: no opcode holds the function's name."""
    return b"\x80\x04" + _text("io") + _text("open") + b"\x93" + _text(str(canary)) + _text("w") + b"\x86R."


def _through_another_module(canary: Path) -> bytes:
    """A dotted name, which leads from a module that looks harmless to another one."""
    start = b"\x80\x04" + _text("posixpath") + _text("os.system") + b"\x93"
    return start + _text(f"touch {canary}") + b"\x85R."


def _instance(canary: Path) -> bytes:
    """INST, the call of protocol 0."""
    return f"(S'{canary}'\nS'w'\niio\nopen\n.".encode()


# name: what makes one, given the canary's path.
PICKLES: dict[str, Callable[[Path], bytes]] = {
    "a shell": _calling(lambda canary: (os.system, f"touch {canary}")),
    "a process": _calling(lambda canary: (subprocess.check_call, ["touch", str(canary)])),
    "an expression": _calling(lambda canary: (eval, _program(canary))),
    "a program": _calling(lambda canary: (exec, _program(canary))),
    "a file": _calling(lambda canary: (open, str(canary), "w")),
    "a script": _calling(lambda canary: (runpy.run_path, _script(canary))),
    "an attribute": _calling(lambda canary: (Calls(getattr, Path, "touch"), canary)),
    "a partial call": _calling(lambda canary: (functools.partial(os.mkdir, str(canary)),)),
    "a method": _calling(lambda canary: (operator.methodcaller("touch"), canary)),
    "a name on the stack": _on_the_stack,
    "a name through another module": _through_another_module,
    "an instance of protocol 0": _instance,
}


def as_numpy(content: bytes) -> bytes:
    """A `.npy` file of objects."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
    return file.getvalue() + content


def as_torch(content: bytes) -> bytes:
    """An archive as `torch.save` writes it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, part in (("data.pkl", content), ("byteorder", b"little"), ("version", b"3\n")):
            archive.writestr(f"archive/{name}", part)
    return file.getvalue()
