"""Reads pickled numpy arrays without running anything that a file asks for.

A `.npy` file whose type is "object", as `bvlc_alexnet.npy` is, holds a pickle, and a pickle may call any
function of Python. This reader knows four names, each a harmless stand-in; at any other it stops. Not even
numpy's own reconstruction runs: a stand-in keeps the bytes, and the array is made of them afterwards.
"""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alexnet_fast.errors import UserError, system_reason
from alexnet_fast.utils.special_files import check_plain

_NUMBERS = ("f2", "f4", "f8")


class _Type:
    """Stands in for `numpy.dtype`."""

    def __init__(self, code: str, *_flags: object) -> None:
        self.code, self.order = code, "|"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]


class _Array:
    """Stands in for `numpy.ndarray` while it is read."""

    def __init__(self) -> None:
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def build(self) -> Any:
        """Returns the float32 array, or the list in one of objects.

        Raises:
            ValueError: It holds other numbers, or not as many as its shape says.
        """
        _, shape, kind, by_column, content = self.state
        if kind.code.startswith("O"):
            return content
        if kind.code not in _NUMBERS:
            raise ValueError(f"an array of type {kind.code}")
        raw = content.encode("latin1") if isinstance(content, str) else content
        order = kind.order if kind.order in "<>" else "<"
        numbers = np.frombuffer(raw, order + kind.code).astype(np.float32)
        return numbers.reshape(shape, order="F" if by_column else "C")


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """Stands in for `_codecs.encode`, which old protocols write bytes with."""
    return text.encode("latin1" if encoding == "latin1" else "ascii")


_KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy.core.multiarray", "_reconstruct"): lambda *_arguments: _Array(),
    ("numpy._core.multiarray", "_reconstruct"): lambda *_arguments: _Array(),
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _encode,
}


class _SafeUnpickler(pickle.Unpickler):
    """Builds plain containers and the stand-ins of `_KNOWN`, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Returns a stand-in.

        Raises:
            UnpicklingError: The name is another.
        """
        if (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _KNOWN[module, name]


def read_arrays(path: Path) -> dict[str, list[npt.NDArray[np.float32]]]:
    """Reads a dictionary of lists of arrays from a `.npy` file.

    Args:
        path: The file, written by Python 2 or 3.

    Returns:
        The arrays by name, such as `{"conv1": [weights, biases]}`; a dictionary inside, such as
        `{"conv1": {"weights": ..., "biases": ...}}`, comes out in the same order.

    Raises:
        UserError: The file is missing, of another kind, or asks for more than arrays, lists and text.
    """
    try:
        check_plain(path)
        with path.open("rb") as file:
            return _arrays(path, _unpickled(path, file))
    except OSError as error:
        raise UserError(f"cannot read {path}: {system_reason(error)}") from error


def _unpickled(path: Path, file: io.BufferedReader) -> Any:
    """Reads the header and the pickle behind it."""
    try:
        if not _is_of_objects(file):
            raise UserError(f"{path} holds one array of numbers, not layers by name", _WANTED)
        return _SafeUnpickler(file, encoding="latin1").load()
    except UserError:
        raise
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} is refused: {error}, and weights are arrays, lists, dictionaries and text alone",
            "do not trust this file; get it from another place",
        ) from error
    except _SPOILED as error:
        raise UserError(f"{path} is not a .npy file, or is damaged", _WANTED) from error


# What a pickle that is cut short or garbled makes the reader raise.
_SPOILED = (
    *(ValueError, TypeError, LookupError, AttributeError, ArithmeticError),
    *(EOFError, MemoryError, RecursionError, struct.error),
)
_MAGIC = b"\x93NUMPY"


def _is_of_objects(file: io.BufferedReader) -> bool:
    """Reads the header (numpy.lib.format), and tells whether a pickle follows; it is not evaluated.

    Raises:
        ValueError: The bytes are no header.
    """
    start = file.read(len(_MAGIC) + 2)
    if start[: len(_MAGIC)] != _MAGIC or len(start) < len(_MAGIC) + 2:
        raise ValueError("no numpy file")
    length = int.from_bytes(file.read(2 if start[len(_MAGIC)] == 1 else 4), "little")
    return b"'|O'" in file.read(min(length, _LONGEST_HEADER))


_LONGEST_HEADER = 1 << 16
_WANTED = "give a dictionary of layers, as bvlc_alexnet.npy is"


def _arrays(path: Path, content: Any) -> dict[str, list[npt.NDArray[np.float32]]]:
    """Takes the stand-ins apart."""
    try:
        layers = content.build() if isinstance(content, _Array) else content
        layers = layers[0] if isinstance(layers, list) else layers
        return {str(name): [part.build() for part in _parts(value)] for name, value in layers.items()}
    except (ValueError, TypeError, AttributeError, IndexError) as error:
        raise UserError(f"{path} does not hold layers of weights and biases ({error})", _WANTED) from error


def _parts(value: Any) -> list[_Array]:
    """Returns weights and biases, in this order."""
    if isinstance(value, dict):
        return [value[name] for name in sorted(value, key=lambda name: name != "weights")]
    found = value.build() if isinstance(value, _Array) else value
    return list(found)
