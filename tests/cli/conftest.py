"""The command as a user runs it, and one small trained run."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from warm_commands import run_command

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def alexnet_fast() -> Run:
    """Runs the command line."""
    return run_command


@pytest.fixture(scope="session")
def json_of() -> Callable[..., dict[str, Any]]:
    """Runs a command with `--json` and returns the object on the only line of stdout."""

    def run(*arguments: object, code: int = 0) -> dict[str, Any]:
        done = run_command(*arguments, "--json")
        assert done.returncode == code, done.stderr
        assert len(done.stdout.splitlines()) == 1, done.stdout
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    return run


@pytest.fixture
def refusal(capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command in this process that must end as bad usage; returns what it said."""

    def run(*arguments: object) -> str:
        from alexnet_fast.cli.main import commands

        with pytest.raises(SystemExit) as ended:
            commands.main([str(argument) for argument in arguments])
        said = capfd.readouterr().err
        assert ended.value.code == 2, said
        assert "Traceback" not in said
        return said

    return run


@pytest.fixture(scope="session")
def trained_run(two_classes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs of a net that takes 56 of 64 pixels."""
    run = tmp_path_factory.mktemp("runs") / "small"
    options = ("--model", "convnet-64", "--resize", 64, "--crop", 56, "--epochs", 2, "--batch-size", 16)
    done = run_command("train", two_classes, "--dali", "--run", run, "--lr", 0.001, *options, "--json")
    assert done.returncode == 0, done.stderr
    (run.parent / "train.json").write_text(done.stdout, encoding="utf-8")
    (run.parent / "train.err").write_text(done.stderr, encoding="utf-8")
    return run
