"""Long lists are kept in the cache folder, and made again when a folder has changed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from alexnet_fast.data import ClassMap, ImageList, entries, list_images
from alexnet_fast.data import index_cache as list_cache
from small_disk import below, small_disk

DAY = 86_400
CLASSES = ClassMap(("a", "b"))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two classes of ten files, of an hour ago; lists of ten and more are kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(list_cache, "WORTH_KEEPING", 10)
    for kind in ("a", "b/deeper"):
        (tmp_path / "data" / kind).mkdir(parents=True)
        for number in range(10):
            (tmp_path / "data" / kind / f"{number}.jpg").touch()
    age(tmp_path / "data")
    return tmp_path / "data"


def age(root: Path) -> None:
    """Makes folders look as if nobody had touched them for an hour."""
    for directory in (root, *(path for path in root.rglob("*") if path.is_dir())):
        os.utime(directory, (time.time() - 3600,) * 2)


@pytest.fixture
def walks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders that were walked through, one entry a folder."""
    walked: list[str] = []
    real = os.scandir

    def scandir(path: str) -> object:
        walked.append(os.fspath(path))
        return real(path)

    monkeypatch.setattr(entries.os, "scandir", scandir)
    return walked


def same(one: ImageList, other: ImageList) -> bool:
    """Tells whether two lists are alike."""
    return one.fingerprint() == other.fingerprint() and one.encoding == other.encoding


def test_a_kept_list_is_the_list_and_walks_through_nothing(root: Path, walks: list[str]) -> None:
    first = list_images(root, CLASSES)
    assert len(walks) == 4
    assert same(list_images(root, CLASSES), first)
    assert len(walks) == 4


def test_nothing_is_written_beside_the_data(root: Path, tmp_path: Path) -> None:
    before = sorted(root.rglob("*"))
    list_images(root, CLASSES)
    assert sorted(root.rglob("*")) == before
    assert len(list((tmp_path / "cache" / "alexnet-fast" / "lists").iterdir())) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "a" / "new.jpg").touch(),
        lambda root: (root / "b" / "deeper" / "3.jpg").unlink(),
        lambda root: (root / "a" / "3.jpg").rename(root / "a" / "33.jpg"),
        lambda root: ((root / "a" / "more").mkdir(), (root / "a" / "more" / "1.jpg").touch()),
    ],
    ids=["added", "removed deeper", "renamed", "new folder"],
)
def test_a_change_is_noticed(root: Path, change: Callable[[Path], object], walks: list[str]) -> None:
    first = list_images(root, CLASSES)
    change(root)
    del walks[:]
    assert not same(list_images(root, CLASSES), first)
    assert walks


def test_a_folder_that_has_just_changed_is_not_trusted(root: Path, walks: list[str]) -> None:
    """It could change again within the same tick of the file system's clock."""
    (root / "a" / "new.jpg").touch()
    list_images(root, CLASSES)
    del walks[:]
    list_images(root, CLASSES)
    assert walks


@pytest.mark.parametrize("seconds", [pytest.param(-DAY, id="back"), pytest.param(DAY, id="ahead")])
def test_a_clock_that_jumps_hides_no_change(
    root: Path, walks: list[str], monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    """The list was kept before; what changes afterwards has a time a day earlier, or later."""
    first = list_images(root, CLASSES)
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + seconds * 10**9)
    assert same(list_images(root, CLASSES), first)
    assert len(walks) == 4, "a kept list is used whatever the clock says"
    (root / "a" / "3.jpg").unlink()
    os.utime(root / "a", (time.time() - 3600 + seconds,) * 2)
    changed = list_images(root, CLASSES)
    assert len(changed) == len(first) - 1
    monkeypatch.setattr(time, "time_ns", real)
    assert same(list_images(root, CLASSES), changed)


def test_folders_of_the_future_are_listed_anew(root: Path, tmp_path: Path) -> None:
    """They changed while the clock was ahead; when it comes to that time again, they could look the same."""
    for directory in (root / "a", root / "b", root / "b" / "deeper"):
        os.utime(directory, (time.time() + DAY,) * 2)
    assert len(list_images(root, CLASSES)) == 20
    assert not (tmp_path / "cache").exists()
    (root / "a" / "new.jpg").touch()
    assert len(list_images(root, CLASSES)) == 21


@pytest.mark.parametrize("kibibytes", [4, 8])
def test_a_full_cache_folder_is_said_and_is_no_error(
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    kibibytes: int,
) -> None:
    """Nothing of the list stays; numpy meets the end of the disk in another file of its archive each time."""
    for number in range(400):
        (root / "a" / f"{number:0150}.jpg").touch()
    age(root)
    with small_disk(tmp_path / "disk", kibibytes) as disk:
        monkeypatch.setenv("XDG_CACHE_HOME", str(disk))
        assert len(list_images(root, CLASSES)) == 420
        assert below(disk) == {}
    assert "the list of images is not kept: cannot write" in caplog.text
    assert "no space left on device" in caplog.text


@pytest.mark.parametrize(
    "damage", [lambda f: f.write_bytes(b"x"), lambda f: f.write_bytes(f.read_bytes()[:400])]
)
def test_a_damaged_list_is_made_again(
    root: Path, tmp_path: Path, damage: Callable[[Path], object], walks: list[str]
) -> None:
    first = list_images(root, CLASSES)
    (kept,) = (tmp_path / "cache" / "alexnet-fast" / "lists").iterdir()
    damage(kept)
    del walks[:]
    assert same(list_images(root, CLASSES), first)
    assert walks


def test_a_cache_folder_that_cannot_be_written_is_said_and_is_no_error(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("a file")
    assert len(list_images(root, CLASSES)) == 20
    assert "the list of images is not kept: cannot make the folder" in caplog.text


def test_short_lists_are_not_kept(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_cache, "WORTH_KEEPING", 21)
    list_images(root, CLASSES)
    assert not (tmp_path / "cache").exists()


def test_each_class_map_has_its_list(root: Path) -> None:
    list_images(root, CLASSES)
    turned = list_images(root, ClassMap(("b", "a")))
    assert turned.names[0].startswith("b/")


def test_a_relative_cache_folder_is_ignored_as_the_specification_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "somewhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert list_cache.cache_dir() == tmp_path / ".cache" / "alexnet-fast"
