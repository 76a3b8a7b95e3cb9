"""A fingerprint of tensors and plain values, whatever file they lie in."""

from __future__ import annotations

import hashlib
from typing import Any, Protocol

import torch


class _Digest(Protocol):
    def update(self, data: Any, /) -> None:
        """Adds bytes."""


def content_digest(content: Any) -> str:
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
