"""The fenced blocks of README.md and docs/*.md, and the commands in those of the shell."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

# A block that says nothing of its language holds commands.
SHELL = "sh"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Block:
    """One fenced block.

    Args:
        page: Path from the root of the repository.
        line: Line of its first fence.
        language: What stands behind the fence first.
        title: Name of the file that it shows, or "".
        code: Its lines.
    """

    page: str
    line: int
    language: str
    title: str
    code: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def page_blocks(page: Path) -> Iterator[Block]:
    """Yields the blocks of a page in order."""
    opened, info, lines = 0, "", list[str]()
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if not line.lstrip().startswith("```"):
            lines.append(line)
        elif opened:
            language, _, rest = info.partition(" ")
            title = re.fullmatch(r'title="(.+)"|', rest)
            assert title, f"{page.name}:{opened}: only a title may stand behind the language: {rest}"
            yield Block(
                page=str(page.relative_to(ROOT)),
                line=opened,
                language=language or SHELL,
                title=title[1] or "",
                code="\n".join(lines) + "\n",
            )
            opened = 0
        else:
            opened, info, lines = number, line.strip().removeprefix("```"), []
    assert not opened, f"{page.name}:{opened}: the block has no end"


def all_blocks(*languages: str) -> list[Block]:
    """Returns the blocks of some languages, or of all."""
    return [b for page in PAGES for b in page_blocks(page) if not languages or b.language in languages]


def prose(page: Path) -> str:
    """Returns a page without its blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def commands_of(block: Block) -> list[str]:
    """Returns the commands of a shell block, without comments; a script with a first line is one command."""
    if block.code.startswith("#!"):
        return [block.code]
    joined = re.sub(r"\\\n\s*", "", block.code)
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in joined.splitlines())
    return [line for line in lines if line]


def calls_of(text: str) -> list[list[str]]:
    """Returns the arguments of every `alexnet-fast` in a text, whoever starts it."""
    calls = []
    joined = re.sub(r"\\\n\s*", "", text)
    for match in re.finditer(r"(?:^|\s)(?:alexnet-fast|-m alexnet_fast)(?=\s)((?: +[^\n&;|]+)?)", joined):
        words = re.sub(r"\s#.*", "", match[1])
        calls.append(shlex.split(words))
    return calls


def write_titled(page: str, directory: Path) -> None:
    """Writes the files that a page shows, blocks with a title, into a folder."""
    for block in page_blocks(ROOT / page):
        if block.title:
            (directory / block.title).write_text(block.code, encoding="utf-8")
