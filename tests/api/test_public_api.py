"""The public interface changes only together with its list and with CHANGELOG.md.

The rule needs no history of git: two lists are in the repository, the interface now and that of the last
release, and the changelog's section for what is not released must say their difference, no more and no less.
"""

from __future__ import annotations

import click
import public_api
import pytest
from public_api import last_release, read_list, unsaid, untrue

BEFORE = ["alexnet_fast.old() -> None", "alexnet_fast.kept(x: int) -> None"]
NOW = ["alexnet_fast.kept(x: int, y: int = 0) -> None"]
SAYS_IT = """# Changelog

## Unreleased

### API

- removed `alexnet_fast.old() -> None`
- removed `alexnet_fast.kept(x: int) -> None`
- added `alexnet_fast.kept(x: int, y: int = 0) -> None`

### Fixed

- Something.

## 0.1.0

### API

- added `alexnet_fast.older() -> None`
"""


def test_the_list_is_what_the_code_offers() -> None:
    assert read_list(public_api.LISTED) == public_api.listed_api(), "run `make api`"


def test_the_changelog_says_what_changed_since_the_last_release() -> None:
    changelog = public_api.CHANGELOG.read_text(encoding="utf-8")
    released, now = read_list(public_api.RELEASED), read_list(public_api.LISTED)
    assert unsaid(released, now, changelog) == [], "CHANGELOG.md, Unreleased, ### API; `make api` prints it"
    assert untrue(released, now, changelog) == []


def test_the_released_list_is_of_the_last_release_that_the_changelog_has() -> None:
    changelog = public_api.CHANGELOG.read_text(encoding="utf-8")
    assert public_api.released_version() == last_release(changelog), "a release runs `make api-released`"


def test_a_listed_change_passes() -> None:
    assert unsaid(BEFORE, NOW, SAYS_IT) == []
    assert untrue(BEFORE, NOW, SAYS_IT) == []
    assert last_release(SAYS_IT) == "0.1.0"


@pytest.mark.parametrize(
    "line", [line for line in SAYS_IT.splitlines() if "removed" in line or "y: int" in line]
)
def test_an_unlisted_change_is_named(line: str) -> None:
    assert unsaid(BEFORE, NOW, SAYS_IT.replace(line, "")) == [line]


def test_lines_of_an_older_release_do_not_count() -> None:
    moved = SAYS_IT.replace("## Unreleased", "## Unreleased\n\n## 0.2.0")
    assert len(unsaid(BEFORE, NOW, moved)) == 3
    assert last_release(moved) == "0.2.0"


def test_an_outdated_line_is_named() -> None:
    said = SAYS_IT.partition("## 0.1.0")[0].splitlines()
    assert untrue(BEFORE, BEFORE, SAYS_IT) == [line for line in said if line.startswith("- ") and "`" in line]


def test_added_options_changed_types_and_removed_methods_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    before = public_api.listed_api()
    import alexnet_fast

    scan = public_api.commands.get_command(click.Context(public_api.commands), "scan")
    monkeypatch.setattr(scan, "params", [*scan.params, click.Option(["--twice"], type=int)])
    monkeypatch.delattr(alexnet_fast.Predictor, "probabilities")
    monkeypatch.setitem(alexnet_fast.create_model.__annotations__, "num_classes", "float")
    now = public_api.listed_api()
    assert [line for line in now if line not in before and "create_model" not in line] == [
        "alexnet-fast scan --twice INTEGER"
    ]
    gone = [line.partition("(")[0] for line in before if line not in now]
    assert gone == [
        "alexnet_fast.Predictor.probabilities",
        "alexnet_fast.create_model",
        "alexnet_fast.models.create_model",
    ]
