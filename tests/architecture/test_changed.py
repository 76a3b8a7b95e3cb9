"""`make test-changed` runs what a change can touch, and all where it can't tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from changed import ROOT, test_files, touched


def directories(*names: str) -> set[str]:
    return {path.parts[1] for path in touched(names)}


@pytest.mark.parametrize(
    ("name", "yes", "no"),
    [
        ("pipelines/spec.py", {"pipelines", "training", "serve", "export", "prepare"}, {"models"}),
        ("export/config.py", {"export", "cli"}, {"data", "scan", "download"}),
        ("alexnet_fast/demo/report.py", {"demo"}, {"data", "export", "serve", "training"}),
        ("alexnet_fast/cli/commands/scan.py", {"scan", "cli"}, {"export", "serve"}),
        ("docs/data.md", {"docs"}, {"data", "cli"}),
        ("serve/cpp/src/engine.cpp", {"cpp"}, {"serve"}),
        ("tests/training/small_net.py", {"training"}, {"cli"}),
        ("tests/pipelines/test_crops.py", {"pipelines"}, {"training"}),
    ],
)
def test_what_imports_a_file_is_touched_by_it(name: str, yes: set[str], no: set[str]) -> None:
    assert (ROOT / name).exists(), name
    found = directories(name)
    assert yes <= found
    assert not no & found


def test_what_has_gone_touches_what_named_it() -> None:
    assert touched(["tests/gone.py"]) == test_files(), "nobody can tell any more who imported it"


@pytest.mark.parametrize("name", ["Makefile", "pyproject.toml", "tests/conftest.py", "something.new"])
def test_what_is_for_all_touches_all(name: str) -> None:
    assert touched([name]) == test_files()


def test_no_file_of_the_product_is_without_a_test() -> None:
    every = (
        path
        for top in ("alexnet_fast", "export", "pipelines", "serve")
        for path in Path(ROOT, top).rglob("*.py")
    )
    for path in every:
        if ".venv" not in path.parts:
            assert touched([str(path.relative_to(ROOT))])
