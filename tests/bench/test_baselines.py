"""Other projects' loaders take their turns as plain scripts in an environment of their own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

import benchmarks
from alexnet_fast.bench.run_baselines import BaselineError, running_baselines
from alexnet_fast.cli.main import commands
from alexnet_fast.errors import UserError
from benchmarks.photographs import make_photographs

SCRIPTS = Path(benchmarks.__file__).parent / "baselines"

GOOD = f"""
import sys
sys.path.insert(0, {str(SCRIPTS)!r})
from PIL import Image
from protocol import answer, files_of

def epoch_of(options):
    files, labels = files_of(options)
    eight = 8 * options.repeat
    assert (len(files), labels.count(0), labels.count(1)) == (2 * eight, eight, eight)
    print("libraries print what they like")
    def epoch():
        for file in files:
            Image.open(file).load()
            yield 1
    return epoch

answer("Pillow, decoding alone", ["pillow"], epoch_of)
"""
BROKEN = "import a_package_that_is_not_there"
DYING = """
print('{"name": "mortal", "versions": {}}', flush=True)
input()
raise SystemExit("out of breath")
"""


@pytest.fixture
def baselines(tmp_path: Path) -> Path:
    """A folder of scripts whose environment is this one."""
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    python = tmp_path / ".venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    return tmp_path


def bench(*arguments: object) -> list[str]:
    """Returns the words of a short `bench input`."""
    fast = ["--runs", 1, "--seconds", 0.05, "--batch-size", 4, "--resize", 72, "--crop", 64, "--workers", 2]
    return [str(word) for word in ("bench", "input", *arguments, *fast)]


def test_a_baseline_is_measured_and_one_that_does_not_start_is_named(
    two_classes: Path, baselines: Path
) -> None:
    (baselines / "good_baseline.py").write_text(GOOD, encoding="utf-8")
    (baselines / "broken_baseline.py").write_text(BROKEN, encoding="utf-8")
    (baselines / "helper.py").write_text("raise SystemExit('no baseline')", encoding="utf-8")
    words = bench(two_classes / "val", "--baselines", baselines, "--json")
    done = CliRunner().invoke(commands, words, catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert [row["name"] for row in result["compared"]] == [
        "Pillow, DataLoader",
        "DALI, decoding alone",
        "Pillow, decoding alone",
    ]
    assert result["compared"][2]["images_per_second"] > 0
    # Decoding alone is the faster of the two.
    rates = [row["images_per_second"] for row in result["compared"][1:]]
    assert result["decoding_alone"]["images_per_second"] == max(rates)
    assert set(result["baselines"]) == {"Pillow, decoding alone"}
    assert result["not_run"] == {
        "broken_baseline": "ModuleNotFoundError: No module named 'a_package_that_is_not_there'"
    }
    assert result["hardware"]["cpu"]["cores"] >= 1


def test_a_baseline_that_ends_during_its_turn_ends_the_run_with_its_last_line(
    two_classes: Path, baselines: Path
) -> None:
    (baselines / "dying_baseline.py").write_text(DYING, encoding="utf-8")
    with running_baselines(baselines, []) as (ready, missing):
        assert ([baseline.name for baseline in ready], missing) == (["mortal"], {})
        with pytest.raises(BaselineError, match="out of breath"):
            ready[0].turn(0.1)
        with pytest.raises(BaselineError, match="out of breath"):
            ready[0].turn(0.1)
    done = CliRunner().invoke(commands, bench(two_classes / "val", "--baselines", baselines))
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1] == (
        "alexnet-fast: a baseline ended during its turn: out of breath; leave --baselines out"
    )


def test_a_folder_without_baselines_or_without_their_environment_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match=r"holds no script named \*_baseline.py"),
        running_baselines(tmp_path, []),
    ):
        pass
    (tmp_path / "some_baseline.py").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="no environment; make baselines"), running_baselines(tmp_path, []):
        pass


def test_the_photographs_are_the_same_every_time(tmp_path: Path) -> None:
    make_photographs(tmp_path / "one", 12)
    make_photographs(tmp_path / "two", 12)
    files = sorted(file.relative_to(tmp_path / "one") for file in (tmp_path / "one").rglob("*.jpg"))
    assert len(files) == 12
    assert all((tmp_path / "one" / f).read_bytes() == (tmp_path / "two" / f).read_bytes() for f in files)
    with pytest.raises(UserError, match="is there already"):
        make_photographs(tmp_path / "one")


def test_interrupted_photographs_leave_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`make bench` takes a folder that is there for finished."""
    save, saved = Image.Image.save, []

    def full_disk(self: Image.Image, file: Path, **options: object) -> None:
        saved.append(file)
        if len(saved) == 5:
            raise KeyboardInterrupt
        save(self, file, **options)

    monkeypatch.setattr(Image.Image, "save", full_disk)
    with pytest.raises(KeyboardInterrupt):
        make_photographs(tmp_path / "files", 12)
    assert list(tmp_path.iterdir()) == []
    make_photographs(tmp_path / "files", 12)
    assert len(list((tmp_path / "files").rglob("*.jpg"))) == 12
