"""Checkpoints: written whole or not at all, read without running code, proved by a fingerprint."""

from __future__ import annotations

import argparse
import errno
import hashlib
import pickle
import re
import warnings
from pathlib import Path
from typing import IO, Any, Protocol, cast

import torch

from alexnet_fast.errors import UserError, system_reason
from alexnet_fast.utils.atomic import atomic_file, utf8_path
from alexnet_fast.utils.special_files import check_plain


class _Digest(Protocol):
    def update(self, data: Any, /) -> None:
        """Adds bytes."""


def state_hash(content: Any) -> str:
    """Returns the SHA-256, in hexadecimal, of nested dictionaries and lists of tensors and plain values.

    Two contents with one digest hold the same bits in the same order; layout in memory does not count.
    """
    digest = hashlib.sha256()
    _add(digest, content)
    return digest.hexdigest()


def _add(digest: _Digest, value: Any) -> None:
    """Adds a value; each is preceded by its kind and size, so that none can be mistaken for another."""
    if isinstance(value, torch.Tensor):
        digest.update(f"tensor {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(_bytes(value))
    elif isinstance(value, dict):
        digest.update(f"dict {len(value)}\n".encode())
        for key, item in value.items():
            _add(digest, key)
            _add(digest, item)
    elif isinstance(value, list | tuple):
        digest.update(f"list {len(value)}\n".encode())
        for item in value:
            _add(digest, item)
    else:
        digest.update(f"{type(value).__name__} {value!r}\n".encode("utf-8", "surrogateescape"))


def _bytes(tensor: torch.Tensor) -> Any:
    """Returns a tensor's bytes in row-major order."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()


_OURS = "alexnet-fast checkpoint"
FORMAT = f"{_OURS} 3"

_KEYS = frozenset({"model", "classes", "spec", "weights", "training", "provenance"})


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Writes a checkpoint atomically.

    Args:
        path: Where; an older one stays until the new one is complete.
        content: "model" (the arguments of `create_model`), "classes" (names), "spec" (`AugmentSpec.to_dict`),
            "weights" (state dict), "training" (everything a resumed run needs) and "provenance".

    Raises:
        UserError: It cannot be written.
    """
    header = {"format": FORMAT, "sha256": state_hash(content)}
    with atomic_file(path) as file:
        careful = _Careful(file)
        torch.save({**header, **content}, cast(IO[bytes], careful))
        careful.check()


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Reads what `save_checkpoint` wrote; tensors and plain values only, so no code can hide in it.

    Raises:
        UserError: The file is missing, damaged or no checkpoint of ours.
    """
    content = load_tensors(path)
    _check_external(path, content)
    stored = {name: value for name, value in content.items() if name not in ("format", "sha256")}
    if state_hash(stored) != content["sha256"]:
        raise UserError(f"{path} is damaged: its content does not match its fingerprint", "use another one")
    return content


def peek_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint's plain values; tensors stay in the file until they are touched.

    Raises:
        UserError: The file is missing, cut short or no checkpoint of ours.
    """
    content = load_tensors(path, mmap=True)
    _check_external(path, content)
    return content


def load_tensors(path: Path, *, mmap: bool = False) -> dict[str, Any]:
    """Reads a dictionary of tensors, on the CPU, and plain values that `torch.save` wrote.

    Args:
        path: The file.
        mmap: Leave the tensors in the file until they are touched.

    Raises:
        UserError: The file is missing, damaged or something else.
    """
    try:
        check_plain(path)
        # What torchvision's training scripts put beside the weights: it only holds values by name.
        safe = torch.serialization.safe_globals([argparse.Namespace])
        with utf8_path(path) as named, safe, warnings.catch_warnings():
            # Of TorchScript archives, which are refused.
            warnings.simplefilter("ignore")
            content = torch.load(named, map_location="cpu", weights_only=True, mmap=mmap)
    except FileNotFoundError as error:
        raise UserError(f"no such checkpoint: {path}", "check the path", exit_code=2) from error
    except OSError as error:
        # Reading backwards from the end of a file that has lost it.
        if error.errno == errno.EINVAL:
            raise _damaged(path) from error
        raise UserError(f"cannot read {path}: {system_reason(error)}") from error
    # What torch raises for a file that is cut short, garbled, no zip archive or holds more than tensors.
    except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, ValueError, AttributeError) as error:
        raise (_foreign(path, str(error)) or _damaged(path)) from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no weights by name", "give a run folder or its checkpoints/best.pt")
    return content


def _foreign(path: Path, said: str) -> UserError | None:
    """Returns the error for a file that is whole and holds something else; None where it is not known to be.

    Args:
        path: The file.
        said: What torch says about it.
    """
    if "TorchScript" in said:
        return UserError(
            f"{path} is a TorchScript archive, which is code",
            "give a state dict: torch.save(net.state_dict(), ...)",
        )
    found = re.search(r"(?:GLOBAL|class|global) ([A-Za-z_][\w.]*\.[A-Za-z_]\w*)", said)
    if found is None:
        return None
    return UserError(
        f"{path} holds an object of {found[1]}, and nothing in a file is run",
        "give a state dict: torch.save(net.state_dict(), ...)",
    )


def _damaged(path: Path) -> UserError:
    """Returns the error for a file that cannot be taken apart."""
    return UserError(
        f"{path} is not a checkpoint, or is damaged", "give a run folder or its checkpoints/best.pt"
    )


def is_checkpoint(path: Path, content: dict[str, Any]) -> bool:
    """Tells whether `save_checkpoint` wrote a file.

    Raises:
        UserError: An earlier version wrote it.
    """
    written = content.get("format")
    if isinstance(written, str) and written.startswith(_OURS) and written != FORMAT:
        raise UserError(
            f"{path} has the format {written!r}; this version reads {FORMAT!r}",
            "use the version that wrote it, or train again",
        )
    return bool(written == FORMAT)


def _check_external(path: Path, content: dict[str, Any]) -> None:
    """Refuses what was not written by `save_checkpoint`."""
    if not is_checkpoint(path, content) or not content.keys() >= _KEYS | {"sha256"}:
        raise UserError(
            f"{path} is not a checkpoint of alexnet-fast", "give a run folder or its checkpoints/best.pt"
        )


class _Careful:
    """A file for `torch.save`, whose archive writer aborts the whole process when a write fails.

    Args:
        file: Where the bytes go; after an error the rest is dropped.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._error: OSError | None = None

    def write(self, data: bytes | memoryview) -> int:
        """Writes, or takes note of the error."""
        size = len(data)
        if self._error is None:
            try:
                self._file.write(data)
            except OSError as error:
                self._error = error
        return size

    def flush(self) -> None:
        """Leaves flushing to the owner of the file."""

    def check(self) -> None:
        """Raises the error that a write met."""
        if self._error is not None:
            raise self._error
