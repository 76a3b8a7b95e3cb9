"""CSV files, tars, zips and WebDataset shards, friendly and hostile."""

from __future__ import annotations

import io
import os
import re
import tarfile
import warnings
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from alexnet_fast.data.entries import Ignored
from alexnet_fast.data.layouts.detect import DatasetFormat
from alexnet_fast.data.shard_fields import ShardFields
from alexnet_fast.data.webdataset import read_shard
from alexnet_fast.errors import UserError
from alexnet_fast.prepare.job import output_names
from alexnet_fast.prepare.sources import open_source
from archives import odd_zip, packed_tar, packed_zip, special

JPEG = io.BytesIO()
Image.new("RGB", (40, 30), (200, 100, 50)).save(JPEG, "JPEG")
CONTENT = JPEG.getvalue()


def write_tar(path: Path, members: dict[str, bytes | tarfile.TarInfo], mode: str = "w") -> Path:
    """Writes an archive of files, or of what a TarInfo says."""
    path.write_bytes(packed_tar(members, mode))
    return path


def names(source: Path) -> list[str]:
    """Returns the names of a source's images."""
    return [image.name for image in open_source(source).images]


def test_all_forms_of_one_source_give_one_output(json_of_prepare, many_kinds: Path, tmp_path: Path) -> None:
    files = [f for f in sorted(many_kinds.rglob("*")) if f.is_file()]
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(many_kinds, arcname="./top")
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        for file in files:
            zipped.write(file, file.relative_to(many_kinds))
    rows = ["file,class,split"]
    for file in files:
        part, label, *_ = file.relative_to(many_kinds).parts
        base = many_kinds / part
        # Relative to the CSV, which stands elsewhere.
        rows.append(f"{os.path.relpath(file, tmp_path)},{label},{part}")
        assert base.is_dir()
    (tmp_path / "list.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    results = {
        kind: json_of_prepare(source, tmp_path / f"out-{kind}", "--size", 48)
        for kind, source in {
            "folder": many_kinds,
            "tar": tmp_path / "a.tar",
            "zip": tmp_path / "a.zip",
            "csv": tmp_path / "list.csv",
        }.items()
    }
    assert results["tar"]["fingerprint"] == results["folder"]["fingerprint"]
    assert results["zip"]["fingerprint"] == results["folder"]["fingerprint"]
    for key in ("mean", "pca", "counts", "classes", "images"):
        assert results["csv"][key] == results["folder"][key]
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(
        ["a.tar", "a.zip", "list.csv", "out-folder", "out-tar", "out-zip", "out-csv"]
    )


def test_webdataset_shards(json_of_prepare, tmp_path: Path) -> None:
    for part, keys in (("train", range(12)), ("val", range(12, 15))):
        members: dict[str, bytes | tarfile.TarInfo] = {}
        for key in keys:
            members[f"{key:04d}.jpg"] = CONTENT
            members[f"{key:04d}.cls"] = b"%d\n" % (key % 11)
        write_tar(tmp_path / f"{part}-0000.tar", members)
    result = json_of_prepare(tmp_path, tmp_path.parent / "shards-out", "--size", 16)
    assert result["classes"] == [f"{label:02d}" for label in range(11)]
    assert result["counts"]["train"]["00"] == 2
    assert sum(result["counts"]["val"].values()) == 3
    named = write_tar(
        tmp_path / "one.tar", {"x.jpg": CONTENT, "x.cls": b"cat", "y.jpg": CONTENT, "y.cls": b"dog"}
    )
    assert names(named) == ["cat/x.jpg", "dog/y.jpg"]


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"x.jpg": CONTENT, "y.jpg": CONTENT, "y.cls": b"1"}, "sample x in .* has no label"),
        ({"x.cls": b"1"}, "sample x in .* has no image"),
        ({"x.jpg": CONTENT, "x.cls": b"../up"}, "cannot be a class"),
        ({"x.jpg": CONTENT, "x.cls": bytes(2000)}, "too long for a label"),
        ({"a/x.jpg": CONTENT, "../../evil.jpg": CONTENT}, "'../../evil.jpg', a name that leads out"),
        ({"/etc/evil.jpg": CONTENT}, "a name that leads out"),
        ({"a/..\\..\\evil.jpg": CONTENT}, "a name that leads out"),
        ({"notes.txt": b"nothing"}, "no labelled images"),
    ],
)
def test_a_tar_that_is_wrong_is_refused(tmp_path: Path, members: dict[str, bytes], said: str) -> None:
    with pytest.raises(UserError, match=said):
        open_source(write_tar(tmp_path / "wrong.tar", dict(members)))


def test_a_tar_that_cannot_be_read(tmp_path: Path) -> None:
    """A link to itself: what may not be read is no different, but the tests may run as root."""
    shard = tmp_path / "shards" / "train-0.tar"
    shard.parent.mkdir()
    shard.symlink_to(shard)
    with pytest.raises(UserError, match="cannot read .*train-0.tar: too many levels of symbolic links"):
        read_shard(shard, {".jpg"})


def test_links_in_a_tar_are_bad_images(json_of_prepare, tmp_path: Path) -> None:
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(CONTENT)
    source = write_tar(
        tmp_path / "links.tar",
        {
            "a/good.jpg": CONTENT,
            "b/fine.jpg": CONTENT,
            "b/more.jpg": CONTENT,
            "b/soft.jpg": special("b/soft.jpg", tarfile.SYMTYPE, str(secret)),
            "b/hard.jpg": special("b/hard.jpg", tarfile.LNKTYPE, "../secret.jpg"),
            "b/empty.jpg": b"",
        },
    )
    result = json_of_prepare(source, tmp_path / "out", "--on-bad-image", "skip", "--size", 16)
    assert result["images"] == 3
    assert {row["file"]: row["reason"] for row in result["skipped"]} == {
        "b/soft.jpg": "a link inside an archive",
        "b/hard.jpg": "a link inside an archive",
        "b/empty.jpg": "empty file",
    }


def test_a_zip_that_is_wrong(tmp_path: Path, json_of_prepare) -> None:
    evil = tmp_path / "evil.zip"
    with zipfile.ZipFile(evil, "w") as archive:
        archive.writestr("a/../../evil.jpg", CONTENT)
    with pytest.raises(UserError, match="a name that leads out"):
        open_source(evil)
    (tmp_path / "not.zip").write_bytes(b"PK not a zip")
    with pytest.raises(UserError, match="is not a zip"):
        open_source(tmp_path / "not.zip")
    broken = tmp_path / "broken.zip"
    soft = zipfile.ZipInfo("a/link.jpg")
    soft.external_attr = 0o120777 << 16
    with zipfile.ZipFile(broken, "w") as archive:
        archive.writestr("a/good.jpg", CONTENT)
        archive.writestr("b/damaged.jpg", CONTENT)
        archive.writestr("a/more.jpg", CONTENT)
        archive.writestr("b/fine.jpg", CONTENT)
        archive.writestr(soft, "/etc/passwd")
    content = bytearray(broken.read_bytes())
    at = content.index(CONTENT, content.index(CONTENT) + 1)
    content[at + 40] ^= 255
    broken.write_bytes(content)
    result = json_of_prepare(broken, tmp_path / "out", "--on-bad-image", "skip", "--size", 16)
    reasons = {row["file"]: row["reason"] for row in result["skipped"]}
    assert reasons["a/link.jpg"] == "a link inside an archive"
    assert "CRC" in reasons["b/damaged.jpg"]


def test_zips_that_python_cannot_read(tmp_path: Path, prepare) -> None:
    """With "skip" each image is named, and nothing is left that could be trained on."""
    source = tmp_path / "odd.zip"
    for values, said in (
        ({"flags": 1}, "encrypted"),
        ({"method": 9}, "packed in a way that is not known here .*compression.*: pack the zip anew"),
    ):
        names = ("a/x.jpg", "a/z.jpg", "b/y.jpg")
        source.write_bytes(odd_zip(dict.fromkeys(names, CONTENT), **values))
        done = prepare(source, tmp_path / "out", "--on-bad-image", "skip", "--size", 16)
        assert done.returncode == 1
        assert all(re.search(f"left out {name}: {said}", done.stderr) for name in names)
        assert "has no images of class a, b: all of them were left out" in done.stderr
    source.write_bytes(odd_zip({"a/x.jpg": CONTENT}, version=99))
    with pytest.raises(UserError, match="not known here .*version 9.9.*; pack it anew with deflate"):
        open_source(source)


PACKED = (
    ("a.tar.gz", "w:gz"),
    ("a.tgz", "w:gz"),
    ("A.TAR.BZ2", "w:bz2"),
    ("a.tar.xz", "w:xz"),
    ("a.tar", "w:gz"),
)


@pytest.mark.parametrize(("name", "mode"), PACKED)
def test_a_compressed_tar_is_unpacked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, mode: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    packed = write_tar(tmp_path / name, {"a/x.jpg": CONTENT, "b/y.jpg": CONTENT}, mode)
    assert names(packed) == names(packed) == ["a/x.jpg", "b/y.jpg"]
    (plain,) = (tmp_path / "cache" / "alexnet-fast" / "tars").rglob("*.tar")
    assert {Path(image.location.path) for image in open_source(packed).images} == {plain}
    assert open_source(packed).images[0].location.size == len(CONTENT)


def test_compressed_shards_are_read_with_their_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    sample = {"0.jpg": CONTENT, "0.cls": b"cat", "1.jpg": CONTENT, "1.cls": b"dog"}
    (tmp_path / "data" / "Training").mkdir(parents=True)
    (tmp_path / "data" / "valid").mkdir()
    write_tar(tmp_path / "data" / "Training" / "a.tar.gz", sample, "w:gz")
    write_tar(tmp_path / "data" / "Training" / "b.tar", sample)
    write_tar(tmp_path / "data" / "valid" / "c.tgz", sample, "w:gz")
    assert names(tmp_path / "data") == [
        "train/cat/a/0.jpg",
        "train/cat/b/0.jpg",
        "train/dog/a/1.jpg",
        "train/dog/b/1.jpg",
        "val/cat/0.jpg",
        "val/dog/1.jpg",
    ]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.tar.zst", b"(\xb5/\xfd" + bytes(40), "compressed in a way that is not read here .*unzstd"),
        pytest.param(
            "a.tar.gz",
            packed_tar({"a/x.jpg": CONTENT})[:100],
            "a.tar.gz is damaged, or was cut off",
            id="cut",
        ),
        ("a.tar.xz", b"\xfd7zXZ\x00" + bytes(40), "a.tar.xz is damaged, or was cut off"),
        ("a.tar.gz", b"no tar", "compressed in a way that is not read here"),
    ],
)
def test_compressed_tars_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, said: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=said):
        open_source(tmp_path / name)
    assert not list((tmp_path / "cache").rglob("*.tar"))


def test_a_compressed_tar_may_not_hold_more_than_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bomb = write_tar(tmp_path / "a.tar.gz", {"a/x.jpg": bytes(5 << 20)}, "w:gz")
    with pytest.raises(UserError, match="holds more than 0.00390625 GiB; give a larger --max-download"):
        open_source(bomb, most_unpacked=4 << 20)


JUNK = (
    "__MACOSX/cat/._x.jpg",
    "cat/._x.jpg",
    "cat/.DS_Store",
    "@eaDir/cat/x.jpg",
    "cat/notes.txt",
    "readme.md",
    "cat/x.heic",
    "cat/noending",
    "loose.jpg",
)


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_every_member_of_an_archive_is_listed_or_named(tmp_path: Path, kind: str) -> None:
    found = ["cat/x.jpg", "dog/y.jpg", *JUNK, "cat/x.jpg"]
    path = tmp_path / f"a.{kind}"
    if kind == "tar":
        with tarfile.open(path, "w") as tar:
            for name in found:
                member = tarfile.TarInfo(name)
                member.size = len(CONTENT)
                tar.addfile(member, io.BytesIO(CONTENT))
    else:
        with zipfile.ZipFile(path, "w") as zipped, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name in found:
                zipped.writestr(name, CONTENT)
    ignored = Ignored(names=True)
    images = open_source(path, ignored=ignored).images
    assert [image.name for image in images] == ["cat/x.jpg", "dog/y.jpg"]
    assert len(images) + len(ignored) == len(found)
    assert {name for name, _ in ignored.entries} == {*JUNK, "cat/x.jpg"}
    assert all(reason for _, reason in ignored.entries)


def test_every_member_of_a_shard_is_an_image_a_label_or_named(tmp_path: Path) -> None:
    members = {"0.jpg": CONTENT, "0.cls": b"1", "0.seg.png": CONTENT, "._0.jpg": b"x", "read.me": b"x"}
    shard = write_tar(tmp_path / "a.tar", members)
    ignored = Ignored(names=True)
    assert len(open_source(shard, ignored=ignored).images) == 1
    assert ignored.counts.total() == 3
    masks = DatasetFormat(fields=ShardFields.from_options("seg.png", None))
    assert [image.rest for image in open_source(shard, masks).images] == ["0.seg.png"]


def test_a_shard_with_its_labels_in_json_is_known_by_them(tmp_path: Path) -> None:
    labelled = {"0.jpg": CONTENT, "0.json": b'{"label": "cat"}'}
    assert names(write_tar(tmp_path / "a.tar", labelled)) == ["cat/0.jpg"]
    beside = {"cat/0.jpg": CONTENT, "cat/0.json": b'{"camera": "x"}'}
    assert names(write_tar(tmp_path / "b.tar", beside)) == ["cat/0.jpg"]


def test_names_in_a_zip_are_utf8_where_they_can_be(tmp_path: Path) -> None:
    """macOS writes UTF-8 without the flag that says so."""
    content = packed_zip({"katze_/a.jpg": CONTENT, "hund__/b.jpg": CONTENT})
    (tmp_path / "a.zip").write_bytes(content.replace(b"katze_", "k\u00e4tze".encode()))
    assert names(tmp_path / "a.zip") == ["hund__/b.jpg", "k\u00e4tze/a.jpg"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name,class\nx.jpg,a\n", "has no column file; its first line must be file,class"),
        ("file,class\nx.jpg\n", "line 2: '' cannot be a class"),
        ("file,class\nx.jpg,../up\n", "line 2: '../up' cannot be a class"),
        ("file,class\n,a\n", "line 2 has no file"),
        ("file,class,split\nx.jpg,a,training\n", "line 2: 'training' is no split"),
        ("file,class,part\nx.jpg,a,train\n", "has a column 'part'; call it split"),
        ("file,class\nx.jpg,a\nx.jpg,a\n", "lists a/x.jpg twice"),
        ("file,class\n", "no labelled images"),
        ("", "has no column file"),
    ],
)
def test_a_csv_that_is_wrong_names_its_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "list.csv").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=said):
        open_source(tmp_path / "list.csv")


def test_a_csv_may_lead_anywhere_but_the_output_stays_inside(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(
        "file,class\n../../x.jpg,a\n/abs/y.jpg,b\na/z.jpg,a\n", encoding="utf-8"
    )
    assert names(tmp_path / "list.csv") == ["a/x.jpg", "a/z.jpg", "b/abs/y.jpg"]


def test_names_are_distinct_and_keep_what_they_can() -> None:
    given = ["c/a.JPG", "c/a.jpg", "c/a.png", "c/a.png.jpg", "c/b.webp", "c/d.bmp", "c/d.tif", "c/no"]
    made = output_names(given, ".jpg")
    assert made == [
        "c/a.JPG.jpg",
        "c/a.jpg",
        "c/a.png-2.jpg",
        "c/a.png.jpg",
        "c/b.jpg",
        "c/d.bmp.jpg",
        "c/d.tif.jpg",
        "c/no.jpg",
    ]
    assert len(set(made)) == len(made)


@pytest.mark.parametrize("below", ["", "train"])
def test_files_beside_shards_are_counted(tmp_path: Path, below: str) -> None:
    directory = tmp_path / "data" / below
    directory.mkdir(parents=True)
    write_tar(directory / "train-0.tar", {"0.jpg": CONTENT, "0.cls": b"1"})
    (directory / "loose.jpg").write_bytes(CONTENT)
    (directory / "._train-0.tar").touch()
    ignored = Ignored()
    assert len(open_source(tmp_path / "data", ignored=ignored).images) == 1
    assert ignored.counts == {"images beside tars": 1, "hidden, of macOS (._)": 1}
