"""The checkpoint format: atomic writes, loading without running code, and a SHA-256 of the content."""

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

    It depends on the bits and their order, not on the layout in memory.
    """
    digest = hashlib.sha256()
    _add(digest, content)
    return digest.hexdigest()


def _add(digest: _Digest, value: Any) -> None:
    """Adds a value after its kind and size, so that different values give different bytes."""
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
        path: The file; an older one stays until the new one is complete.
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
    """Reads a checkpoint of `save_checkpoint`: tensors and plain values only, no code.

    Raises:
        UserError: The file is missing, damaged or no checkpoint of alexnet-fast.
    """
    content = load_tensors(path)
    _check_format(path, content)
    stored = {name: value for name, value in content.items() if name not in ("format", "sha256")}
    if state_hash(stored) != content["sha256"]:
        raise UserError(f"{path} is damaged: its content does not match its SHA-256", "use another one")
    return content


def peek_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint's plain values; tensors stay in the file until they are touched.

    Raises:
        UserError: The file is missing, truncated or no checkpoint of alexnet-fast.
    """
    content = load_tensors(path, mmap=True)
    _check_format(path, content)
    return content


def load_tensors(path: Path, *, mmap: bool = False) -> dict[str, Any]:
    """Reads a dictionary of tensors and plain values of `torch.save`, onto the CPU.

    Args:
        path: The file.
        mmap: Leave the tensors in the file until they are touched.

    Raises:
        UserError: The file is missing, damaged or something else.
    """
    try:
        check_plain(path)
        # torchvision's training scripts save one beside the weights; it only holds values by name.
        safe = torch.serialization.safe_globals([argparse.Namespace])
        with utf8_path(path) as named, safe, warnings.catch_warnings():
            # Warnings about TorchScript archives, which are refused.
            warnings.simplefilter("ignore")
            content = torch.load(named, map_location="cpu", weights_only=True, mmap=mmap)
    except FileNotFoundError as error:
        raise UserError(f"no such checkpoint: {path}", "check the path", exit_code=2) from error
    except OSError as error:
        # torch seeks backwards from the end of a truncated file.
        if error.errno == errno.EINVAL:
            raise _damaged(path) from error
        raise UserError(f"cannot read {path}: {system_reason(error)}") from error
    # torch's errors for a file that is truncated, garbled, no zip archive or holds more than tensors.
    except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, ValueError, AttributeError) as error:
        raise (_other_content(path, str(error)) or _damaged(path)) from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no weights by name", "give a run folder or its checkpoints/best.pt")
    return content


def _other_content(path: Path, message: str) -> UserError | None:
    """Returns the error for a valid file that is no state dict; None if the message does not show that.

    Args:
        path: The file.
        message: torch's message.
    """
    if "TorchScript" in message:
        return UserError(
            f"{path} is a TorchScript archive, which is code",
            "give a state dict: torch.save(net.state_dict(), ...)",
        )
    named = re.search(r"(?:GLOBAL|class|global) ([A-Za-z_][\w.]*\.[A-Za-z_]\w*)", message)
    if named is None:
        return None
    return UserError(
        f"{path} holds an object of {named[1]}, and nothing in a file is run",
        "give a state dict: torch.save(net.state_dict(), ...)",
    )


def _damaged(path: Path) -> UserError:
    """Returns the error for a file that cannot be read as a checkpoint."""
    return UserError(
        f"{path} is not a checkpoint, or is damaged", "give a run folder or its checkpoints/best.pt"
    )


def is_checkpoint(path: Path, content: dict[str, Any]) -> bool:
    """Returns whether `save_checkpoint` wrote a file.

    Raises:
        UserError: The checkpoint has the format of another version.
    """
    written = content.get("format")
    if isinstance(written, str) and written.startswith(_OURS) and written != FORMAT:
        raise UserError(
            f"{path} has the format {written!r}; this version reads {FORMAT!r}",
            "use the version that wrote it, or train again",
        )
    return bool(written == FORMAT)


def _check_format(path: Path, content: dict[str, Any]) -> None:
    """Checks that `save_checkpoint` wrote a file.

    Raises:
        UserError: It did not, or the format is that of another version.
    """
    if not is_checkpoint(path, content) or not content.keys() >= _KEYS | {"sha256"}:
        raise UserError(
            f"{path} is not a checkpoint of alexnet-fast", "give a run folder or its checkpoints/best.pt"
        )


class _Careful:
    """A file for `torch.save`, whose archive writer aborts the whole process when a write fails.

    Args:
        file: Receives the bytes; after an error the rest is dropped.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._error: OSError | None = None

    def write(self, data: bytes | memoryview) -> int:
        """Writes, or stores the error."""
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
        """Raises the error of a write."""
        if self._error is not None:
            raise self._error
