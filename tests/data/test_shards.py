"""WebDataset tars by the convention of the webdataset library: nothing is mistaken, nothing vanishes."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from alexnet_fast.data import DatasetFormat, ExcludeList, ShardFields, open_data, open_split
from alexnet_fast.data.class_map import ClassMap
from alexnet_fast.data.shard_fields import LISTED
from alexnet_fast.data.webdataset import read_shard
from alexnet_fast.errors import UserError
from archives import special
from shard_files import JPEG, Member, listed, samples, write_shard

NPY = io.BytesIO()
np.save(NPY, np.zeros((4, 4, 3), np.uint8))
BOM = b"\xef\xbb\xbf"


A, B, X = ("a.cls", b"0"), ("b.cls", b"1"), ("x.jpg", JPEG)
LONG = "k" * 150
# What stands in a shard, and the images with their labels.
READ: dict[str, tuple[list[Member], dict[str, str]]] = {
    "label first": ([A, ("a.jpg", JPEG), ("b.jpg", JPEG), B], {"a.jpg": "0", "b.jpg": "1"}),
    "a mask and a small copy": (
        [("a.seg.png", JPEG), ("a.jpg", JPEG), ("a.thumb.jpg", JPEG), A],
        {"a.jpg": "0"},
    ),
    "a coarser label": ([("a.coarse.cls", b"9"), ("a.jpg", JPEG), A], {"a.jpg": "0"}),
    "metadata of the camera": ([("a.exif.json", b'{"label": 5}'), ("a.jpg", JPEG), A], {"a.jpg": "0"}),
    "jpg and png": ([("a.png", JPEG), ("a.jpg", JPEG), A], {"a.jpg": "0"}),
    "capitals": ([("a.JPG", JPEG), ("a.CLS", b"0")], {"a.JPG": "0"}),
    "a folder with a dot": ([("v1.0/a.jpg", JPEG), ("v1.0/a.cls", b"0")], {"v1.0/a.jpg": "0"}),
    "one name in two folders": (
        [("x/a.jpg", JPEG), ("x/a.cls", b"0"), ("y/a.jpg", JPEG), ("y/a.cls", b"1")],
        {"x/a.jpg": "0", "y/a.jpg": "1"},
    ),
    "with ./ in front": ([("./a.jpg", JPEG), ("./a.cls", b"0")], {"a.jpg": "0"}),
    "from Windows": ([("d\\a.jpg", JPEG), ("d\\a.cls", b"0")], {"d/a.jpg": "0"}),
    "in the order of a file system": (
        [("a.jpg", JPEG), ("b.jpg", JPEG), B, A],
        {"a.jpg": "0", "b.jpg": "1"},
    ),
    "JSON with a name": ([("a.jpg", JPEG), ("a.json", b'{"label": "cat"}')], {"a.jpg": "cat"}),
    "JSON with a number as text": ([("a.jpg", JPEG), ("a.json", b'{"cls": " 3 "}')], {"a.jpg": "3"}),
    "JSON that is no label, beside one": ([("a.jpg", JPEG), ("a.json", b"{}"), A], {"a.jpg": "0"}),
    "JSON that is none, beside a label": ([("a.jpg", JPEG), ("a.json", b"{"), A], {"a.jpg": "0"}),
    "blanks, a mark and an end of line": ([("a.jpg", JPEG), ("a.cls", BOM + b" 7\r\n")], {"a.jpg": "7"}),
    "a name in another alphabet": ([("a.jpg", JPEG), ("a.cls", "猫".encode())], {"a.jpg": "猫"}),
    "ten digits": ([("a.jpg", JPEG), ("a.cls", b"9999999999")], {"a.jpg": "9999999999"}),
    "a name of 150 letters": ([(f"{LONG}.jpg", JPEG), (f"{LONG}.cls", b"0")], {f"{LONG}.jpg": "0"}),
    "bytes that are not UTF-8": ([("\udce9.jpg", JPEG), ("\udce9.cls", b"0")], {"\udce9.jpg": "0"}),
    "an array": ([("a.npy", NPY.getvalue()), A], {"a.npy": "0"}),
}  # fmt: skip
# What stands in a shard, and what is said of it.
REFUSED: dict[str, tuple[list[Member], str]] = {
    "a key twice": ([*samples("01"), *samples("0")], "sample 0000 in .* has jpg twice"),
    "a sample twice in a row": ([*samples("0"), *samples("0")], "sample 0000 in .* has jpg twice"),
    "a key that comes back with another image": (
        [*samples("0"), *samples("1", first=1), ("0000.png", JPEG), ("0000.json", b'{"cls": 1}')],
        "sample 0000 in .* comes back, with jpg and png; a key may stand once",
    ),
    "a field in two cases": ([("a.jpg", JPEG), ("a.JPG", JPEG), A], "sample a in .* has jpg twice"),
    "no label": ([*samples(), X], r"sample x in .* has no label \(it has jpg\); each needs"),
    "no image": ([*samples(), ("x.cls", b"0")], r"sample x in .* has no image \(it has cls\)"),
    "another kind of label": (
        [X, ("x.txt", b"cat")],
        r"sample x in .* has no label \(it has jpg, txt\); .*label-key choose",
    ),
    "an image that is a link": (
        [("x.jpg", special("x.jpg", tarfile.LNKTYPE, "y.jpg")), ("x.cls", b"0")],
        r"sample x in .* has no image \(it has cls; x.jpg is a link inside an archive\)",
    ),
    "null": ([X, ("x.json", b'{"label": null}')], "x.json in .* holds 'null', which is no"),
    "an object": ([X, ("x.json", b'{"cls": {"id": 3}}')], "x.json in .* holds .*id.*, which is no"),
    "a list": ([X, ("x.json", b'{"cls": [3]}')], "x.json in .* holds '.3.', which is no"),
    "a truth": ([X, ("x.json", b'{"label": true}')], "x.json in .* holds 'true', which is no"),
    "a negative number": ([X, ("x.json", b'{"label": -1}')], "x.json in .* holds '-1', which is"),
    "a fraction": ([X, ("x.json", b'{"label": 3.0}')], "x.json in .* holds '3.0', which is no"),
    "a negative text": ([X, ("x.cls", b"-1")], "x.cls in .* holds '-1', which is no"),
    "a fraction as text": ([X, ("x.cls", b"2.5")], "x.cls in .* holds '2.5', which is no"),
    "null as text": ([X, ("x.cls", b"null")], "x.cls in .* holds 'null', which is no"),
    "an object as text": ([X, ("x.cls", b'{"a": 1}')], "x.cls in .* holds .*which is no label"),
    "two lines": ([X, ("x.cls", b"3\n4\n")], "x.cls in .* holds .*which is no label"),
    "nothing": ([X, ("x.cls", b"")], "x.cls in .*: '' cannot be a class"),
    "a way out": ([X, ("x.cls", b"../up")], "x.cls in .*: '../up' cannot be a class"),
    "much too long": ([X, ("x.cls", bytes(2000))], "x.cls in .* is too long for a label"),
    "not UTF-8": ([X, ("x.cls", b"caf\xe9")], "x.cls in .* is not a text in UTF-8"),
    "JSON that is none": ([X, ("x.json", b"{")], "x.json in .* is not JSON"),
    "JSON without end": ([X, ("x.json", b"[" * 100_000)], "x.json in .* is not JSON"),
    "arrays beside images": ([A, ("a.jpg", JPEG), B, ("b.npy", NPY.getvalue())], "tar holds an array, b.npy"),
    "no sample at all": ([("readme.txt", b"hello")], "hold no sample: 1 neither the image nor the label"),
}  # fmt: skip


@pytest.mark.parametrize("kind", READ)
def test_the_image_and_the_label_of_a_sample(tmp_path: Path, kind: str) -> None:
    members, expected = READ[kind]
    assert listed(tmp_path, members) == expected


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_wrong_is_named_with_shard_and_key(tmp_path: Path, kind: str) -> None:
    members, said = REFUSED[kind]
    with pytest.raises(UserError, match=said):
        listed(tmp_path, members)


def test_several_wrong_samples_are_counted(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"sample a in .*; 2 more like it: alexnet-fast scan '.*' names all"):
        listed(tmp_path, [("a.jpg", JPEG), ("b.jpg", JPEG), ("c.cls", b"1")])


class TestChosenFields:
    """`--image-key` and `--label-key`."""

    MEMBERS = (
        ("a.jpg", JPEG),
        ("a.seg.png", JPEG),
        ("a.cls", b"0"),
        ("a.coarse.txt", b"animal"),
        ("a.meta.json", b'{"label": "cat"}'),
    )

    @pytest.mark.parametrize(
        ("image", "label", "expected"),
        [
            (None, None, {"a.jpg": "0"}),
            ("seg.png", None, {"a.seg.png": "0"}),
            (".SEG.PNG", "cls", {"a.seg.png": "0"}),
            ("webp;jpg", "coarse.txt", {"a.jpg": "animal"}),
            (None, "meta.json", {"a.jpg": "cat"}),
            (None, "json ; meta.json", {"a.jpg": "cat"}),
        ],
    )
    def test_choose(
        self, tmp_path: Path, image: str | None, label: str | None, expected: dict[str, str]
    ) -> None:
        assert listed(tmp_path, list(self.MEMBERS), ShardFields.from_options(image, label)) == expected

    @pytest.mark.parametrize("given", ["", " ", "jpg;", "a/jpg", "."])
    def test_must_name_a_field(self, given: str) -> None:
        with pytest.raises(
            UserError, match="--image-key .* is no field of a sample; give what stands behind"
        ):
            ShardFields.from_options(given, None)

    def test_that_no_sample_has(self, tmp_path: Path) -> None:
        with pytest.raises(
            UserError, match="sample a in .* has no image .*it has cls, coarse.txt, jpg, meta.json"
        ):
            listed(tmp_path, list(self.MEMBERS), ShardFields.from_options("depth.png", None))

    def test_are_part_of_a_kept_list(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A list that was kept under other keys is not taken."""
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setattr("alexnet_fast.data.index_cache.WORTH_KEEPING", 1)
        monkeypatch.setattr("alexnet_fast.data.index_cache._TICK_NS", 0)
        members = [(f"{key}.{rest}", data) for key in "abcd" for rest, data in (
            ("jpg", JPEG), ("seg.png", JPEG), ("cls", b"0" if key in "ab" else b"1"))]  # fmt: skip
        for part in ("train", "val"):
            write_shard(tmp_path / "data" / f"{part}-0.tar", members)
        masks = DatasetFormat(fields=ShardFields.from_options("seg.png", None))
        for _ in range(2):
            assert open_data(tmp_path / "data").train.names[0] == "a.jpg"
            assert open_data(tmp_path / "data", dataset_format=masks).train.names[0] == "a.seg.png"
        assert len(list((tmp_path / "cache" / "alexnet-fast" / "lists").iterdir())) == 4


JUNK: list[Member] = [
    ("folder", special("folder", tarfile.DIRTYPE)),
    ("._0000.jpg", b"Mac OS X"),
    ("__MACOSX/0000.jpg", b"Mac OS X"),
    (".DS_Store", b"Bud1"),
    ("@eaDir/0000.jpg", JPEG),
    (".git/0000.jpg", JPEG),
    ("nodot", b"x"),
    ("0000", b"x"),
    ("endsindot.", b"x"),
    ("soft.jpg", special("soft.jpg", tarfile.SYMTYPE, "0000.jpg")),
    ("hard.jpg", special("hard.jpg", tarfile.LNKTYPE, "0000.jpg")),
    ("pipe.jpg", special("pipe.jpg", tarfile.FIFOTYPE)),
    ("device.jpg", special("device.jpg", tarfile.CHRTYPE)),
    ("readme.md", b"hello"),
    ("q.heic", b"hello"),
    ("0000.heic", b"hello"),
    ("0001.txt", b"hello"),
]
BROKEN: list[Member] = [
    ("x.jpg", JPEG),
    ("y.cls", b"1"),
    ("0001.jpg", JPEG),
    ("z.jpg", JPEG),
    ("z.cls", b"-1"),
]


@pytest.mark.parametrize("members", [JUNK, BROKEN, [*JUNK, *BROKEN]], ids=["junk", "broken", "both"])
@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_every_member_is_listed_or_named(tmp_path: Path, members: list[Member], form: int) -> None:
    tar = write_shard(tmp_path / "a.tar", [*samples(), *members], format=form)
    with tarfile.open(tar) as archive:
        names = archive.getnames()
    found = read_shard(tar, LISTED)
    assert found.members == len(names)
    assert len(found.samples) == found.labels == 4
    assert len({ignored.name for ignored in found.ignored} - set(names)) == 0
    assert all(ignored.reason for ignored in found.ignored)
    if members is JUNK:
        assert found.other == {"heic": 1, "txt": 1}
        assert not found.problems


def test_training_counts_what_it_does_not_use(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for part in ("train", "val"):
        write_shard(tmp_path / f"{part}-0.tar", [*samples(), *JUNK])
    assert len(open_data(tmp_path).train) == 4
    said = [line for line in caplog.messages if line.startswith(f"ignored in {tmp_path}: ")]
    assert len(said) == 1
    assert "4 a link inside an archive" in said[0]
    assert "for other reasons" in said[0]


@pytest.mark.parametrize("below", [("", ""), ("train", "val")])
def test_files_beside_tars_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, below: tuple[str, str]
) -> None:
    for part, directory in zip(("train", "val"), below, strict=True):
        write_shard(tmp_path / directory / f"{part}-0.tar", samples())
    for name in ("loose.jpg", "._train-0.tar", "readme.md", "train-0.idx", "train-0.npz"):
        (tmp_path / below[0] / name).touch()
    assert len(open_data(tmp_path).train) == 4
    (said,) = [line for line in caplog.messages if line.startswith("ignored in")]
    assert "1 .md, not an image, 1 hidden, of macOS (._), 1 images beside tars; alexnet-fast scan" in said


def test_shards_of_several_parts_as_one_part_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for part in ("train", "val"):
        write_shard(tmp_path / f"{part}-0.tar", samples())
    assert len(open_split(tmp_path, "all", ClassMap(("0", "1")))) == 8
    assert any("has shards of train and val, and all of them are read as one" in m for m in caplog.messages)


def test_an_empty_tar_beside_others_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, members in (("train-0", samples()), ("train-1", []), ("val-0", samples())):
        write_shard(tmp_path / f"{name}.tar", members)
    assert len(open_data(tmp_path).train) == 4
    assert f"{tmp_path / 'train-1.tar'} holds no sample" in caplog.messages


class TestNamesInSeveralShards:
    """Keys begin at 0 in every shard of many writers."""

    @pytest.fixture
    def data(self, tmp_path: Path) -> Path:
        for shard, labels in (("train-0", "0101"), ("train-1", "1111"), ("val-0", "01")):
            write_shard(tmp_path / "data" / f"{shard}.tar", samples(labels))
        write_shard(tmp_path / "data" / "train-2.tar", samples("0", first=9))
        return tmp_path / "data"

    def test_are_told_apart(self, data: Path) -> None:
        train = open_data(data).train
        assert len(train) == len(set(train.names)) == 9
        assert {"train-0/0000.jpg", "train-1/0000.jpg", "0009.jpg"} <= set(train.names)

    def test_can_be_left_out_one_by_one(self, data: Path, tmp_path: Path) -> None:
        (tmp_path / "bad.txt").write_text("train/train-1/0000.jpg\n")
        kept = open_data(data, exclude=ExcludeList.load(tmp_path / "bad.txt")).train
        assert len(kept) == 8
        assert "train-0/0000.jpg" in kept.names

    def test_keep_their_side_of_a_split(self, tmp_path: Path) -> None:
        """The shard in front of a name moves no image when the second shard comes."""
        write_shard(tmp_path / "a.tar", samples("01" * 40))
        before = {
            name: name in open_data(tmp_path, val_fraction=0.3).val.names for name in ("0000.jpg", "0003.jpg")
        }
        write_shard(tmp_path / "b.tar", samples("01" * 40))
        after = open_data(tmp_path, val_fraction=0.3).val.names
        assert before == {name: f"a/{name}" in after for name in before}
