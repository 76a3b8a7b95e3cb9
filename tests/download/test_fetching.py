"""Archives from an https server: what comes is unpacked inside its folder, or refused in one sentence."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from alexnet_fast.download.cache import FetchConfig, fetch
from alexnet_fast.errors import UserError
from archives import odd_zip, packed_zip, special
from warm_commands import run_command

ALLOWED = FetchConfig(allow_private=True)
SMALL = FetchConfig(allow_private=True, gibibytes=2**-14)


def files_below(directory: Path) -> dict[str, bytes]:
    """Returns every file of a folder."""
    return {
        file.relative_to(directory).as_posix(): file.read_bytes()
        for file in directory.rglob("*")
        if file.is_file()
    }


def refused(url: str, said: str, config: FetchConfig = ALLOWED) -> None:
    """The address is refused, and nothing of it stays."""
    archives = Path(os.environ["XDG_CACHE_HOME"]) / "alexnet-fast" / "archives"
    before = {entry for entry in archives.glob("*") if entry.is_dir()}
    with pytest.raises(UserError, match=said):
        fetch(url, config)
    assert {entry for entry in archives.glob("*") if entry.is_dir()} == before


@pytest.mark.parametrize("kind", ["zip", "w", "w:gz", "w:xz", "w:bz2"])
def test_an_archive_is_unpacked_whole_and_fetched_once(site, members, tar, zipped, kind: str) -> None:
    content = zipped(members) if kind == "zip" else tar(members, kind)
    url = site.put("/download?id=7", content)
    config = FetchConfig(sha256=hashlib.sha256(content).hexdigest().upper(), allow_private=True)
    directory = fetch(url, config)
    assert {f"solar/{name}": body for name, body in files_below(directory).items()} == members
    assert fetch(url, config) == directory
    assert site.asked == ["/download?id=7"]


def test_redirects_are_followed_to_https_alone(site, members, tar) -> None:
    site.put("/a.tar.gz", tar(members))
    moved = site.put("/moved", status=302, Location="/a.tar.gz")
    assert files_below(fetch(moved, ALLOWED))
    for target, said in {
        site.url("/a.tar.gz").replace("https", "http"): "is not https",
        "file:///etc/passwd": "is not https",
        "ftp://example.org/a.zip": "is not https",
        "https://user:word@localhost/": "holds a user name or password",
    }.items():
        refused(site.put("/elsewhere", status=301, Location=target), said)
    refused(site.put("/round", status=307, Location="/round"), "redirects more than 5 times")
    assert site.asked.count("/round") == 6


def test_a_redirect_may_not_leave_the_public_internet(site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first host passes for a public one; the one that it leads to is this machine."""
    from alexnet_fast.download import download

    monkeypatch.setattr(download, "is_public", lambda ip: ip != "127.0.0.2")
    url = site.put("/away", status=302, Location=f"https://127.0.0.2:{site.port}/secret")
    refused(url, "127.0.0.2 is 127.0.0.2, an address that is not on the public", FetchConfig())
    assert site.asked == ["/away"]


def test_this_machine_is_not_asked_without_allowance(site, members, tar) -> None:
    refused(site.put("/a.tar.gz", tar(members)), "is not on the public internet; give --allow", FetchConfig())
    assert site.asked == []


def test_a_certificate_that_nobody_vouches_for(site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    refused(site.put("/a.zip", b"PK"), "the certificate of localhost is not trusted .self-signed")
    assert site.asked == []


def test_a_certificate_of_another_host(site, monkeypatch: pytest.MonkeyPatch) -> None:
    url = site.put("/a.zip", b"PK").replace("localhost", "127.0.0.1")
    refused(url, "the certificate of 127.0.0.1 is not trusted .*mismatch")


def test_what_is_no_archive(site, members, tar, zipped) -> None:
    refused(
        site.put("/page.zip", b"<!DOCTYPE html><html>Please log in</html>"), "is no archive; it must be a"
    )
    refused(site.put("/empty", b""), "is no archive")
    refused(site.put("/zeros", bytes(4096)), "is no archive")
    refused(site.put("/text.gz", gzip.compress(b"hello")), "is no archive, or a damaged one")
    refused(site.put("/nothing.tar", tar({}, "w:gz")), "holds no files")
    refused(site.put("/cut.tar.gz", tar(members)[:9000]), "is no archive, or a damaged one")
    damaged = bytearray(zipped(members))
    damaged[300] ^= 255
    refused(site.put("/damaged.zip", bytes(damaged)), "is no archive, or a damaged one")
    refused(site.put("/x.jpg", next(iter(members.values()))), "is no archive")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../evil.jpg", "a name that leads out of it"),
        ("a/../../evil.jpg", "a name that leads out of it"),
        ("/etc/evil.jpg", "a name that leads out of it"),
        ("a\\..\\..\\evil.jpg", "a name that leads out of it"),
        ("a" * 300, "holds a name that cannot be unpacked"),
    ],
)
def test_archives_that_climb_out_of_their_folder(
    site, tmp_path: Path, tar, zipped, name: str, said: str
) -> None:
    before = set(tmp_path.parent.rglob("evil*"))
    members = {"a/good.jpg": b"x", name: b"evil"}
    refused(site.put("/evil.tar", tar(members)), said)
    refused(site.put("/evil.zip", zipped(members)), said)
    assert set(tmp_path.parent.rglob("evil*")) == before


@pytest.mark.parametrize(
    "member",
    [
        special("a/link", tarfile.SYMTYPE, "/etc/passwd"),
        special("a/link", tarfile.SYMTYPE, "b"),
        special("a/hard", tarfile.LNKTYPE, "../../x"),
        special("a/pipe", tarfile.FIFOTYPE),
        special("a/disk", tarfile.BLKTYPE),
    ],
)
def test_archives_with_links_or_devices(site, tar, member: tarfile.TarInfo) -> None:
    refused(
        site.put("/a.tar", tar({"a/x.jpg": b"x", member.name: member}, "w")), "no plain file; do not trust"
    )


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"method": 9}, "in a way that is not known here .*compression.*; pack it anew with deflate"),
        ({"version": 99}, "in a way that is not known here .*version 9.9.*; pack it anew with deflate"),
        ({"flags": 1}, "is encrypted; unpack it yourself"),
        ({"flags": 0x41}, "is encrypted; unpack it yourself"),
    ],
)
def test_zips_that_python_cannot_unpack(site, members, values: dict[str, int], said: str) -> None:
    refused(site.put("/odd.zip", odd_zip(members, **values)), said)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damaged_zips_of_other_methods(site, method: int) -> None:
    damaged = bytearray(packed_zip({"a/x": bytes(range(256)) * 64}, method))
    damaged[48:80] = bytes(32)
    refused(site.put("/damaged.zip", bytes(damaged)), "is no archive, or a damaged one .*; fetch it again")


def test_archives_with_two_files_in_one_place(site, tar) -> None:
    refused(site.put("/twice.tar", tar({"a/x": b"1", "a/./x": b"2"})), "a name that cannot be unpacked")
    refused(site.put("/below.tar", tar({"a/x": b"1", "a/x/y": b"2"})), "a name that cannot be unpacked")


def test_archives_that_are_too_large(site, tar, zipped) -> None:
    """64 KiB are allowed."""
    large = bytes(range(256)) * 400
    refused(
        site.put("/large.tar", tar({"a/x": large}, "w")), r"has 112,640 bytes, the limit is 65,536", SMALL
    )
    refused(
        site.put("/unsaid.tar", tar({"a/x": large}, "w"), Content_Length=""), "has more bytes, the", SMALL
    )
    for bomb in (tar({"a/x": bytes(10 << 20)}), zipped({"a/x": bytes(10 << 20)})):
        assert len(bomb) < 20_000
        refused(site.put("/bomb", bomb), "holds more than the limit; give a larger --max-download", SMALL)


def test_a_download_that_ends_early_or_is_another(site, members, tar) -> None:
    refused(
        site.put("/short", tar(members), Content_Length="900000000"), "ended after .* of 900,000,000 bytes"
    )
    refused(site.url("/none"), "answers 404 Not Found; check the address")
    other = FetchConfig(sha256="0" * 64, allow_private=True)
    refused(site.put("/other", tar(members)), "has the SHA-256 .*, not 0000.*; do not trust", other)


def test_numbers_that_are_none() -> None:
    for sha256 in ("", "abc", "g" * 64):
        with pytest.raises(UserError, match="--sha256 .* is none; it has 64 hexadecimal digits"):
            FetchConfig(sha256=sha256)
    for gibibytes in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UserError, match="gibibytes=.*; give a number above 0"):
            FetchConfig(gibibytes=gibibytes)


def test_prepare_takes_an_address(site, members, zipped, tmp_path: Path) -> None:
    url = site.put("/solar.zip", zipped(members))
    words = ["prepare", url, tmp_path / "out", "--size", 32, "--json"]
    done = run_command(*words)
    assert done.returncode == 2
    assert "is not on the public internet; give --allow-private if you mean it" in done.stderr
    done = run_command(*words, "--allow-private")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["classes"], result["images"]) == (["mono", "poly"], 12)


def test_alexnet_takes_an_address(site, members, zipped) -> None:
    from alexnet_fast import AlexNet

    url = site.put("/solar.zip", zipped(members))
    with pytest.raises(UserError, match="is not on the public internet"):
        AlexNet(url)
    model = AlexNet(url, fetching=ALLOWED, loader="torch", val_fraction=0.5, workers=1, resize=64, crop=56)
    assert model.classes == ("mono", "poly")
