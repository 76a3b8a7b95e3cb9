"""`prepare` reports no success for a set that `train` refuses, and passes over nothing in silence."""

from __future__ import annotations

import dataclasses
import shutil
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from alexnet_fast.data import open_data
from alexnet_fast.errors import UserError
from alexnet_fast.prepare.job import Preparation, PrepareConfig
from alexnet_fast.prepare.transform import ResizeConfig

CONFIG = PrepareConfig(source=Path(), output=Path(), recipe=ResizeConfig(size=16), on_bad_image="skip")


def fill(root: Path, counts: dict[str, int]) -> Path:
    """Makes small images in folders."""
    for directory, count in counts.items():
        (root / directory).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            Image.new("RGB", (20, 18), (number * 20, 9, 99)).save(root / directory / f"{number}.jpg")
    return root


def prepared(tmp_path: Path, source: Path, **options: object) -> dict[str, object]:
    config = dataclasses.replace(CONFIG, source=source, output=tmp_path / "out", **options)
    return Preparation(config).run()


REFUSED = [
    ({"cat": 3}, "has one class folder only"),
    ({"cat": 1, "dog": 1}, "no class in .* has two images"),
    ({"cat": 3, "dog": 0}, "has no images of class dog"),
    ({"train/cat": 2, "train/dog": 2}, "has train/ but no val/"),
    ({"Train/cat": 2, "train/dog": 2, "val/cat": 1}, "which are one split"),
    ({"train/cat": 2, "train/dog": 2, "val/cat": 1, "more/cat": 1}, "no split of the data set"),
    ({"train/cat": 2, "train/dog": 2, "val/eel": 1}, "do not include: eel"),
    ({"val/cat": 2, "test/cat": 2}, "and no train/"),
    ({"train/cat": 2, "train/dog": 0, "val/cat": 1}, "has no images of class dog"),
]


@pytest.mark.parametrize(("counts", "said"), REFUSED)
def test_what_train_refuses_prepare_refuses(tmp_path: Path, counts: dict[str, int], said: str) -> None:
    source = fill(tmp_path / "source", counts)
    with pytest.raises(UserError, match=said):
        open_data(source)
    with pytest.raises(UserError, match=said):
        prepared(tmp_path, source)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("counts", "said"), [row for row in REFUSED if 0 not in row[0].values()])
def test_an_archive_is_no_other(tmp_path: Path, counts: dict[str, int], said: str) -> None:
    source = fill(tmp_path / "source", counts)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for file in sorted(source.rglob("*.jpg")):
            archive.write(file, file.relative_to(source))
    if set(counts) == {"train/cat", "train/dog"}:
        # A single folder around everything is taken away: it is no split, but the whole.
        assert prepared(tmp_path, tmp_path / "a.zip")["images"] == 4
        return
    with pytest.raises(UserError, match=said):
        prepared(tmp_path, tmp_path / "a.zip")


TRAINED = [
    {"cat": 5, "dog": 2, "eel": 1},
    {"Training/cat": 2, "Training/dog": 2, "valid/dog": 1, "TEST/cat": 1},
]


@pytest.mark.parametrize("counts", TRAINED)
def test_what_prepare_makes_can_be_trained_on(tmp_path: Path, counts: dict[str, int]) -> None:
    source = fill(tmp_path / "source", counts)
    result = prepared(tmp_path, source)
    before, after = open_data(source), open_data(tmp_path / "out")
    assert result["images"] == sum(counts.values())
    assert before.train.names == after.train.names
    assert before.val.names == after.val.names


def test_divided_by_prepare_or_by_train_it_is_one_split(tmp_path: Path) -> None:
    source = fill(tmp_path / "source", {"cat": 5, "dog": 5, "eel": 3})
    prepared(tmp_path, source, val_fraction=0.1)
    assert open_data(tmp_path / "out").val.names == open_data(source, val_fraction=0.1).val.names


def test_a_class_that_skipping_empties_is_no_success(tmp_path: Path) -> None:
    source = fill(tmp_path / "source", {"cat": 3, "dog": 3})
    (source / "dog" / "0.jpg").write_bytes(b"no image")
    for number, target in ((1, "nowhere"), (2, "2.jpg")):
        (source / "dog" / f"{number}.jpg").unlink()
        (source / "dog" / f"{number}.jpg").symlink_to(target)
    with pytest.raises(UserError, match="has no images of class dog: all of them were left out"):
        prepared(tmp_path, source)
    with pytest.raises(UserError, match="prepare has not finished"):
        open_data(tmp_path / "out")
    shutil.rmtree(source / "dog")
    fill(source, {"eel": 2})
    assert prepared(tmp_path, source)["images"] == 5


def test_what_is_ignored_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = fill(tmp_path / "source", {"cat": 2, "dog": 2, "@eaDir/cat": 2})
    for name in ("cat/a.avif", "cat/._0.jpg", "dog/notes.txt", "beside.jpg"):
        (source / name).touch()
    (source / "dog" / "up").symlink_to("..")
    result = prepared(tmp_path, source)
    assert result["ignored"] == {
        "AVIF (.avif), not read": 1,
        "hidden, of macOS (._)": 1,
        ".txt, not an image": 1,
        "beside the class folders": 1,
        "a link to a folder that it lies in": 1,
        "thumbnails of a Synology": 1,
    }
    assert f"ignored in {source}: 1 " in caplog.text
    assert "alexnet-fast scan names each" in caplog.text


@pytest.mark.parametrize("which", ["source", "output"])
def test_a_link_to_itself_is_one_sentence(tmp_path: Path, which: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    source = fill(tmp_path / "source", {"cat": 2, "dog": 2})
    places = {"source": source, "output": tmp_path / "out", which: tmp_path / "loop"}
    with pytest.raises(UserError, match="loop"):
        Preparation(dataclasses.replace(CONFIG, **places)).run()
