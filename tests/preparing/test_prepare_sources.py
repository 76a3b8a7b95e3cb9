"""CSV files, tars, zips and WebDataset shards, friendly and hostile."""

from __future__ import annotations

import io
import os
import re
import tarfile
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from alexnet_fast.data.tar_samples import tar_samples
from alexnet_fast.errors import UserError
from alexnet_fast.preparing.naming import output_names
from alexnet_fast.preparing.sources import open_source
from archives import odd_zip, packed_tar, special

JPEG = io.BytesIO()
Image.new("RGB", (40, 30), (200, 100, 50)).save(JPEG, "JPEG")
CONTENT = JPEG.getvalue()


def write_tar(path: Path, members: dict[str, bytes | tarfile.TarInfo], mode: str = "w") -> Path:
    """Writes an archive of files, or of what a TarInfo says."""
    path.write_bytes(packed_tar(members, mode))
    return path


def names(source: Path) -> list[str]:
    """Returns the names of a source's pictures."""
    return [picture.name for picture in open_source(source).pictures]


def test_all_forms_of_one_source_give_one_output(json_of_prepare, many_kinds: Path, tmp_path: Path) -> None:
    files = [f for f in sorted(many_kinds.rglob("*")) if f.is_file()]
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(many_kinds, arcname="./top")
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        for file in files:
            zipped.write(file, file.relative_to(many_kinds))
    rows = ["file,class,part"]
    for file in files:
        part, label, *_ = file.relative_to(many_kinds).parts
        base = many_kinds / part
        # Relative to the CSV, which stands elsewhere.
        rows.append(f"{os.path.relpath(file, tmp_path)},{label},{part}")
        assert base.is_dir()
    (tmp_path / "list.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    results = {
        kind: json_of_prepare(source, tmp_path / f"out-{kind}", "--short", 48)
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
    result = json_of_prepare(tmp_path, tmp_path.parent / "shards-out", "--short", 16)
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
        ({"x.jpg": CONTENT, "y.jpg": CONTENT, "y.cls": b"1"}, "sample x in .* has no class"),
        ({"x.cls": b"1"}, "sample x in .* has no picture"),
        ({"x.jpg": CONTENT, "x.cls": b"../up"}, "cannot be a class"),
        ({"x.jpg": CONTENT, "x.cls": bytes(2000)}, "too long for a class"),
        ({"a/x.jpg": CONTENT, "../../evil.jpg": CONTENT}, "'../../evil.jpg', a name that leads out"),
        ({"/etc/evil.jpg": CONTENT}, "a name that leads out"),
        ({"a/..\\..\\evil.jpg": CONTENT}, "a name that leads out"),
        ({"notes.txt": b"nothing"}, "no labelled pictures"),
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
        list(tar_samples(shard, {".jpg"}))


def test_links_in_a_tar_are_bad_pictures(json_of_prepare, tmp_path: Path) -> None:
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(CONTENT)
    source = write_tar(
        tmp_path / "links.tar",
        {
            "a/good.jpg": CONTENT,
            "b/soft.jpg": special("b/soft.jpg", tarfile.SYMTYPE, str(secret)),
            "b/hard.jpg": special("b/hard.jpg", tarfile.LNKTYPE, "../secret.jpg"),
            "b/empty.jpg": b"",
        },
    )
    result = json_of_prepare(source, tmp_path / "out", "--on-bad-image", "skip", "--short", 16)
    assert result["images"] == 1
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
        archive.writestr(soft, "/etc/passwd")
    content = bytearray(broken.read_bytes())
    at = content.index(CONTENT, content.index(CONTENT) + 1)
    content[at + 40] ^= 255
    broken.write_bytes(content)
    result = json_of_prepare(broken, tmp_path / "out", "--on-bad-image", "skip", "--short", 16)
    reasons = {row["file"]: row["reason"] for row in result["skipped"]}
    assert reasons["a/link.jpg"] == "a link inside an archive"
    assert "CRC" in reasons["b/damaged.jpg"]


def test_zips_that_python_cannot_read(tmp_path: Path, json_of_prepare) -> None:
    source = tmp_path / "odd.zip"
    for values, said in (
        ({"flags": 1}, "encrypted"),
        ({"method": 9}, "packed in a way that is not known here .*compression.*: pack the zip anew"),
    ):
        source.write_bytes(odd_zip({"a/x.jpg": CONTENT, "b/y.jpg": CONTENT}, **values))
        result = json_of_prepare(source, tmp_path / "out", "--on-bad-image", "skip", "--short", 16)
        assert len(result["skipped"]) == 2
        assert all(re.match(said, row["reason"]) for row in result["skipped"])
    source.write_bytes(odd_zip({"a/x.jpg": CONTENT}, version=99))
    with pytest.raises(UserError, match="not known here .*version 9.9.*; pack it anew with deflate"):
        open_source(source)


def test_compressed_and_cut_off_tars(tmp_path: Path) -> None:
    packed = write_tar(tmp_path / "a.tar.gz", {"a/x.jpg": CONTENT}, "w:gz")
    with pytest.raises(UserError, match="unpack it first"):
        open_source(packed)
    packed.rename(tmp_path / "b.tar")
    with pytest.raises(UserError, match="is not an uncompressed tar"):
        open_source(tmp_path / "b.tar")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name,class\nx.jpg,a\n", "has no column file; its first line must be file,class"),
        ("file,class\nx.jpg\n", "line 2: '' cannot be a class"),
        ("file,class\nx.jpg,../up\n", "line 2: '../up' cannot be a class"),
        ("file,class\n,a\n", "line 2 has no file"),
        ("file,class,part\nx.jpg,a,training\n", "line 2: 'training' is no part"),
        ("file,class\nx.jpg,a\nx.jpg,a\n", "lists a/x.jpg twice"),
        ("file,class\n", "no labelled pictures"),
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
