"""Who may import whom: the rule of docs/architecture.md, read off every import of the package."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import alexnet_fast

ROOT = Path(alexnet_fast.__file__).parent

# From below to above: each may import what stands in a row before its own, or beside it in the same row.
LAYERS = (
    {
        "wording",
        "errors",
        "files",
        "cache_folder",
        "near_match",
        "toml_file",
        "fitted_bar",
        "progress_bar",
        "ranges",
        "memory",
        "feature_names",
        "interrupts",
        "streams",
        "special_files",
    },
    {"pipelines", "models", "data", "device", "vector_file", "weights", "fetching"},
    {"serve", "export", "training", "embeddings", "scanning", "preparing", "report"},
    {"recipe", "doctor", "images", "classifier", "evaluation", "prediction", "mistakes"},
    {"feature_files", "fit_history", "notebook", "keras_like", "bench", "demo"},
    {"cli"},
    {"__main__"},
)
# What the layers do not say. Rows: a part, and all that it may import of the package.
ALONE = {
    "wording": set(),
    "errors": {"wording"},
    "models": {"errors", "near_match", "memory"},
    "weights": {"errors", "models", "special_files"},
    "data": {"errors", "files", "cache_folder", "special_files"},
    "pipelines": {
        "errors",
        "data",
        "device",
        "near_match",
        "ranges",
        "memory",
        "interrupts",
        "special_files",
    },
    "serve": {"errors", "files", "pipelines", "export", "ranges", "special_files", "streams"},
    "report": {"errors", "files"},
}


def parts() -> dict[str, list[Path]]:
    """Returns the files of each folder and module of the package, by name."""
    found = {}
    for entry in sorted(ROOT.iterdir()):
        files = sorted(entry.rglob("*.py")) if entry.is_dir() else [entry]
        files = [file for file in files if file.suffix == ".py" and "baselines" not in file.parts]
        if files and entry.name != "__init__.py":
            found[entry.stem] = files
    return found


def imported_by(file: Path) -> Iterator[str]:
    """Yields the parts of the package that a file imports, wherever in it; types count too."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module == "alexnet_fast":
            names = [f"alexnet_fast.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            names = [node.module or ""]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            package, *rest = name.split(".")
            if package == "alexnet_fast" and rest and rest[0] != "__version__":
                yield rest[0]


IMPORTS = {
    part: {name for file in files for name in imported_by(file)} - {part} for part, files in parts().items()
}
HEIGHTS = {part: height for height, layer in enumerate(LAYERS) for part in layer}


def test_every_part_of_the_package_has_its_layer() -> None:
    assert set(IMPORTS) == set(HEIGHTS)


@pytest.mark.parametrize("part", sorted(IMPORTS))
def test_nothing_imports_what_stands_above_it(part: str) -> None:
    above = {name for name in IMPORTS[part] if HEIGHTS[name] > HEIGHTS[part]}
    assert above == set()


@pytest.mark.parametrize("part", sorted(ALONE))
def test_some_import_little(part: str) -> None:
    assert IMPORTS[part] <= ALONE[part]


def test_nobody_but_the_program_imports_the_command_line() -> None:
    assert {part for part, names in IMPORTS.items() if "cli" in names} == {"__main__"}
