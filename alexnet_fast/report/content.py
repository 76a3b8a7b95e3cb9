"""What a report page shows, as plain values: the caller fills them in, `page` renders them."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fact:
    """A line of a table of results or facts.

    Args:
        label: What it is: "ten-crop top-1".
        value: How much: "0.871".
        note: On what it rests: "525 validation images; majority class 0.59".
    """

    label: str
    value: str
    note: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plot:
    """A figure of the page.

    Args:
        png: The PNG file's bytes (`alexnet_fast.plots.style.png_bytes`); they become part of the page.
        alt: What it shows, for readers who cannot see it.
        caption: Stands below it.
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
        rows: As many cells each as there are columns.
        caption: Stands above it.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""

    def __post_init__(self) -> None:
        if any(len(row) != len(self.head) for row in self.rows):
            raise ValueError(f"every row needs {len(self.head)} cells: {', '.join(self.head)}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page; what is empty is left out, the rest follows in this order.

    Args:
        heading: Its title.
        text: Paragraphs, with a blank line between them.
        notice: A caveat that must not be missed; stands in a box.
        facts: Lines of label, value and note.
        plots: Figures.
        tables: Tables.
        commands: Shell commands, a line each.
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
        title: Of the page.
        lead: One sentence or two: what was done and what came out.
        results: The main figures.
        model: Which network and why; paragraphs with a blank line between them.
        notice: A caveat on the results; stands right below them.
        sections: Curves, crops, samples, kernels, classes, predictions, in the order of the page.
        export: The ONNX file, its size and verification, the engine: what was built, and what was run.
        machine: Hardware and versions.
        commands: What to type to get the same again.
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
