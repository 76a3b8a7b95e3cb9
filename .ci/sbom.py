"""Writes the CycloneDX list of what alexnet-fast runs with, in the versions that are installed here.

    .venv/bin/python .ci/sbom.py SOURCE OUT.json

cyclonedx-py lists the whole environment. Kept is what the default install and the extras of `RUNTIME` bring,
with all that these need in turn: the tools of development are no part of the product.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# The extras that `make install` installs, less dev.
RUNTIME = ("rtx", "serve", "demo")


def environment(pyproject: Path) -> dict[str, Any]:
    """Lets cyclonedx-py list this Python's environment, with the project of `pyproject` as its root."""
    words = ["-m", "cyclonedx_py", "environment", "--pyproject", str(pyproject), "--output-reproducible"]
    words += ["--no-validate", "--output-format", "JSON", sys.executable]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"sbom: cyclonedx-py ended with exit code {done.returncode}: {done.stderr.strip()}")
    bom: dict[str, Any] = json.loads(done.stdout)
    return bom


def asked_for(pyproject: Path) -> list[Requirement]:
    """Returns what the default install and the extras of `RUNTIME` ask for."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    extras = [project["optional-dependencies"][extra] for extra in RUNTIME]
    return [Requirement(line) for line in itertools.chain(project["dependencies"], *extras)]


def applying(requirements: Iterable[Requirement], extras: Iterable[str]) -> list[Requirement]:
    """Returns those that hold on this machine with some extras of the package that has them."""
    return [
        one
        for one in requirements
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in ("", *extras))
    ]


def edges(roots: Iterable[Requirement]) -> dict[str, set[str]]:
    """Returns who needs whom, by normalised names, from the installed metadata; "" stands for the product.

    cyclonedx-py takes a package's optional requirements for needed wherever they happen to be installed,
    which would bring in the tools of development.
    """
    found: dict[str, set[str]] = {}
    waiting = [("", one) for one in applying(roots, ())]
    seen = set()
    while waiting:
        by, requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        found.setdefault(by, set()).add(name)
        if (key := (name, frozenset(requirement.extras))) not in seen:
            seen.add(key)
            lines = importlib.metadata.requires(name) or []
            waiting += [(name, one) for one in applying(map(Requirement, lines), requirement.extras)]
    return found


def keep_required(bom: dict[str, Any], needs: dict[str, set[str]]) -> None:
    """Drops what the product does not need.

    Args:
        bom: The whole environment; changed in place.
        needs: Who needs whom.
    """
    refs = {str(canonicalize_name(one["name"])): one["bom-ref"] for one in bom["components"]}
    refs[""] = bom["metadata"]["component"]["bom-ref"]
    kept = {""}.union(*needs.values())
    bom["components"] = [one for one in bom["components"] if canonicalize_name(one["name"]) in kept]
    bom["dependencies"] = [
        {"ref": refs[name], "dependsOn": sorted(refs[other] for other in needs.get(name, ()))}
        for name in sorted(kept)
    ]


def sbom_of(source: Path) -> str:
    """Returns the list as JSON.

    Args:
        source: Folder with pyproject.toml and the package.
    """
    pyproject = source / "pyproject.toml"
    bom = environment(pyproject)
    try:
        keep_required(bom, edges(asked_for(pyproject)))
    except importlib.metadata.PackageNotFoundError as error:
        sys.exit(f"sbom: {error.name} is not installed here; run make install")
    bom["metadata"]["component"]["version"] = version_of(source)
    text = json.dumps(bom, indent=2, sort_keys=True) + "\n"
    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if problem is not None:
        sys.exit(f"sbom: the list is not valid CycloneDX: {problem}")
    return text


def version_of(source: Path) -> str:
    """Reads the one place that says the version."""
    text = (source / "alexnet_fast" / "version.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    if found is None:
        sys.exit("sbom: alexnet_fast/version.py has no line __version__ = ...")
    return found[1]


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(sbom_of(Path(sys.argv[1])), encoding="utf-8")
