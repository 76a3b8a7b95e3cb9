"""The content of a report page as plain values; `page` renders them."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fact:
    """A row of a table of results or facts.

    Args:
        label: Name, such as "ten-crop top-1".
        value: Value, such as "0.871".
        note: Basis, such as "525 validation images; majority class 0.59".
    """

    label: str
    value: str
    note: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plot:
    """A figure of the page.

    Args:
        png: The PNG file's bytes (`alexnet_fast.plots.style.png_bytes`); they become part of the page.
        alt: Description for readers who cannot see it.
        caption: Text below it.
    """

    png: bytes
    alt: str
    caption: str = ""

    def __post_init__(self) -> None:
        if not self.alt.strip():
            raise ValueError("an image needs an alternative text")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """A table with a heading row; its first column names the rows.

    Args:
        head: Names of the columns.
        rows: Rows of one cell per column.
        caption: Text above it.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""

    def __post_init__(self) -> None:
        if any(len(row) != len(self.head) for row in self.rows):
            raise ValueError(f"every row needs {len(self.head)} cells: {', '.join(self.head)}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page in this order, without the empty elements.

    Args:
        heading: Title.
        text: Paragraphs, with a blank line between them.
        notice: A caveat, in a box.
        facts: Rows of label, value and note.
        plots: Figures.
        tables: Tables.
        commands: Shell commands, one per line.
    """

    heading: str
    text: str = ""
    notice: str = ""
    facts: tuple[Fact, ...] = ()
    plots: tuple[Plot, ...] = ()
    tables: tuple[Table, ...] = ()
    commands: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """The page, from top to bottom.

    Args:
        title: Title of the page.
        lead: One or two sentences about the work and its result.
        results: The main figures.
        model: The network and the reason for it; paragraphs with a blank line between them.
        notice: A caveat about the results, right below them.
        sections: Curves, crops, samples, kernels, classes, predictions, in the order of the page.
        export: The ONNX file with its size and verification, and the engine, built and possibly run.
        machine: Hardware and versions.
        commands: Commands that give the same result again.
    """

    title: str
    lead: str
    results: tuple[Fact, ...]
    model: str
    notice: str = ""
    sections: tuple[Section, ...] = ()
    export: Section | None = None
    machine: tuple[Fact, ...] = ()
    commands: tuple[str, ...] = ()
