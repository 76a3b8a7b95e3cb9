"""`scan` looks into tars and arrays, and its list is what training leaves out."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet_fast.data import LeaveOut, open_data


def jpeg(picture: Image.Image) -> bytes:
    content = io.BytesIO()
    picture.save(content, "JPEG")
    return content.getvalue()


@pytest.fixture
def shards(photographs: list[Image.Image], tmp_path: Path) -> Path:
    """Two parts; in the first a picture that is cut off, one that is turned, and two in order."""
    good = jpeg(photographs[0].resize((96, 64)))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = io.BytesIO()
    photographs[1].resize((96, 64)).save(turned, "JPEG", exif=exif)
    pictures = {"a": good, "b": good[: len(good) // 2], "c": turned.getvalue(), "d": good}
    folder = tmp_path / "shards"
    folder.mkdir()
    for part, names in (("train", "abcd"), ("val", "ad")):
        with tarfile.open(folder / f"{part}-000.tar", "w") as tar:
            for number, name in enumerate(names):
                label = str(number % 2).encode()
                for ending, content in ((".jpg", pictures[name]), (".cls", label)):
                    member = tarfile.TarInfo(name + ending)
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    return folder


def test_members_are_named_with_their_tar(json_of_scan, shards: Path) -> None:
    found = json_of_scan(shards)
    assert found["images"] == 6
    (bad,) = found["bad"]
    assert bad["file"] == "train/b.jpg"
    assert bad["reason"].endswith("(in train-000.tar)")
    assert found["odd"] == [{"file": "train/c.jpg", "what": "EXIF orientation 6 (in train-000.tar)"}]


def test_training_leaves_out_what_the_list_names(json_of_scan, shards: Path, tmp_path: Path) -> None:
    json_of_scan(shards, "--write-list", tmp_path / "bad.txt")
    splits = open_data(shards, leave_out=LeaveOut.load(tmp_path / "bad.txt"))
    assert sorted(splits.train.names) == ["a.jpg", "c.jpg", "d.jpg"]
    assert len(splits.val) == 2


def test_a_damaged_tar_is_a_bad_file(json_of_scan, shards: Path) -> None:
    tar = shards / "val-000.tar"
    tar.write_bytes(tar.read_bytes()[:700])
    (_, bad) = json_of_scan(shards)["bad"]
    assert bad["file"] == "val-000.tar"


def test_arrays_are_read(json_of_scan, tmp_path: Path) -> None:
    folder = tmp_path / "raw" / "train" / "x"
    folder.mkdir(parents=True)
    np.save(folder / "good.npy", np.zeros((8, 9, 3), np.uint8))
    np.save(folder / "grey.npy", np.zeros((8, 9), np.uint8))
    whole = (folder / "good.npy").read_bytes()
    (folder / "short.npy").write_bytes(whole[:-1])
    found = json_of_scan(tmp_path / "raw")
    assert found["images"] == 3
    assert [one["file"] for one in found["bad"]] == ["train/x/grey.npy", "train/x/short.npy"]
