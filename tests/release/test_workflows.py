"""The host's workflows and the hooks of a commit do what `.ci/run` and `make lint` do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml", reason="needs pip install 'alexnet-fast[dev]'")

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
HOOKS = ROOT / ".pre-commit-config.yaml"


def tool(name: str) -> str:
    """Returns the path of a program beside this Python."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}") or shutil.which(name)
    assert found is not None, f"{name} is missing: pip install 'alexnet-fast[dev]'"
    return found


def workflow(name: str) -> dict[str, Any]:
    """Parses a workflow; YAML 1.1 reads its key `on` as true."""
    parsed: dict[Any, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text())
    return {"on" if key is True else key: value for key, value in parsed.items()}


def commands(job: dict[str, Any]) -> list[str]:
    return [step["run"] for step in job["steps"] if "run" in step]


@pytest.mark.parametrize("schema", ["vendor.github-workflows", "custom.github-workflows-require-timeout"])
def test_workflows_fit_the_schema_of_the_host(schema: str) -> None:
    # A job that calls another workflow has no limit of its own.
    files = [file for file in WORKFLOWS if schema.startswith("vendor") or file.name == "ci.yml"]
    words = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *files]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_ci_runs_the_command_of_this_repository_on_every_python_that_is_supported() -> None:
    job = workflow("ci.yml")["jobs"]["check"]
    assert commands(job)[-1] == ".ci/run"
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
    supported = re.findall(r'Python :: (3\.\d+)"', (ROOT / "pyproject.toml").read_text())
    assert job["strategy"]["matrix"]["python"] == supported
    assert job["container"] == "python:${{ matrix.python }}-bookworm"


def test_a_release_is_checked_built_by_make_and_published_without_a_password() -> None:
    released = workflow("release.yml")
    jobs = released["jobs"]
    assert released["on"]["push"]["tags"] == ["v*"]
    assert jobs["check"]["uses"] == "./.github/workflows/ci.yml"
    assert "workflow_call" in workflow("ci.yml")["on"]
    assert (jobs["build"]["needs"], jobs["publish"]["needs"]) == ("check", "build")
    assert "make release" in commands(jobs["build"])
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert "secrets." not in (ROOT / ".github" / "workflows" / "release.yml").read_text()


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_foreign_actions_are_named_by_their_commit(file: Path) -> None:
    """A tag or a branch of theirs can become other code, that of a job that may publish too."""
    used = re.findall(r"uses: (?!\./)(.+)", file.read_text())
    assert used
    for action in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", action), action


def test_make_has_every_target_that_the_workflows_and_the_guide_name() -> None:
    files = [*WORKFLOWS, ROOT / "CONTRIBUTING.md", ROOT / ".pre-commit-config.yaml"]
    named = {name for file in files for name in re.findall(r"\bmake ([a-z][a-z-]+)", file.read_text())}
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"release", "install"} <= named
    assert named - targets == set()


def test_hooks_are_the_commands_of_make_lint() -> None:
    done = subprocess.run(
        [tool("pre-commit"), "validate-config", HOOKS], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    makefile = (ROOT / "Makefile").read_text()
    lint = makefile[makefile.index("\nlint:") :].partition("\n\n")[0]
    (local,) = yaml.safe_load(HOOKS.read_text())["repos"]
    hooks = {hook["id"]: hook["entry"] for hook in local["hooks"]}
    assert all(entry.startswith(".venv/bin/") for entry in hooks.values()), "the versions of constraints.txt"
    for name, same in {
        "ruff-format": "ruff format",
        "ruff-check": "ruff check",
        "mypy": "mypy -p alexnet_fast",
        "clang-format": "clang-format --style=file:serve/cpp/.clang-format",
    }.items():
        assert same in hooks.pop(name)
        assert same in lint
    assert hooks == {}


def test_the_hook_of_the_style_finds_a_file_that_is_not_formatted(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    shutil.copy(HOOKS, tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    (tmp_path / "ugly.py").write_text("x = {  'a':1 }\n", encoding="utf-8")
    subprocess.run(["git", "add", "ugly.py", HOOKS.name], cwd=tmp_path, check=True)
    words = [tool("pre-commit"), "run", "ruff-format", "--all-files"]
    environment = {**os.environ, "PRE_COMMIT_HOME": str(tmp_path / "home")}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "files were modified by this hook" in done.stdout
    assert (tmp_path / "ugly.py").read_text() == 'x = {"a": 1}\n'
