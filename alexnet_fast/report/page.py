"""The report page: semantic HTML, style and images inside, no script, nothing fetched."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from alexnet_fast.report.content import Fact, Plot, Report, Section, Table
from alexnet_fast.report.markup import element, escaped, image, paragraphs
from alexnet_fast.report.page_style import CSS
from alexnet_fast.utils.atomic import write_atomically
from alexnet_fast.version import __version__

# Belt and braces: even if something slipped through the escaping, the browser runs and fetches nothing.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
{css}</style>
</head>
<body>
<header>
{header}
</header>
<main>
{main}
</main>
<footer>
<p>alexnet-fast {version}</p>
</footer>
</body>
</html>
"""


def write_report(path: Path, report: Report) -> None:
    """Writes the page, whole or not at all.

    Args:
        path: The HTML file.
        report: What it shows.

    Raises:
        UserError: The file cannot be written.
    """
    write_atomically(path, render_report(report).encode("utf-8", "backslashreplace"))


def render_report(report: Report) -> str:
    """Returns the page as HTML; equal reports give equal pages.

    Raises:
        ValueError: An image is not PNG.
    """
    sections = _sections(report)
    names = _names([section.heading for section in sections])
    header = [element("h1", escaped(report.title)), paragraphs(report.lead, class_="lead")]
    return _PAGE.format(
        policy=escaped(_POLICY),
        title=escaped(report.title),
        css=CSS,
        header="\n".join([*header, _contents(sections, names)]),
        main="\n".join(_section(section, name) for section, name in zip(sections, names, strict=True)),
        version=escaped(__version__),
    )


def _sections(report: Report) -> list[Section]:
    """Puts everything on the page into one order; parts that the report lacks are left out."""
    sections = [
        Section(heading="Results", facts=report.results, notice=report.notice),
        Section(heading="Model", text=report.model),
        *report.sections,
    ]
    if report.export is not None:
        sections.append(report.export)
    if report.machine:
        sections.append(Section(heading="Hardware and versions", facts=report.machine))
    if report.commands:
        sections.append(Section(heading="How to repeat it", commands=report.commands))
    return sections


def _names(headings: Sequence[str]) -> list[str]:
    """Returns a name for each heading that a link can point to: letters and digits, each one once."""
    names: list[str] = []
    for heading in headings:
        name = re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-") or "section"
        while name in names:
            name += "-again"
        names.append(name)
    return names


def _contents(sections: Sequence[Section], names: Sequence[str]) -> str:
    """Returns links to the sections."""
    links = [
        element("li", element("a", escaped(section.heading), href=f"#{name}"))
        for section, name in zip(sections, names, strict=True)
    ]
    return element("nav", element("ul", *links), aria_label="Contents")


def _section(section: Section, name: str) -> str:
    """Returns one section."""
    parts = [element("h2", escaped(section.heading))]
    if section.text:
        parts.append(paragraphs(section.text))
    if section.facts:
        parts.append(_facts(section.facts, main=name == "results"))
    if section.notice:
        parts.append(element("aside", paragraphs(section.notice)))
    parts += [_figure(plot) for plot in section.plots]
    parts += [_table(table) for table in section.tables]
    if section.commands:
        parts.append(element("pre", *(element("code", escaped(line)) for line in section.commands)))
    return element("section", "\n".join(["", *parts, ""]), id=name)


def _facts(facts: Sequence[Fact], *, main: bool) -> str:
    """Returns facts as a table, a row each; the main ones have large values."""
    rows = [element("tr", element("th", escaped(fact.label), scope="row"), _value(fact)) for fact in facts]
    kind = "facts main" if main else "facts" if any(fact.note for fact in facts) else "facts plain"
    return element("table", element("tbody", *rows), class_=kind)


def _value(fact: Fact) -> str:
    """Returns the cell of a value: the note beside it, below it where the page is narrow."""
    note = element("span", escaped(fact.note), class_="note") if fact.note else ""
    return element("td", element("div", element("span", escaped(fact.value), class_="value"), " ", note))


def _figure(plot: Plot) -> str:
    """Returns an image with its caption."""
    caption = element("figcaption", escaped(plot.caption)) if plot.caption else ""
    return element("figure", image(plot.png, plot.alt), caption)


def _table(table: Table) -> str:
    """Returns a table; one that is too wide scrolls by itself, not the page."""
    caption = element("caption", escaped(table.caption)) if table.caption else ""
    head = element("tr", *(element("th", escaped(name), scope="col") for name in table.head))
    rows = [
        element(
            "tr",
            element("th", escaped(row[0]), scope="row"),
            *(element("td", escaped(cell)) for cell in row[1:]),
        )
        for row in table.rows
    ]
    inner = element("table", caption, element("thead", head), element("tbody", *rows), class_="grid")
    return element(
        "div", inner, class_="wide", tabindex="0", role="region", aria_label=table.caption or "Table"
    )
