"""The site builds without a warning, its links lead somewhere, and nothing in it comes from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import click
import pytest
from doc_blocks import PAGES, ROOT

import alexnet_fast
from alexnet_fast import pipelines
from alexnet_fast.cli.main import commands

# Attributes that make a browser fetch something.
FETCHED = {("img", "src"), ("link", "href"), ("script", "src"), ("iframe", "src"), ("source", "src")}


class Page(HTMLParser):
    """Links, identifiers and resources of a page, and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.identifiers: set[str] = set()
        self.words: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value is None:
                continue
            if name == "id":
                self.identifiers.add(value)
            if (tag, name) in FETCHED:
                self.fetched.append(value)
            elif (tag, name) == ("a", "href"):
                self.links.append(value)

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        """What a reader sees."""
        return "".join(self.words)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Page]:
    """The built pages by their file."""
    directory = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(directory)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return {path: Page(path) for path in directory.rglob("*.html")}


def test_every_page_is_in_it(site: dict[Path, Page]) -> None:
    built = {path.stem for path in site}
    assert {page.stem for page in PAGES} - {"README"} <= built


def test_every_link_leads_to_a_place(site: dict[Path, Page]) -> None:
    """Anchors too: those of the references are made while the site is built."""
    lost, seen = [], 0
    for path, page in site.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or path.name == "404.html":
                continue
            seen += 1
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            found = target.is_file() and (not parts.fragment or target not in site or (
                unquote(parts.fragment) in site[target].identifiers
            ))  # fmt: skip
            lost += [] if found else [f"{path.name}: {link}"]
    assert seen > 500
    assert lost == []


def test_nothing_is_fetched_from_elsewhere(site: dict[Path, Page]) -> None:
    fetched = [(path.name, one) for path, page in site.items() for one in page.fetched]
    assert len(fetched) > 50
    assert [(name, one) for name, one in fetched if urlsplit(one).netloc] == []
    style = "".join(file.read_text(encoding="utf-8") for file in next(iter(site)).parent.rglob("*.css"))
    assert re.findall(r"(?:@import|url\()\s*[\"']?https?:", style) == []


def test_every_command_and_every_option_is_in_the_reference(site: dict[Path, Page]) -> None:
    text = page_named(site, "command-line").text
    seen = 0
    for path, command in every_command(commands, click.Context(commands, info_name="alexnet-fast")):
        assert f"{path} " in text
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                seen += 1
                assert all(name in text for name in (*parameter.opts, *parameter.secondary_opts)), path
    assert seen > 150


def every_command(group: click.Group, context: click.Context) -> list[tuple[str, click.Command]]:
    """Returns the commands below a group, with their paths."""
    found = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        below = click.Context(command, info_name=name, parent=context)
        found.append((below.command_path, command))
        if isinstance(command, click.Group):
            found += every_command(command, below)
    return found


def test_every_public_name_is_in_the_reference(site: dict[Path, Page]) -> None:
    identifiers = page_named(site, "api").identifiers
    names = [f"alexnet_fast.{name}" for name in alexnet_fast.__all__ if name != "__version__"]
    names += [f"alexnet_fast.pipelines.{name}" for name in pipelines.__all__]
    assert [name for name in names if name not in identifiers] == []


def page_named(site: dict[Path, Page], stem: str) -> Page:
    """Returns a page by its name."""
    (found,) = (page for path, page in site.items() if path.stem == stem)
    return found


def test_every_link_of_the_readme_leads_to_a_file() -> None:
    """On the code host: the site does not hold it."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) > 10
    for link in links:
        parts = urlsplit(link)
        if not parts.scheme:
            assert (ROOT / parts.path).exists(), link
            assert not parts.fragment or parts.fragment in anchors(ROOT / parts.path), link


def anchors(page: Path) -> set[str]:
    """Returns the anchors that code hosts make of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
