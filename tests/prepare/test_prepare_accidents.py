"""Disks that are full or cannot be written, and clocks that are wrong, while images are prepared."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from moved_clock import DAY, MovedClock
from small_disk import make_larger, make_read_only, small_disk

Evidence = Callable[..., None]
KINDS = {
    "folders": [],
    "shards": ["--shards"],
    "arrays": ["--encoding", "raw"],
    "arrays in shards": ["--shards", "--encoding", "raw"],
}
# Of what an uninterrupted run writes: the first images, others, the shards, the last of them.
SHARES = [0.01, 0.3, 0.6, 0.8, 0.9]


@pytest.fixture(scope="module")
def source(cells: dict[str, list[Path]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 real images in two classes."""
    root = tmp_path_factory.mktemp("accidents") / "source"
    for kind, files in cells.items():
        (root / kind).mkdir(parents=True)
        for file in files[:12]:
            shutil.copy(file, root / kind)
    return root


def written_kibibytes(source: Path, out: Path, options: list[str]) -> int:
    """What a run writes, in the disk's pages; shards are packed from images that lie there too."""
    files = [file for file in out.rglob("*") if file.is_file()]
    pages = sum(-(-file.stat().st_size // 4096) for file in files)
    return 4 * pages * (2 if "--shards" in options else 1)


def check_full_disk(
    source: Path, whole: Path, directory: Path, share: float, options: list[str], prepare, tree
) -> None:
    """A full disk ends `prepare` with a sentence; with room it goes on, and ends as one never stopped."""
    size = max(4, int(share * written_kibibytes(source, whole, options)))
    with small_disk(directory, size) as disk:
        done = prepare(source, disk / "out", "--size", 128, *options)
        assert done.returncode == 1, done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert done.stderr.startswith("alexnet-fast: cannot write "), done.stderr
        assert done.stderr.endswith("no space left on device; check the folder and the disk\n")
        there = {
            name: found for name, found in tree(disk / "out").items() if not name.startswith(".preparing/")
        }
        assert there.items() <= tree(whole).items()
        assert "prepared.json" not in there
        make_larger(disk, 100_000)
        again = prepare(source, disk / "out", "--size", 128, *options)
        assert again.returncode == 0, again.stderr
        assert tree(disk / "out") == tree(whole)


@pytest.mark.parametrize(
    ("kind", "share"),
    [("arrays in shards", 0.8), pytest.param("folders", 0.3, marks=pytest.mark.slow)],
)
def test_a_full_disk(source: Path, tmp_path: Path, prepare, tree, kind: str, share: float) -> None:
    assert prepare(source, tmp_path / "whole", "--size", 128, *KINDS[kind]).returncode == 0
    check_full_disk(source, tmp_path / "whole", tmp_path / "disk", share, KINDS[kind], prepare, tree)


@pytest.mark.soak
@pytest.mark.parametrize("kind", list(KINDS))
def test_five_full_disks(source: Path, tmp_path: Path, prepare, tree, kind: str, evidence: Evidence) -> None:
    assert prepare(source, tmp_path / "whole", "--size", 128, *KINDS[kind]).returncode == 0
    for share in SHARES:
        check_full_disk(source, tmp_path / "whole", tmp_path / str(share), share, KINDS[kind], prepare, tree)
    count = len(SHARES)
    evidence(f"full disks while {kind} are prepared, then room", n=count, clear=count, bit_equal=count)


def test_a_whole_folder_stays_whole(source: Path, tmp_path: Path, prepare, tree, evidence: Evidence) -> None:
    """Preparing it again, on a disk that is full or cannot be written, does not even begin."""
    with small_disk(tmp_path / "disk", 100_000) as disk:
        assert prepare(source, disk / "out", "--size", 32).returncode == 0
        before = tree(disk)
        make_larger(disk, written_kibibytes(source, disk, []))
        full = prepare(source, disk / "out", "--size", 32)
        assert tree(disk) == before
        assert not (disk / "out" / ".preparing").exists()
        make_read_only(disk)
        refused = prepare(source, disk / "out", "--size", 32)
        new = prepare(source, disk / "new", "--size", 32)
        assert tree(disk) == before
    for done, said in (
        (full, "no space left on device"),
        (refused, "read-only file"),
        (new, "read-only file"),
    ):
        assert done.returncode == 1
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
    evidence("prepared again on a disk that is full or read-only", n=3, clear=3, whole=3)


@pytest.mark.slow
def test_a_clock_that_jumps_between_two_runs(
    source: Path, tmp_path: Path, prepare, tree, monkeypatch: pytest.MonkeyPatch, evidence: Evidence
) -> None:
    """Nothing is made twice, and a source that changed is noticed, though its time is earlier than before."""
    clock = MovedClock(tmp_path)
    for name, value in clock.environment.items():
        monkeypatch.setenv(name, value)
    data, out = tmp_path / "data", tmp_path / "out"
    shutil.copytree(source, data)
    for file in data.rglob("*.png"):
        os.utime(file, (file.stat().st_mtime + DAY, file.stat().st_mtime + DAY))
    clock.set(DAY)
    assert prepare(data, out, "--size", 32).returncode == 0
    made = {file: file.stat().st_ino for file in out.rglob("*.jpg")}
    for seconds in (0, -DAY):
        clock.set(seconds)
        assert prepare(data, out, "--size", 32).returncode == 0
        assert {file: file.stat().st_ino for file in out.rglob("*.jpg")} == made
    changed, other = sorted((data / "mono").iterdir())[:2]
    shutil.copyfile(other, changed)
    assert prepare(data, out, "--size", 32).returncode == 0
    anew = {file for file in out.rglob("*.jpg") if file.stat().st_ino != made[file]}
    assert {file.stem for file in anew} == {changed.stem}
    clock.set(0)
    assert prepare(data, tmp_path / "fresh", "--size", 32).returncode == 0
    assert tree(out) == tree(tmp_path / "fresh")
    evidence("clock jumps of a day between runs of prepare", n=3, made_twice=0, changes_noticed=1)
