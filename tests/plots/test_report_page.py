"""The report page: one whole HTML file that runs nothing, fetches nothing and shows every string as text."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from alexnet_fast.errors import UserError
from alexnet_fast.plots.confusion import confusion
from alexnet_fast.plots.style import png_bytes
from alexnet_fast.report import (
    Fact,
    Plot,
    Report,
    Section,
    Table,
    class_results,
    class_table,
    render_report,
    write_report,
)

if TYPE_CHECKING:
    from pathlib import Path

MATRIX = np.array([[8, 2, 0], [3, 7, 0], [0, 0, 0]])
CLASSES = ("ant", "bee", "cow")
VOID = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """Reads a page: its elements, its text, and whether every element is closed where it should be."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(source)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return "\n".join(self.texts)


@pytest.fixture(scope="module")
def png() -> bytes:
    return png_bytes(confusion(MATRIX, CLASSES))


def report(png: bytes, name: str = "plain") -> Report:
    """Every part of a page, with one text everywhere."""
    fact = Fact(label=name, value=name, note=name)
    section = Section(
        heading=name,
        text=f"{name}\n\nanother paragraph",
        notice=name,
        facts=(fact, Fact(label="bare", value="1")),
        plots=(Plot(png=png, alt=f"alt {name}", caption=name),),
        tables=(Table(head=("class", name), rows=((name, name),), caption=name),),
        commands=(name, "make demo"),
    )
    return Report(
        title=f"title {name}",
        lead=name,
        results=(fact,),
        model=name,
        notice=name,
        sections=(section, section),
        export=Section(heading="Export", text=name),
        machine=(fact,),
        commands=(name,),
    )


class TestPage:
    def test_is_well_formed_and_says_what_it_is(self, png: bytes) -> None:
        source = render_report(report(png))
        page = Page(source)
        assert source.startswith("<!DOCTYPE html>")
        assert page.all("html") == [{"lang": "en"}]
        assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all("meta")
        assert {"charset": "utf-8"} in page.all("meta")
        assert len(page.all("h1")) == len(page.all("main")) == len(page.all("header")) == 1

    def test_holds_everything_in_the_order_of_reading(self, png: bytes) -> None:
        headings = re.findall("<h2>(.*?)</h2>", render_report(report(png, "words")))
        middle = ["words", "words", "Export"]
        assert headings == ["Results", "Model", *middle, "Hardware and versions", "How to repeat it"]

    def test_fetches_nothing_and_runs_nothing(self, png: bytes) -> None:
        source = render_report(report(png))
        page = Page(source)
        assert not re.search(r"https?:|//[a-z]|url\(|@import", re.sub(r"base64,[^\"]*", "", source))
        assert not page.all("script")
        assert not page.all("link")
        assert all(str(image["src"]).startswith("data:image/png;base64,") for image in page.all("img"))
        policies = [
            m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"
        ]
        assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]

    def test_every_image_is_inside_with_its_text_and_its_size(self, png: bytes) -> None:
        images = Page(render_report(report(png))).all("img")
        assert len(images) == 2
        for image in images:
            assert image["alt"] == "alt plain"
            assert base64.b64decode(str(image["src"]).split(",")[1]) == png
            assert 200 < int(str(image["width"])) <= 672, "as wide as the column at the most"

    def test_links_lead_to_sections_and_each_name_is_taken_once(self, png: bytes) -> None:
        page = Page(render_report(report(png)))
        ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
        assert len(ids) == len(set(ids))
        assert [link["href"] for link in page.all("a")] == [f"#{name}" for name in ids]

    def test_hostile_strings_are_shown_not_obeyed(self, png: bytes, hostile: tuple[str, ...]) -> None:
        plain = [tag for tag, _ in Page(render_report(report(png))).elements]
        for name in hostile[:-1]:
            page = Page(render_report(report(png, name)))
            assert [tag for tag, _ in page.elements] == plain, "no element more, none less"
            assert not any(key.startswith("on") for _, attributes in page.elements for key in attributes)
        assert "<script>alert(1)</script>" in Page(render_report(report(png, hostile[0]))).text

    def test_what_html_forbids_is_replaced_and_no_name_lost(self, png: bytes, tmp_path: Path) -> None:
        # A file name that is not UTF-8, as os.fsdecode gives it.
        write_report(tmp_path / "r.html", report(png, "caf\udce9 \x00\x1b[0m"))
        text = Page((tmp_path / "r.html").read_text(encoding="utf-8")).text
        assert "caf\\udce9 \ufffd\ufffd[0m" in text

    def test_is_the_same_page_every_time(self, png: bytes) -> None:
        assert render_report(report(png)) == render_report(report(png))

    def test_parts_that_are_empty_leave_no_trace(self) -> None:
        bare = Report(title="t", lead="l", results=(Fact(label="a", value="1"),), model="m")
        page = Page(render_report(bare))
        assert not page.all("img")
        assert not page.all("pre")
        assert "Hardware" not in page.text
        assert [link["href"] for link in page.all("a")] == ["#results", "#model"]

    def test_a_folder_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        bare = Report(title="t", lead="l", results=(), model="m")
        with pytest.raises(UserError, match=r"cannot write .*nowhere"):
            write_report(tmp_path / "nowhere" / "report.html", bare)


class TestContent:
    def test_an_image_needs_words(self, png: bytes) -> None:
        with pytest.raises(ValueError, match="alternative text"):
            Plot(png=png, alt=" ")

    def test_an_image_must_be_png(self) -> None:
        broken = Section(heading="h", plots=(Plot(png=b"GIF89a", alt="a"),))
        with pytest.raises(ValueError, match="not a PNG"):
            render_report(Report(title="t", lead="l", results=(), model="m", sections=(broken,)))

    def test_rows_are_as_long_as_the_head(self) -> None:
        with pytest.raises(ValueError, match="every row needs 2 cells"):
            Table(head=("a", "b"), rows=(("1", "2"), ("1",)))


class TestClasses:
    def test_recall_and_precision_come_from_rows_and_columns(self) -> None:
        ant, bee, _ = class_results(MATRIX, CLASSES)
        assert (ant.images, ant.right, ant.predicted) == (10, 8, 11)
        assert ant.recall == pytest.approx(0.8)
        assert ant.precision == pytest.approx(8 / 11)
        assert bee.recall == pytest.approx(0.7)

    def test_a_class_without_images_has_neither(self) -> None:
        cow = class_results(MATRIX, CLASSES)[2]
        assert cow.recall is None
        assert cow.precision is None
        assert class_table([cow]).rows == (("cow", "0", "0", "-", "-"),)

    def test_few_classes_keep_their_order(self) -> None:
        assert [row[0] for row in class_table(class_results(MATRIX, CLASSES)).rows] == list(CLASSES)

    def test_of_many_classes_the_worst_are_listed(self) -> None:
        matrix: Any = np.diag(np.arange(1, 101))
        matrix[7, 8] = 100
        table = class_table(class_results(matrix, [f"c{i}" for i in range(100)]), most=10)
        assert table.caption == "The 10 classes of lowest recall, of 100"
        assert table.rows[0][0] == "c7"
        assert len(table.rows) == 10

    def test_names_must_fit(self) -> None:
        with pytest.raises(UserError, match="3x3 for 2 class names"):
            class_results(MATRIX, ("a", "b"))
