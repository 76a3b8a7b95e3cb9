"""`scan` names every bad and odd file, and no file ends it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest


def test_each_bad_file_has_its_reason(json_of_scan, mixed_dir: Path) -> None:
    result = json_of_scan(mixed_dir)
    bad = {Path(row["file"]).name: row["reason"] for row in result["bad"]}
    expected = {
        "truncated.jpg": "truncated",
        "empty.jpg": "empty file",
        "text.jpg": "not an image",
        "bomb.png": "more than 89478485 pixels",
        "big-header.png": "10000 x 9000 are 90000000 pixels",
        "gone.jpg": "no such file behind the link",
        "script.jpg": "not an image",
        "pipe.jpg": "not a regular file",
    }
    assert bad.keys() == expected.keys()
    for name, reason in expected.items():
        assert reason in bad[name]
    assert result["bad"] == sorted(result["bad"], key=lambda row: row["file"])
    assert all(row["file"].startswith("val/dogs/") for row in result["bad"])


def test_each_odd_file_says_what_it_is(json_of_scan, mixed_dir: Path) -> None:
    result = json_of_scan(mixed_dir)
    odd = {(Path(row["file"]).name, row["what"]) for row in result["warnings"]}
    assert odd == {
        ("cmyk.jpg", "CMYK"),
        ("turned.jpg", "EXIF orientation 6"),
        ("sixteen.png", "16-bit"),
        ("sixteen.tif", "16-bit"),
        ("sixteen-colour.png", "16-bit"),
        ("animated.webp", "animated: 2 images in one file"),
        ("huge.png", "huge: 5200 x 5000 are 26 megapixels"),
        ("alpha.png", "alpha"),
        ("palette.png", "palette"),
        ("png-called.jpg", "PNG called .jpg"),
        ("image.gif", "palette"),
        ("gif-called.jpg", "GIF called .jpg"),
        ("gif-called.jpg", "palette"),
    }
    assert result["images"] == 26
    assert result["seconds"] > 0


def test_what_is_not_listed_is_named_with_its_reason(json_of_scan, mixed_dir: Path) -> None:
    result = json_of_scan(mixed_dir)
    ignored = {row["file"]: row["reason"] for row in result["ignored"]}
    assert ignored == {
        "train/cats/notes.txt": ".txt, not an image",
        "train/cats/photo.txt": "JPEG called .txt: training does not list it",
        "train/cats/.hidden.jpg": "hidden",
        "val/dogs/around": "a link to a folder that it lies in",
    }


def test_the_list_names_the_bad_files_below_the_folder(json_of_scan, mixed_dir: Path, tmp_path: Path) -> None:
    result = json_of_scan(mixed_dir, "--write-exclude", tmp_path / "bad.txt")
    listed = (tmp_path / "bad.txt").read_text(encoding="utf-8").splitlines()
    assert listed == [row["file"] for row in result["bad"]]
    assert [file.name for file in tmp_path.iterdir()] == ["bad.txt"]


def test_bad_files_are_a_finding_and_with_strict_a_failure(scan, mixed_dir: Path) -> None:
    found = scan(mixed_dir)
    assert found.returncode == 0
    assert "bad           8" in found.stdout
    assert "val/dogs/text.jpg: not an image" in found.stdout
    strict = scan(mixed_dir, "--strict")
    assert strict.returncode == 1
    assert strict.stdout.splitlines()[1:] == found.stdout.splitlines()[1:]
    assert scan(mixed_dir / "train" / "cats", "--strict").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (["nowhere"], "no such folder: nowhere", 2),
        (["FILE"], "is an image; give the folder of images", 2),
        (["EMPTY", "--timeout-per-file", "0"], "--timeout-per-file", 2),
    ],
)
def test_wrong_use_ends_in_one_line(scan, tmp_path: Path, arguments: list[str], said: str, code: int) -> None:
    (tmp_path / "file.jpg").write_bytes(b"")
    places = {"FILE": tmp_path / "file.jpg", "EMPTY": tmp_path}
    done = scan(*(places.get(argument, argument) for argument in arguments))
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_list_that_cannot_be_written_is_one_line(scan, mixed_dir: Path, tmp_path: Path) -> None:
    done = scan(mixed_dir, "--write-exclude", tmp_path / "nowhere" / "bad.txt")
    assert done.returncode == 1
    assert done.stderr.strip().endswith("check the folder and the disk")
    assert len(done.stderr.strip().splitlines()) == 1


def test_an_empty_folder(json_of_scan, tmp_path: Path) -> None:
    result = json_of_scan(tmp_path)
    assert (result["images"], result["bad"], result["warnings"]) == (0, [], [])


def test_every_image_with_random_bytes_changed_is_survived(
    json_of_scan, mixed_dir: Path, tmp_path: Path
) -> None:
    generator = np.random.default_rng(0)
    directory = tmp_path / "damaged"
    directory.mkdir()
    sources = [f for f in sorted((mixed_dir / "train" / "cats").iterdir()) if f.stat().st_size > 100]
    for number, source in enumerate(sources * 6):
        content = np.frombuffer(source.read_bytes(), np.uint8).copy()
        where = generator.integers(4, min(len(content), 600), 12)
        content[where] = generator.integers(0, 256, 12)
        (directory / f"{number}{source.suffix}").write_bytes(
            content[: generator.integers(50, len(content) + 1)]
        )
    result = json_of_scan(directory)
    assert result["images"] == len([f for f in directory.iterdir() if f.suffix != ".txt"])
    assert result["bad"]
    assert all(row["reason"] for row in result["bad"])
    shutil.rmtree(directory)
