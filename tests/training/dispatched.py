"""What Python asks of torch, operator by operator."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode


class _Counting(TorchDispatchMode):
    """Counts every operator that reaches the dispatcher, those of the backward pass too."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen[func.name().partition(".")[0]] += 1
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def calls() -> Iterator[Counter[str]]:
    """Counts the operators called inside the block: `aten::_local_scalar_dense` is what `item` calls."""
    with _Counting() as counting:
        yield counting.seen
