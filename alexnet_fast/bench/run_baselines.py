"""Other projects' loaders as candidates: plain scripts in an environment of their own."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from alexnet_fast.errors import UserError


class BaselineError(Exception):
    """A baseline does not run; the message is the last line of its stderr."""


class Baseline:
    """A script that waits for its turns (see `baselines/protocol.py`).

    Args:
        command: Starts the script.
        stderr: Receives its stderr.

    Raises:
        BaselineError: The script ends before it is ready.
    """

    def __init__(self, command: Sequence[str], stderr: IO[str]) -> None:
        self._stderr = stderr
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True
        )
        started = self._read()
        self.name: str = started["name"]
        self.versions: dict[str, str] = started["versions"]

    def turn(self, seconds: float) -> float:
        """Lets the script load for some seconds; returns its images per second.

        Raises:
            BaselineError: The script ends during its turn.
        """
        assert self._process.stdin is not None
        # If the script has ended, `_read` reports its last line.
        with contextlib.suppress(BrokenPipeError):
            print(seconds, file=self._process.stdin, flush=True)
        return float(self._read()["images_per_second"])

    def _read(self) -> dict[str, Any]:
        """Reads a line of JSON."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            result: dict[str, Any] = json.loads(line)
            return result
        code = self._process.wait()
        self._stderr.seek(0)
        words = self._stderr.read().strip().splitlines()
        raise BaselineError(words[-1] if words else f"it ended with exit code {code}")

    def close(self) -> None:
        """Ends the script."""
        self._process.communicate()


@contextlib.contextmanager
def running_baselines(
    directory: Path, arguments: Sequence[str]
) -> Iterator[tuple[list[Baseline], dict[str, str]]]:
    """Starts every `*_baseline.py` of a folder, one after the other, in the environment `.venv` beside them.

    Args:
        directory: Folder of the scripts.
        arguments: Arguments of each script.

    Yields:
        The running baselines, and the reasons of the others by the script's name.

    Raises:
        UserError: There is no script or no environment.
    """
    python = directory / ".venv" / "bin" / "python"
    scripts = sorted(directory.glob("*_baseline.py"))
    if not scripts:
        raise UserError(
            f"--baselines {directory} holds no script named *_baseline.py", "check the folder", exit_code=2
        )
    if not python.exists():
        raise UserError(f"the baselines in {directory} have no environment", "make baselines sets it up")
    ready: list[Baseline] = []
    missing: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        for script in scripts:
            stderr = stack.enter_context(tempfile.TemporaryFile("w+"))
            try:
                baseline = Baseline([str(python), str(script), *arguments], stderr)
            except BaselineError as error:
                missing[script.stem] = str(error)
            else:
                stack.callback(baseline.close)
                ready.append(baseline)
        yield ready, missing
