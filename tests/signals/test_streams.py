"""stdout and stderr may be closed, full, unread, of any encoding: the command works, or says why not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

# A command that is quick, and prints names: the classes are no folders of a run.
NAMES = ("Ähre", "犬", "\N{PILE OF POO}", os.fsdecode(b"k\xe9l"), "a\tb")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("streams")
    for name in NAMES:
        (root / "data" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(root / "data" / name / "good.png")
        (root / "data" / name / f"bad{name}.jpg").write_text("x")
    (root / "empty").mkdir()
    return root


def shell(line: str, directory: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Runs a line of bash in which AF is the command; LANG and the like are as given, or not set."""
    plain = {
        name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHON"))
    }
    plain["AF"] = f"{sys.executable} -m alexnet_fast"
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"],
        cwd=directory,
        env={**plain, **environment},
        capture_output=True,
        timeout=120,
        check=False,
    )


FULL = b"alexnet-fast: cannot write to stdout: no space left on device; give it a file or /dev/null\n"
CLOSED = b"alexnet-fast: cannot write to stdout: it is closed; give it a file or /dev/null\n"


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("$AF scan empty 2>&-", 0, b""),
        ("$AF scan empty 2>/dev/full", 0, b""),
        ("$AF scan nowhere 2>&-", 2, b""),
        ("$AF scan empty >/dev/full", 1, FULL),
        ("$AF --help >/dev/full", 1, FULL),
        ("$AF scan empty >&-", 1, CLOSED),
        ("$AF --version >&- 2>&-", 1, b""),
        ("$AF --version 0>&-", 0, b""),
        ("$AF scan empty | true", 141, b""),
        ("$AF --help | head -1", None, b""),
        ("$AF scan nowhere 2>&1 >/dev/null | true", 2, b""),
        ("$AF scan empty 2>&1 >/dev/null | true", 0, b""),
    ],
)
def test_streams_may_be_closed_full_or_unread(
    directory: Path, line: str, code: int | None, said: bytes
) -> None:
    done = shell(line, directory)
    # `head` may have gone before the last word or not.
    assert done.returncode == code if code is not None else done.returncode in (0, 141)
    assert done.stderr == said


def test_a_closed_stderr_is_no_file_of_the_user_s(directory: Path) -> None:
    """The next file that is opened gets the number 2, and libraries in C write their complaints to it."""
    code = (
        "import os, sys; from alexnet_fast.utils.streams import prepare_streams; prepare_streams()\n"
        "file = open('mine', 'wb'); os.write(2, b'a complaint'); print(file.fileno() > 2)\n"
        "import subprocess; subprocess.run(['sh', '-c', 'echo other >&2'])"
    )
    done = shell(f'"{sys.executable}" -c "{code}" 2>&-', directory)
    assert done.stdout == b"True\n"
    assert (directory / "mine").read_bytes() == b""


ENVIRONMENTS: tuple[dict[str, str], ...] = (
    {"PYTHONIOENCODING": "latin-1"},
    {"PYTHONIOENCODING": "ascii:strict"},
    {"PYTHONIOENCODING": "cp1252"},
    {"LC_ALL": "C"},
    {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    {"LC_ALL": "POSIX"},
    {},
    {"LC_ALL": "C.UTF-8"},
)


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=str)
def test_a_character_that_the_encoding_lacks_is_printed_as_its_escape(
    directory: Path, environment: dict[str, str]
) -> None:
    code = (
        "import os, sys; from alexnet_fast.utils.streams import prepare_streams; prepare_streams()\n"
        "import click; names = sorted(os.listdir('data'))\n"
        "click.echo(' '.join(names), file=sys.stdout); click.echo(' '.join(names), file=sys.stderr)"
    )
    done = shell(f'"{sys.executable}" -c "{code}"', directory, **environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(b" ") == done.stderr.count(b" ") == len(NAMES) - 1
    assert b"k\\udce9l" in done.stdout


@pytest.mark.parametrize("environment", [ENVIRONMENTS[4]], ids=str)
def test_json_is_the_same_in_every_encoding(directory: Path, environment: dict[str, str]) -> None:
    done = shell("$AF scan data --json --workers 1", directory, **environment)
    assert (done.returncode, done.stderr) == (0, b"")
    bad = {row["file"].encode("utf-8", "surrogateescape") for row in json.loads(done.stdout)["bad"]}
    assert bad == {os.fsencode(f"{name}/bad{name}.jpg") for name in NAMES}
