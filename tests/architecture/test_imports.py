"""Which package may import which: the rules of docs/architecture.md, checked on every import."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

import alexnet_fast

ROOT = Path(alexnet_fast.__file__).parent
PRODUCT = "alexnet_fast"
# From bottom to top. A package imports only from rows before its own, or from its own row.
LAYERS = (
    {"version", "wording", "errors", "utils"},
    {"data", "models"},
    {"pipelines", "weights"},
    {"runtime"},
    {"download", "export", "prepare", "scan", "serve", "training"},
    {"bench", "doctor", "inference", "plots", "recipes", "report"},
    {"demo", "estimator"},
    {"cli"},
    {"__main__"},
)
# Stricter than the layers: all that these import of the product.
ONLY = {
    "wording": set(),
    "errors": {"wording"},
    "utils": {"errors"},
    "models": {"errors", "utils"},
    "weights": {"errors", "models", "utils"},
    "data": {"errors", "utils"},
    "pipelines": {"data", "errors", "utils", "version"},
    "runtime": {"errors", "pipelines", "utils", "version"},
    "export": {"errors", "models", "pipelines", "runtime", "utils", "version"},
    "serve": {"errors", "pipelines", "runtime", "utils", "version"},
    "report": {"errors", "utils", "version"},
}


@functools.cache
def modules() -> dict[str, Path]:
    """Returns every module of the product by its dotted name; the mapped top-level directories are links."""
    found = {}
    # `rglob` does not follow links to directories.
    for top in [ROOT, *(entry for entry in ROOT.iterdir() if entry.is_symlink())]:
        for file in sorted(top.rglob("*.py")):
            parts = (PRODUCT, *file.relative_to(ROOT).with_suffix("").parts)
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imports_of(file: Path) -> Iterator[str]:
    """Yields the names of what a file imports, also within functions and for types alone."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in modules() else str(node.module)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@functools.cache
def graph() -> dict[str, frozenset[str]]:
    """Returns which modules of the product each one imports."""
    return {
        name: frozenset(other for other in imports_of(file) if other in modules() and other != name)
        for name, file in modules().items()
    }


def top(module: str) -> str:
    """Returns the package or module at the product's top that a module belongs to."""
    return module.split(".")[1] if "." in module else "__init__"


def package(module: str) -> str:
    """Returns the package that a module stands in."""
    return module if modules()[module].name == "__init__.py" else module.rpartition(".")[0]


def within(inner: str, outer: str) -> bool:
    """Tells whether a module stands in the package of another, or in a sub-package of it."""
    return f"{package(inner)}.".startswith(f"{package(outer)}.")


def circles(edges: dict[str, frozenset[str]]) -> list[list[str]]:
    """Returns each shortest circle of imports, once."""
    found = set()
    for start in edges:
        before = {start: ""}
        todo = [start]
        for module in todo:
            for other in sorted(edges[module]):
                if other == start:
                    circle = [module]
                    while before[circle[-1]]:
                        circle.append(before[circle[-1]])
                    found.add(frozenset(circle))
                elif other not in before:
                    before[other] = module
                    todo.append(other)
    return sorted(sorted(circle) for circle in found)


IMPORTED = {
    part: {top(other) for name in modules() if top(name) == part for other in graph()[name]}
    - {part, "__init__"}
    for part in sorted({top(name) for name in modules()} - {"__init__"})
}
HEIGHTS = {part: height for height, layer in enumerate(LAYERS) for part in layer}


def test_the_mapped_directories_are_read_too() -> None:
    assert {"export", "pipelines", "serve"} <= set(IMPORTED)
    assert f"{PRODUCT}.serve.http.app" in modules()


def test_every_package_has_a_layer() -> None:
    assert set(IMPORTED) == set(HEIGHTS)


@pytest.mark.parametrize("part", sorted(IMPORTED))
def test_a_package_imports_nothing_from_the_layers_above_it(part: str) -> None:
    assert {name for name in IMPORTED[part] if HEIGHTS[name] > HEIGHTS[part]} == set()


@pytest.mark.parametrize("part", sorted(ONLY))
def test_the_strict_packages_import_only_what_is_listed(part: str) -> None:
    assert IMPORTED[part] <= ONLY[part]


def test_no_files_import_each_other_in_a_circle() -> None:
    assert circles(graph()) == []


def test_a_circle_is_found_and_named() -> None:
    edges = {"a": frozenset({"b"}), "b": frozenset({"c"}), "c": frozenset({"b"}), "d": frozenset({"a"})}
    assert circles(edges) == [["b", "c"]]


def test_no_two_packages_import_each_other() -> None:
    """A package and its own sub-packages count as one, as do the modules at the product's top."""
    pairs = {
        (package(name), package(other))
        for name, others in graph().items()
        for other in others
        if not within(name, other) and not within(other, name)
    }
    assert sorted((a, b) for a, b in pairs if a < b and (b, a) in pairs) == []


def test_the_product_imports_nothing_from_the_benchmarks() -> None:
    assert {
        name
        for name, file in modules().items()
        if any(i.split(".")[0] == "benchmarks" for i in imports_of(file))
    } == set()


def test_only_the_program_imports_the_command_line() -> None:
    assert {part for part, names in IMPORTED.items() if "cli" in names} == {"__main__"}
