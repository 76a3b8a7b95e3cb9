"""Lists of names: whatever wrote one, its lines mean images or are counted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from alexnet_fast.data import ExcludeList, open_data, open_split
from alexnet_fast.data.name_lists import read_lines, readings, unquoted, written_name
from alexnet_fast.errors import UserError
from alexnet_fast.scan.scan import ScanReport

NAMES = [
    "plain.jpg",
    "a b.jpg",
    " blank in front.jpg",
    "blank behind.jpg ",
    "new\nline.jpg",
    "carriage\rreturn.jpg",
    "ends in cr.jpg\r",
    "tab\t.jpg",
    "back\\slash.jpg",
    "back\\nslash.jpg",
    '"quoted".jpg',
    '"',
    'mid"quote.jpg',
    "\ufeffbom.jpg",
    "\x1bescape\x7f.jpg",
    "ü.jpg",
    "\u2028line separator.jpg",
    "#hash.jpg",
    "😀.jpg",
    os.fsdecode(b"latin\xe9.jpg"),
    os.fsdecode(b"both\xe9\n.jpg"),
]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """train/ and val/ of two classes; the working directory is the folder above."""
    monkeypatch.chdir(tmp_path)
    for part in ("train", "val"):
        for kind in ("cat", "dog"):
            (tmp_path / "data" / part / kind).mkdir(parents=True)
            for number in range(5):
                (tmp_path / "data" / part / kind / f"{number}.jpg").touch()
    return Path("data")


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_was_written_is_read_again(name: str) -> None:
    line = written_name(name)
    assert "\n" not in line
    assert "\r" not in line
    (again,) = read_lines(os.fsencode(f"{line}\n"))
    assert next(readings(again, Path())) == name


def test_plain_names_are_written_as_they_are() -> None:
    """Lists of earlier versions, and those of other programs, are read as before."""
    for name in ("train/c 0/a.jpg", "ü.jpg", "back\\slash.jpg", 'mid"quote.jpg'):
        assert written_name(name) == name
        assert unquoted(name) is None


def test_what_scan_writes_leaves_out_what_scan_named(data: Path) -> None:
    names = [name for name in NAMES if name.endswith(".jpg")]
    for name in names:
        (data / "train" / "cat" / name).touch()
    bad = tuple((f"train/cat/{name}", "not an image") for name in names)
    ScanReport(images=0, bad=bad, warnings=()).write_exclude_list(Path("bad.txt"))
    splits = open_data(data, exclude=ExcludeList.load(Path("bad.txt")))
    assert list(splits.train.names) == [f"{kind}/{n}.jpg" for kind in ("cat", "dog") for n in range(5)]


@pytest.mark.parametrize(
    "line",
    [
        "train/cat/0.jpg",
        "./train/cat/0.jpg",
        "train//cat/./0.jpg",
        "train\\cat\\0.jpg",
        ".\\train\\cat\\0.jpg",
        "data/train/cat/0.jpg",
        "./data/train/cat/0.jpg",
        "ABSOLUTE/train/cat/0.jpg",
        "train/cat/0.jpg  ",
        "\ttrain/cat/0.jpg",
        '"train/cat/0.jpg"',
        "link/train/cat/0.jpg",
        "train/dog/../cat/0.jpg",
    ],
)
@pytest.mark.parametrize("form", ["{}\n", "{}", "\ufeff{}\r\n", "{}\0"])
def test_a_line_is_understood_as_it_was_meant(data: Path, line: str, form: str) -> None:
    Path("link").symlink_to("data")
    line = line.replace("ABSOLUTE", str(data.absolute()))
    Path("l.txt").write_text(form.format(line), encoding="utf-8", newline="")
    splits = open_data(data, exclude=ExcludeList.load(Path("l.txt")))
    assert "cat/0.jpg" not in splits.train.names
    assert (len(splits.train), len(splits.val)) == (9, 10)


def test_a_list_in_utf16_as_powershell_writes_it(data: Path) -> None:
    Path("l.txt").write_bytes("train/cat/0.jpg\r\ntrain/dog/1.jpg\r\n".encode("utf-16"))
    assert len(open_data(data, exclude=ExcludeList.load(Path("l.txt"))).train) == 8


def test_the_literal_name_comes_first(data: Path) -> None:
    (data / "train" / "cat" / "0.jpg ").touch()
    (data / "train" / "cat" / "0.jpg ").rename(data / "train" / "cat" / " 0.jpg")
    Path("l.txt").write_text("train/cat/ 0.jpg\n")
    splits = open_data(data, exclude=ExcludeList.load(Path("l.txt")))
    assert "cat/0.jpg" in splits.train.names
    assert "cat/ 0.jpg" not in splits.train.names


def test_lines_that_name_nothing_are_counted_once(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    lines = ["train/cat/0.jpg", "val/dog/4.jpg", *(f"train/gone/{number}.jpg" for number in range(5))]
    Path("l.txt").write_text("\n".join(lines))
    open_data(data, exclude=ExcludeList.load(Path("l.txt")))
    said = [record.getMessage() for record in caplog.records if "does not have" in record.getMessage()]
    assert said == [
        "l.txt names 5 images that data does not have:"
        " train/gone/0.jpg, train/gone/1.jpg, train/gone/2.jpg, ..."
    ]
    assert "left out 1 of 10 images of data/train: l.txt names them" in caplog.text
    assert "left out 1 of 10 images of data/val: l.txt names them" in caplog.text


def test_names_of_other_parts_are_not_missed(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    some = ExcludeList(Path("l.txt"), frozenset({"train/cat/0.jpg", "./train/cat/gone.jpg", "val/cat/0.jpg"}))
    assert len(open_split(data, "val", open_data(data).classes, exclude=some)) == 9
    assert "does not have" not in caplog.text


@pytest.mark.parametrize("lines", [["train/x.jpg"], ["C:\\images\\0.jpg", "0.jpg"], ["cat/0.jpg"]])
def test_a_list_of_another_folder_is_refused(data: Path, lines: list[str]) -> None:
    with pytest.raises(UserError, match=rf"none of its {len(lines)} names is an image of data"):
        open_data(data, exclude=ExcludeList(Path("l.txt"), frozenset(lines)))


def test_an_empty_list_leaves_out_nothing(data: Path) -> None:
    Path("l.txt").write_text("\n \r\n")
    assert len(open_data(data, exclude=ExcludeList.load(Path("l.txt"))).train) == 10
