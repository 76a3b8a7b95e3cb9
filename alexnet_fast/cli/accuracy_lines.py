"""The table of what was compared with PyTorch in an export."""

from __future__ import annotations

from typing import Any

_HEAD = f"{'':20s} {'in':5s} {'top-1':>7s} {'top-5':>7s} {'same top-1':>11s} {'largest':>9s} {'99 %':>9s}"


def accuracy_lines(rows: list[dict[str, Any]] | None) -> list[str]:
    """Renders the rows of `export.accuracy.Trial`; nothing where nothing was compared."""
    if not rows:
        return []
    images = rows[0]["images"]
    head = ["", f"compared on {images} images; differences of a probability from PyTorch's", _HEAD]
    backends = [f"{row['name']}: {row['backend']}" for row in rows if row["backend"]]
    return [*head, *map(_line, rows), *backends]


def _line(row: dict[str, Any]) -> str:
    name = f"{row['name']:20s} {row['precision']:5s}"
    if row["not_measured"]:
        return f"{name} not measured: {row['not_measured']}"
    return (
        f"{name} {_share(row['top1'], 7)} {_share(row['top5'], 7)} {_share(row['top1_agreement'], 11)}"
        f" {row['max_abs_error']:9.1e} {row['p99_abs_error']:9.1e}"
    )


def _share(value: float | None, width: int) -> str:
    return f"{'-':>{width}s}" if value is None else f"{value:{width}.2%}"
