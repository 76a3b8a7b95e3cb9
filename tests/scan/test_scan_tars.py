"""`scan` looks into tars and arrays, and its list is what training leaves out."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet_fast.data import ExcludeList, ShardFields, open_data
from alexnet_fast.scan.inspect import InTars, TarCount, told_apart
from archives import special
from shard_files import JPEG, write_shard


def jpeg(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, "JPEG")
    return content.getvalue()


@pytest.fixture
def shards(photographs: list[Image.Image], tmp_path: Path) -> Path:
    """Two parts; in the first an image that is cut off, one that is turned, and two in order."""
    good = jpeg(photographs[0].resize((96, 64)))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = io.BytesIO()
    photographs[1].resize((96, 64)).save(turned, "JPEG", exif=exif)
    images = {"a": good, "b": good[: len(good) // 2], "c": turned.getvalue(), "d": good}
    directory = tmp_path / "shards"
    directory.mkdir()
    for part, names in (("train", "abcd"), ("val", "ad")):
        with tarfile.open(directory / f"{part}-000.tar", "w") as tar:
            for number, name in enumerate(names):
                label = str(number % 2).encode()
                for suffix, content in ((".jpg", images[name]), (".cls", label)):
                    member = tarfile.TarInfo(name + suffix)
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    return directory


def test_members_are_named_with_their_tar(json_of_scan, shards: Path) -> None:
    found = json_of_scan(shards)
    assert found["images"] == 6
    (bad,) = found["bad"]
    assert bad["file"] == "train/b.jpg"
    assert bad["reason"].endswith("(in train-000.tar)")
    assert found["warnings"] == [{"file": "train/c.jpg", "what": "EXIF orientation 6 (in train-000.tar)"}]
    assert [(row["file"], row["members"], row["images"]) for row in found["tars"]] == [
        ("train-000.tar", 8, 4),
        ("val-000.tar", 4, 2),
    ]


def test_training_leaves_out_what_the_list_names(json_of_scan, shards: Path, tmp_path: Path) -> None:
    json_of_scan(shards, "--write-exclude", tmp_path / "bad.txt")
    splits = open_data(shards, exclude=ExcludeList.load(tmp_path / "bad.txt"))
    assert sorted(splits.train.names) == ["a.jpg", "c.jpg", "d.jpg"]
    assert len(splits.val) == 2


def test_a_damaged_tar_is_a_bad_file(json_of_scan, shards: Path) -> None:
    tar = shards / "val-000.tar"
    tar.write_bytes(tar.read_bytes()[:700])
    (_, bad) = json_of_scan(shards)["bad"]
    assert bad["file"] == "val-000.tar"


def test_every_member_of_a_tar_is_listed_or_named(shards: Path) -> None:
    good = jpeg(Image.new("RGB", (40, 30)))
    odd = {
        "._a.jpg": b"Mac OS X",
        "noending": b"x",
        "a.seg.png": good,
        "d.seg.png": good,
        "lonely.jpg": good,
        "link.jpg": special("link.jpg", tarfile.SYMTYPE, "a.jpg"),
        "folder": special("folder", tarfile.DIRTYPE),
    }
    with tarfile.open(shards / "train-000.tar", "a") as tar:
        for name, content in odd.items():
            member = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            member.size = len(content) if isinstance(content, bytes) else 0
            tar.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)
        members = len(tar.getmembers())
    inside = InTars()
    inside.look_into(shards, "train-000.tar")
    assert inside.counts == [TarCount("train-000.tar", members, images=4, labels=4, ignored=6, unusable=1)]
    assert {(row.file, row.members) for row in inside.ignored} == {
        ("train/._a.jpg", 1),
        ("train/noending", 1),
        ("train/link.jpg", 1),
        ("train/folder", 1),
        ("train-000.tar", 2),
    }
    assert [row.file for row in inside.bad] == ["train/lonely.jpg"]


def listed(root: Path, *tars: str, fields: ShardFields | None = None) -> list[str]:
    """Returns what the members of tars are called."""
    inside = InTars()
    for tar in tars:
        inside.look_into(root, tar, fields or ShardFields())
    assert not inside.bad
    return [member.listed for member in told_apart(inside.members)]


def test_members_are_called_as_training_calls_them(tmp_path: Path) -> None:
    """So that the list of the bad ones is one that training understands."""
    for tar, key in (("train/a", "0"), ("train/b", "0"), ("train/c", "1"), ("val/a", "0")):
        write_shard(tmp_path / f"{tar}.tar", [(f"{key}.jpg", JPEG), (f"{key}.cls", b"0")])
        write_shard(tmp_path / f"{tar}-2.tar", [(f"{key}{tar[-1]}.jpg", JPEG), (f"{key}{tar[-1]}.cls", b"1")])
    tars = sorted(str(tar.relative_to(tmp_path)) for tar in tmp_path.rglob("*.tar"))
    train = [f"train/{name}" for name in open_data(tmp_path).train.names]
    assert sorted(name for name in listed(tmp_path, *tars) if name.startswith("train/")) == sorted(train)
    assert "train/a/0.jpg" in train


def test_the_fields_can_be_chosen(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", [("0.jpg", JPEG), ("0.seg.png", JPEG), ("0.txt", b"cat")])
    assert listed(tmp_path, "a.tar", fields=ShardFields.from_options("seg.png", "txt")) == ["0.seg.png"]


def test_arrays_are_read(json_of_scan, tmp_path: Path) -> None:
    directory = tmp_path / "raw" / "train" / "x"
    directory.mkdir(parents=True)
    np.save(directory / "good.npy", np.zeros((8, 9, 3), np.uint8))
    np.save(directory / "grey.npy", np.zeros((8, 9), np.uint8))
    whole = (directory / "good.npy").read_bytes()
    (directory / "short.npy").write_bytes(whole[:-1])
    found = json_of_scan(tmp_path / "raw")
    assert found["images"] == 3
    assert [one["file"] for one in found["bad"]] == ["train/x/grey.npy", "train/x/short.npy"]
