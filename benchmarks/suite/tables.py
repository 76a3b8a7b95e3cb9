"""Markdown tables, and the format of figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

NOT_MEASURED = "not measured"


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """Returns the lines of a table."""
    lines = [head, ["---"] * len(head), *body]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def count(figure: float) -> str:
    """Formats a figure with three significant digits; large ones are whole."""
    if figure >= 100:
        return f"{figure:,.0f}"
    if figure >= 1:
        return f"{figure:.1f}" if figure >= 10 else f"{figure:.2f}"
    return f"{figure:.3g}"


def spread(row: Mapping[str, Any], key: str = "value") -> str:
    """Formats a figure with its lowest and highest value."""
    return f"{count(row[key])} ({count(row['low'])} to {count(row['high'])})"
