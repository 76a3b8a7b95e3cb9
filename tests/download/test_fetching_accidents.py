"""Clocks that are wrong, disks that are full or cannot be written, and file systems without locks."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from test_fetching import ALLOWED, files_below

from alexnet_fast.download.cache import fetch
from alexnet_fast.errors import UserError
from moved_clock import DAY, MovedClock
from small_disk import make_larger, make_read_only, small_disk

Evidence = Callable[..., None]
# Kibibytes for the lock and folders; and parts of the archive, whose content takes as much again.
SIZES = [4, 8, 40]
SHARES = [0.5, 1.1, 1.3, 1.6, 1.9]


def prepare(url: str, out: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Prepares what is at an address, as a user does."""
    words = [
        sys.executable,
        "-m",
        "alexnet_fast",
        "prepare",
        url,
        str(out),
        "--allow-private",
        "--size",
        "32",
    ]
    env = {**os.environ, **environment}
    return subprocess.run(words, env=env, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.slow
def test_a_clock_that_is_wrong_is_the_first_thing_to_look_at(
    site, members, zipped, tmp_path: Path, evidence: Evidence
) -> None:
    """A certificate is then of another time; what was fetched before is used all the same."""
    clock = MovedClock(tmp_path)
    url = site.put("/solar.zip", zipped(members))
    for days, said in ((-1, "certificate is not yet valid"), (3, "certificate has expired")):
        clock.set(days * DAY)
        done = prepare(url, tmp_path / "out", **clock.environment)
        assert done.returncode == 1
        assert f"the certificate of localhost is not trusted ({said}); is this machine's clock right? It" in (
            done.stderr
        )
        assert len(done.stderr.splitlines()) == 1, done.stderr
    clock.set(0)
    assert prepare(url, tmp_path / "out", **clock.environment).returncode == 0
    clock.set(-DAY)
    again = prepare(url, tmp_path / "again", **clock.environment)
    assert again.returncode == 0
    assert "using the copy in" in again.stderr
    assert files_below(tmp_path / "again") == files_below(tmp_path / "out")
    assert site.asked == ["/solar.zip"]
    evidence(
        "fetching with a clock a day behind and three ahead, then right, then behind", n=4, as_it_should=4
    )


@pytest.mark.parametrize("said", ["length", "no length"])
def test_full_disks(
    site, members, tar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, evidence: Evidence
) -> None:
    """Nothing of the archive stays, what was there before does; with room it is fetched."""
    content = tar(members, "w")
    url = site.put("/solar.tar", content, **({} if said == "length" else {"Content_Length": ""}))
    before = site.put("/small.tar", tar({"a/x.jpg": b"small"}, "w"))
    sizes = [*SIZES, *(int(share * len(content) / 1024) for share in SHARES)]
    for size in sizes:
        with small_disk(tmp_path / str(size), size) as disk:
            monkeypatch.setenv("XDG_CACHE_HOME", str(disk))
            kept = None
            if size > 40:
                kept = fetch(before, ALLOWED)
            with pytest.raises(UserError) as caught:
                fetch(url, ALLOWED)
            assert str(caught.value).endswith("; make room, or set XDG_CACHE_HOME to another disk")
            assert "no space left on device" in str(caught.value) or "has room for" in str(caught.value)
            assert {path.name for path in disk.rglob("*.jpg")} == ({"x.jpg"} if kept else set())
            assert not list(disk.rglob("*.partial"))
            make_larger(disk, 100_000)
            assert {
                f"solar/{name}": body for name, body in files_below(fetch(url, ALLOWED)).items()
            } == members
            assert kept is None or files_below(fetch(before, ALLOWED)) == {"a/x.jpg": b"small"}
    evidence(
        f"fetching onto full disks, {said} said, then room", n=len(sizes), clear=len(sizes), whole=len(sizes)
    )


def test_a_full_disk_ends_in_one_sentence(site, members, tar, tmp_path: Path) -> None:
    url = site.put("/solar.tar", tar(members, "w"), Content_Length="")
    with small_disk(tmp_path / "disk", 100) as disk:
        done = prepare(url, tmp_path / "out", XDG_CACHE_HOME=str(disk))
    assert done.returncode == 1
    assert done.stderr.startswith(f"alexnet-fast: cannot write {disk}")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_cache_that_cannot_be_written(
    site, members, tar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evidence: Evidence
) -> None:
    """What is there is used; what is not is not fetched."""
    url, other = (site.put(f"/{name}", tar(members)) for name in ("one", "two"))
    with small_disk(tmp_path / "disk", 100_000) as disk:
        monkeypatch.setenv("XDG_CACHE_HOME", str(disk))
        first = fetch(url, ALLOWED)
        make_read_only(disk)
        assert fetch(url, ALLOWED) == first
        with pytest.raises(
            UserError, match="cannot write .*read-only file system; make room, or set XDG_CACHE"
        ):
            fetch(other, ALLOWED)
    assert site.asked == ["/one"]
    evidence("a cache folder that cannot be written: a copy there, another address", n=2, used=1, clear=1)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_without_locks(site, tar, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Two could fetch into one folder there; a copy that is there already is used."""

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    url, other = (site.put(f"/{name}", tar({"a/x.jpg": b"x"}, "w")) for name in ("one", "two"))
    there = fetch(url, ALLOWED)
    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(
        UserError, match=r"\.lock is on a file system without locks, .*; set XDG_CACHE_HOME to"
    ):
        fetch(other, ALLOWED)
    assert fetch(url, ALLOWED) == there
    assert site.asked == ["/one"]
