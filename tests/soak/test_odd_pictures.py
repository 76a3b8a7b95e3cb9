"""Pillow's own test pictures: truncated, malicious, of every kind. None may take a process down.

They are fetched with pip from Pillow's source distribution, and are not part of this repository.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path

import PIL
import pytest

from alexnet_fast.data.picture_list import PICTURE_ENDINGS

pytestmark = pytest.mark.soak


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of them in one class folder, each with an ending that training lists."""
    root = tmp_path_factory.mktemp("odd")
    words = ["download", "--no-binary", ":all:", "--no-deps", "--quiet", f"pillow=={PIL.__version__}"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", *words],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    if done.returncode:
        pytest.skip(f"pip cannot fetch Pillow's source: {done.stderr.strip().splitlines()[-1]}")
    (archive,) = root.glob("*.tar.gz")
    (root / "data" / "odd").mkdir(parents=True)
    with tarfile.open(archive) as file:
        for member in file:
            _, _, name = member.name.partition("/Tests/images/")
            content = file.extractfile(member) if name and member.isfile() else None
            if content is not None:
                flat = name.replace("/", "-")
                ending = "" if Path(flat).suffix.lower() in PICTURE_ENDINGS else ".jpg"
                (root / "data" / "odd" / f"{flat.lstrip('.')}{ending}").write_bytes(content.read())
    return root / "data"


def test_there_are_a_thousand(odd: Path) -> None:
    assert len(list((odd / "odd").iterdir())) > 1000


def test_scan_names_each_that_is_bad(odd: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [sys.executable, "-m", "alexnet_fast", "scan", str(odd), "--workers", "2", "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["images"] == len(list((odd / "odd").iterdir()))
    assert all(entry["reason"] for entry in report["bad"])
    with capsys.disabled():
        print(f"\nscan: {report['images']} pictures, {len(report['bad'])} bad, {len(report['odd'])} oddities")


@pytest.mark.parametrize("kind", ["dali", "torch"])
def test_training_uses_or_names_each(odd: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = [sys.executable, str(Path(__file__).with_name("epoch_script.py")), str(odd), kind]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    everything = {str(file) for file in (odd / "odd").iterdir()}
    assert len(found["used"]) == len(set(found["used"]))
    assert set(found["used"]) | set(found["bad"]) == everything
    assert not set(found["used"]) & set(found["bad"])
    assert all(found["bad"].values())
    with capsys.disabled():
        print(f"\n{kind}: {len(found['used'])} used, {len(found['bad'])} named")
        for reason, count in Counter(found["bad"].values()).most_common(8):
            print(f"  {count:4d}  {reason[:90]}")
