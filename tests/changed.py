"""Prints the test files that a change can touch: python tests/changed.py [COMMIT], by default HEAD.

A test file can be touched by what it imports, and by what that imports in turn, wherever in a file the import
stands; by scripts and modules that it names; and, where it runs commands, by those whose name it has. What is
not Python touches the folders of `READ_BY`; anything else all tests.
"""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Top-level directories that pyproject.toml puts into the package.
MAPPED = ("export", "pipelines", "serve")
# Helpers that run the command line in a process of its own.
RUN_COMMANDS = {"warm_commands", "running_server"}
COMMAND_LINE = "alexnet_fast.cli.main"
# The longest fitting prefix counts.
READ_BY = {
    "docs/": ("docs", "architecture"),
    "README.md": ("docs",),
    "CHANGELOG.md": ("docs", "api"),
    "CONTRIBUTING.md": ("docs", "release"),
    "SECURITY.md": ("docs",),
    "mkdocs.yml": ("docs",),
    ".github/": ("release",),
    "serve/cpp/": ("cpp",),
    "serve/deploy/": ("deploy",),
    "serve/page.html": ("serve",),
    "alexnet_fast/recipes/": ("cli", "training", "demo", "docs", "models"),
    "benchmarks/baselines/": ("bench", "benchmarks", "docs"),
    "tests/api/": ("api",),
    "tests/cpp/": ("cpp",),
}


def module_of(path: Path) -> str:
    """Returns the name that a file, relative to the repository, is imported by."""
    parts = list(path.with_suffix("").parts)
    if parts[0] == "tests":
        return parts[-1]
    if parts[0] in MAPPED:
        parts.insert(0, "alexnet_fast")
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def modules() -> dict[str, Path]:
    """Returns the files of the product and of the tests' helpers, by module."""
    top = ("alexnet_fast", "benchmarks", *MAPPED, "tests")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *(f"{name}/*.py" for name in top)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    return {module_of(Path(name)): Path(name) for name in listed if (ROOT / name).is_file()}


@functools.cache
def tree(path: Path) -> ast.Module:
    """Returns a file's syntax."""
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


@functools.cache
def direct(path: Path) -> frozenset[Path]:
    """Returns the files that a file imports."""
    found = set()
    for name in names_in(path):
        package, _, last = name.rpartition(".")
        known = name if name in modules() else offered(package).get(last, package)
        if known in modules():
            found.add(modules()[known])
    # What a package offers is looked at name by name, above.
    return frozenset(found - {path}) if path.name != "__init__.py" else frozenset()


@functools.cache
def offered(package: str) -> dict[str, str]:
    """Returns where a package has its names from."""
    path = modules().get(package)
    if path is None or path.name != "__init__.py":
        return {}
    nodes = ast.walk(tree(path))
    imports = (node for node in nodes if isinstance(node, ast.ImportFrom) and node.module)
    return {alias.name: f"{node.module}" for node in imports for alias in node.names}


def names_in(path: Path) -> Iterator[str]:
    """Yields the modules, or names in modules, that a file imports or names."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and is_test(path):
            yield from named_in(node.value)


def is_test(path: Path) -> bool:
    """Tells whether a file stands in a folder of tests; what stands above them is for all."""
    return path.parts[0] == "tests" and len(path.parts) > 2


def named_in(text: str) -> Iterator[str]:
    """Yields what a text of a test names: a program, a script of the tests, or modules."""
    if text in ("alexnet_fast", "alexnet-fast"):
        yield COMMAND_LINE
    elif found := re.fullmatch(r"(\w+)(\.py|:\w+)", text):
        yield found[1]
    else:
        yield from re.findall(r"\b(?:alexnet_fast|benchmarks)(?:\.\w+)+", text)


def commands_in(path: Path) -> Iterator[Path]:
    """Yields the modules of the commands that a test runs: they are imported once their names are given."""
    runs = {module_of(file) for file in direct(path)}
    if runs & RUN_COMMANDS or any(name.startswith("alexnet_fast.cli") for name in runs):
        yield modules()[COMMAND_LINE]
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                names = (f"alexnet_fast.cli.commands.{word}" for word in node.value.split())
                yield from (modules()[name] for name in names if name in modules())


@functools.cache
def needed_by(path: Path) -> frozenset[Path]:
    """Returns all files that a test file can be touched by."""
    directories = [parent for parent in path.parents if parent.parts]
    own = [
        path,
        *(
            directory / "conftest.py"
            for directory in directories
            if (ROOT / directory / "conftest.py").exists()
        ),
    ]
    found, new = set(own), [*own, *(file for test in own if is_test(test) for file in commands_in(test))]
    while new:
        file = new.pop()
        found.add(file)
        new += [one for one in direct(file) if one not in found]
    # A package is imported before what is in it; what it offers lazily is not.
    packages = {parent / "__init__.py" for file in found for parent in file.parents}
    return frozenset(found | packages)


def test_files() -> list[Path]:
    """Returns all test files."""
    return sorted(path for path in modules().values() if path.name.startswith("test_"))


def touched(changed: Iterable[str]) -> list[Path]:
    """Returns the test files that a change of these files can touch."""
    python, directories = set(), set()
    for name in changed:
        fitting = [prefix for prefix in READ_BY if name.startswith(prefix)]
        if fitting:
            directories |= set(READ_BY[max(fitting, key=len)])
        elif not any(Path(name) in needed_by(test) for test in test_files()):
            return test_files()
        python.add(Path(name))
    return [path for path in test_files() if path.parts[1] in directories or needed_by(path) & python]


def changed_since(commit: str) -> list[str]:
    """Returns the files that differ from a commit, and those that git does not know yet."""
    commands = (["diff", "--name-only", commit], ["ls-files", "--others", "--exclude-standard"])
    found = [
        subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout
        for words in commands
    ]
    return "".join(found).splitlines()


if __name__ == "__main__":
    since = sys.argv[1] if sys.argv[1:] else "HEAD"
    print("\n".join(str(path) for path in touched(changed_since(since))))
