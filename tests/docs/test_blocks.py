"""Every block of the documentation is whole: commands and options exist, Python compiles, data parse.

test_blocks_run.py runs them.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner
from command_parsing import parse
from doc_blocks import PAGES, ROOT, SHELL, Block, all_blocks, calls_of, commands_of, prose, write_titled
from doc_exceptions import UNRUN
from other_projects import is_of_others

LANGUAGES = {SHELL, "python", "toml", "yaml", "json", "cpp", "cmake", "text"}


def named(blocks: list[Block]) -> object:
    """Parametrizes a test with blocks."""
    return pytest.mark.parametrize("block", blocks, ids=str)


def test_the_pages_have_blocks() -> None:
    assert len(all_blocks(SHELL)) > 30
    assert len(all_blocks("python")) > 10


def test_every_block_has_a_language_that_is_tested_here() -> None:
    assert [f"{b} {b.language}" for b in all_blocks() if b.language not in LANGUAGES] == []


def test_no_block_is_made_by_indenting() -> None:
    """Indented code would be neither parsed nor run."""
    after_text = re.compile(r"^(?![-*\d]|\s).*\n\n( {4}\S.*)$", re.MULTILINE)
    assert [(page.name, match) for page in PAGES for match in after_text.findall(prose(page))] == []


def test_a_block_of_text_holds_no_command() -> None:
    starts = re.compile(r"^\s*(alexnet-fast|python|pip|make|curl|torchrun|cmake|import|from) ", re.MULTILINE)
    assert [str(block) for block in all_blocks("text") if starts.search(block.code)] == []


@named([block for block in all_blocks() if block.title])
def test_a_file_that_is_shown_is_used_by_a_command(block: Block) -> None:
    """It is written before the page runs, not run itself."""
    name = block.title.removesuffix(".py")
    commands = [each.code for each in all_blocks(SHELL) if each.page == block.page]
    assert any(name in code for code in commands)


def test_every_exception_exists() -> None:
    pieces = [(b.page, command) for b in all_blocks(SHELL) for command in commands_of(b)]
    pieces += [(b.page, b.code) for b in all_blocks("python")]
    gone = [entry for entry in UNRUN if not any(entry.fits(*piece) for piece in pieces)]
    assert gone == [], "no such command or block any more: take it off the list"


@named(all_blocks(SHELL))
def test_bash_can_read_it(block: Block) -> None:
    done = subprocess.run(["bash", "-n"], input=block.code, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def problem_of(arguments: list[str]) -> str | None:
    """Returns what click says against a command, None where it takes it."""
    try:
        parse(arguments)
    except click.UsageError as error:
        return error.format_message()
    return None


@named([block for block in all_blocks(SHELL, "yaml") if calls_of(block.code)])
def test_every_command_and_option_in_it_exists(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_titled(block.page, tmp_path)
    monkeypatch.chdir(tmp_path)
    for arguments in calls_of(block.code):
        assert problem_of(arguments) is None, arguments


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("trane images", "No such command 'trane'"),
        ("train images --epoch 3", "No such option"),
        ("train images --epochs three", "at least 1 and at most 1,000,000, not 'three'"),
        ("train images more", "Got unexpected extra argument"),
        ("predict runs/first", "Missing argument"),
        ("export runs/first --precision fp17", "'fp17' is not one of"),
        ("show", "a command is missing"),
    ],
)
def test_a_wrong_command_would_be_found(line: str, complaint: str) -> None:
    assert complaint in str(problem_of(line.split()))


@named([block for block in all_blocks(SHELL) if "make " in block.code or "python " in block.code])
def test_make_targets_and_modules_in_it_exist(block: Block) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for command in commands_of(block):
        words = command.split()
        if words[0] == "make":
            assert {word for word in words[1:] if "=" not in word} <= targets, command
        elif words[0] == "python" and words[1] == "-m":
            assert importlib.util.find_spec(words[2]), command
        elif words[0] == "python":
            assert (ROOT / words[1]).is_file(), command


@named(all_blocks("python"))
def test_python_compiles_and_its_imports_resolve(block: Block) -> None:
    tree = ast.parse(block.code, str(block))
    if is_of_others(block):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                importlib.import_module(name.name)
        elif isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module or "")
            for name in node.names:
                assert hasattr(module, name.name), f"{node.module} has no {name.name}"


@named(all_blocks("toml"))
def test_toml_parses_and_holds_options_of_train(block: Block, tmp_path: Path) -> None:
    """By the command's own reader: the folder that it goes on to is not there."""
    from alexnet_fast.cli.commands.train import train

    (tmp_path / "options.toml").write_text(block.code, encoding="utf-8")
    for option in ("--config", "--augmentation"):
        done = CliRunner().invoke(train, [str(tmp_path / "none"), option, str(tmp_path / "options.toml")])
        if "is not an augmentation option" not in done.output:
            assert "no such folder" in done.output, done.output
            break
    else:
        pytest.fail(done.output)


@named(all_blocks("yaml"))
def test_yaml_is_what_kubernetes_takes(block: Block) -> None:
    import kubernetes_validate

    for document in yaml.safe_load_all(block.code):
        kubernetes_validate.validate(document, "1.31", strict=True)


@named(all_blocks("json") or [Block(page="none", line=0, language="json", title="", code="{}")])
def test_json_parses(block: Block) -> None:
    json.loads(block.code)


@named(all_blocks("cpp"))
@pytest.mark.skipif(shutil.which("c++") is None, reason="c++ is not installed")
def test_cpp_compiles(block: Block) -> None:
    words = ["c++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-x", "c++", "-"]
    include = f"-I{ROOT / 'serve/cpp/include'}"
    done = subprocess.run([*words, include], input=block.code, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


@named(all_blocks("cmake"))
def test_cmake_is_that_of_the_example_which_is_built(block: Block) -> None:
    built = (ROOT / "serve/cpp/example/CMakeLists.txt").read_text(encoding="utf-8")
    for line in block.code.splitlines():
        assert line.replace("yours", "example") in built
