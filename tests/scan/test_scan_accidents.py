"""Disks that are full or cannot be written while a folder is scanned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from small_disk import below, make_larger, make_read_only, refused, small_disk

Evidence = Callable[..., None]


def test_a_list_for_which_there_is_no_room(tmp_path: Path, json_of_scan, evidence: Evidence) -> None:
    """The list of an earlier scan stays as it was; with room there is a new one."""
    data = tmp_path / "data"
    data.mkdir()
    # Names of 200 bytes, so that the list takes a disk's page and a half.
    for number in range(30):
        (data / f"{number:0196}.jpg").write_bytes(b"bad")
    with small_disk(tmp_path / "disk", 8) as disk:
        earlier = f"{0:0196}.jpg\n".encode()
        (disk / "bad.txt").write_bytes(earlier)
        words = ["scan", data, "--write-exclude", disk / "bad.txt", "--workers", "1"]
        refused(
            words, f"cannot write {disk / 'bad.txt'}: no space left on device; check the folder and the disk"
        )
        assert below(disk) == {"bad.txt": earlier}
        make_larger(disk, 100)
        assert len(json_of_scan(data, "--write-exclude", disk / "bad.txt")["bad"]) == 30
        written = below(disk)
        assert written == {
            "bad.txt": "".join(f"{name}\n" for name in sorted(f.name for f in data.iterdir())).encode()
        }
        make_read_only(disk)
        refused(
            words, f"cannot write {disk / 'bad.txt'}: read-only file system; check the folder and the disk"
        )
        assert below(disk) == written
    evidence("scan --write-exclude on a disk that is full, then read-only", n=2, clear=2, as_before=2)
