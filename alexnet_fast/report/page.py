"""The report page: renders `report.html.j2`."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from pathlib import Path

import jinja2
from PIL import Image

from alexnet_fast.report.content import Report, Section
from alexnet_fast.utils.atomic import write_atomically
from alexnet_fast.version import __version__

# HTML forbids control characters except tab and line ends, and two non-characters.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff]")
# CSS pixels per inch: https://www.w3.org/TR/css-values-3/#absolute-lengths
_CSS_DPI = 96.0


def write_report(path: Path, report: Report) -> None:
    """Writes the page atomically.

    Args:
        path: The HTML file.
        report: The content of the page.

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
    ids = _ids([section.heading for section in sections])
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("alexnet_fast.report", "."),
        autoescape=True,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"paragraphs": _paragraphs, "base64": _base64, "css_size": _css_size}
    template = environment.get_template("report.html.j2")
    return template.render(report=report, sections=list(zip(ids, sections, strict=True)), version=__version__)


def _sections(report: Report) -> list[Section]:
    """Returns the parts of the report as sections, in order; missing parts are left out."""
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


def _ids(headings: Sequence[str]) -> list[str]:
    """Returns a unique id of letters, digits and hyphens for each heading."""
    ids: list[str] = []
    for heading in headings:
        name = re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-") or "section"
        while name in ids:
            name += "-again"
        ids.append(name)
    return ids


def _printable(value: object) -> object:
    """Returns a value without the characters that HTML forbids; bytes that are not UTF-8 become escapes."""
    # A subclass, jinja2's Markup, is escaped already.
    if type(value) is not str:
        return value
    text = value.encode("utf-8", "backslashreplace").decode("utf-8")
    return _FORBIDDEN.sub("\ufffd", text)


def _paragraphs(text: str) -> list[str]:
    """Splits a text at its blank lines."""
    return [" ".join(part.split()) for part in re.split(r"\n\s*\n", text.strip()) if part]


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _css_size(png: bytes) -> tuple[int, int]:
    """Returns width and height in CSS pixels, by the resolution that the file states.

    Raises:
        ValueError: The image is not PNG.
    """
    try:
        with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
            (width, height), (dpi, _) = image.size, image.info.get("dpi", (_CSS_DPI, _CSS_DPI))
    except OSError as error:
        raise ValueError("the image is not a PNG file") from error
    scale = _CSS_DPI / dpi if dpi else 1.0
    return round(width * scale), round(height * scale)
