"""An environment of its own for a distribution that was built."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any


class InstalledCopy:
    """An environment that holds the product, and sees the packages of this one for everything else.

    Its own packages come first, and a `.pth` file adds folders, not what stands in their `.pth` files: so the
    checkout, which an editable install would bring in, is not on the path.
    """

    def __init__(self, directory: Path, distribution: Path) -> None:
        venv.create(directory / "env", symlinks=True)
        self.directory, self.bin = directory, directory / "env" / "bin"
        (self.site,) = (directory / "env" / "lib").glob("python*/site-packages")
        others = [place for place in sys.path if place.endswith("site-packages")]
        (self.site / "others.pth").write_text("\n".join(others), encoding="utf-8")
        words = ["--python", str(self.bin / "python"), "install", "--no-deps", "--no-index", "--quiet"]
        words += [
            "--no-build-isolation",
            "--disable-pip-version-check",
            "--ignore-installed",
            str(distribution),
        ]
        self.run(sys.executable, "-m", "pip", *words)

    def run(self, *words: object, code: int = 0) -> str:
        """Runs something in a folder that is not the checkout, and returns what it printed."""
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(
            [str(word) for word in words],
            cwd=self.directory,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def command(self, *words: object) -> str:
        """Runs the installed `alexnet-fast`."""
        return self.run(self.bin / "alexnet-fast", *words)

    def json_of(self, *words: object) -> dict[str, Any]:
        """Runs it with `--json` and returns the answer."""
        answer: dict[str, Any] = json.loads(self.command(*words, "--json").splitlines()[-1])
        return answer
