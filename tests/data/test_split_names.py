"""Training, validation and test folders are known by usual names, and nothing beside them is a class."""

from __future__ import annotations

from pathlib import Path

import pytest

from alexnet_fast.data import ClassMap, ExcludeList, open_data, open_split
from alexnet_fast.data.split_names import split_of
from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.image_dataset import list_data
from alexnet_fast.prepare.sources import open_source


def fill(root: Path, *parts: str, kinds: tuple[str, ...] = ("cat", "dog")) -> Path:
    """Makes parts of class folders with three empty images each."""
    for part in parts:
        for kind in kinds:
            (root / part / kind).mkdir(parents=True, exist_ok=True)
            for number in range(3):
                (root / part / kind / f"{number}.jpg").touch()
    return root


@pytest.mark.parametrize(
    ("part", "names"),
    [
        ("train", ["train", "Train", "TRAIN", "training", "Training_Set", "train-images", "trn"]),
        ("val", ["val", "Val", "valid", "VALID", "validation", "Validation Set", "dev", "val_data"]),
        ("test", ["test", "Test", "testing", "TESTING", "test_set", "tst"]),
        ("", ["cats", "trains", "valley", "tests", "trainer", "pretrain", "val2", "contest", "developer"]),
    ],
)
def test_which_part_a_name_stands_for(part: str, names: list[str]) -> None:
    assert {name: split_of(name) for name in names} == dict.fromkeys(names, part)


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [("train", "valid", "test"), ("Train", "Validation", "Test"), ("training", "dev", "testing")],
)
def test_training_and_prepare_know_them(tmp_path: Path, train: str, val: str, test: str) -> None:
    fill(tmp_path, train, val, test)
    splits = open_data(tmp_path)
    assert [len(part) for part in (splits.train, splits.val, splits.test or [])] == [6, 6, 6]
    assert splits.classes.names == ("cat", "dog")
    assert len(open_split(tmp_path, "val", splits.classes)) == 6
    prepared = open_source(tmp_path).images
    assert {image.split for image in prepared} == {"train", "val", "test"}
    assert len(prepared) == 18
    assert prepared[0].name == "test/cat/0.jpg"


def test_a_list_names_the_folder_as_it_is_called(tmp_path: Path) -> None:
    fill(tmp_path, "Training", "valid")
    lines = frozenset({"Training/cat/0.jpg", "valid/dog/1.jpg"})
    splits = open_data(tmp_path, exclude=ExcludeList(Path("bad.txt"), lines))
    assert (len(splits.train), len(splits.val)) == (5, 5)


USES = [open_data, open_source]


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(
    "names", [("val", "valid"), ("train", "Train"), ("test", "Testing"), ("dev", "validation")]
)
def test_two_names_for_one_part_are_refused(tmp_path: Path, names: tuple[str, str], use) -> None:
    fill(tmp_path, "train", "val", *names)
    with pytest.raises(UserError, match=r"which are one split; join them"):
        use(tmp_path)


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("extra", ["extra", "unlabelled", "val2", "holdout", "images"])
def test_an_unknown_folder_of_images_beside_train_is_refused(tmp_path: Path, extra: str, use) -> None:
    fill(tmp_path, "train", "val", extra)
    with pytest.raises(UserError, match=rf"{extra} has images and is no split of the data set"):
        use(tmp_path)


def test_other_folders_beside_train_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fill(tmp_path, "train", "val")
    for file in ("annotations/a.xml", "docs/deep/readme.txt", "__MACOSX/train/cat/0.jpg", ".git/x.jpg"):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).touch()
    assert len(open_data(tmp_path).train) == 6
    assert "2 a folder without images beside train/" in caplog.text
    assert "1 what macOS packs into archives" in caplog.text


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("names", [("val", "test"), ("valid",), ("test", "cats")])
def test_parts_without_train_are_no_classes(tmp_path: Path, names: tuple[str, ...], use) -> None:
    fill(tmp_path, *names)
    with pytest.raises(UserError, match=r"and no train/; put the training images there"):
        use(tmp_path)


@pytest.mark.parametrize("use", USES)
def test_train_without_val_is_refused_alike(tmp_path: Path, use) -> None:
    fill(tmp_path, "Train", "test")
    if use is open_source:
        pytest.skip("prepare refuses it after listing: tests/prepare")
    with pytest.raises(UserError, match="has train/ but no val/"):
        use(tmp_path)


def test_classes_that_are_called_like_parts(tmp_path: Path) -> None:
    """Images stand in them, and no class folders; there is no train/."""
    for kind in ("dev", "test", "ops"):
        (tmp_path / kind).mkdir()
        for number in range(5):
            (tmp_path / kind / f"{number}.jpg").touch()
    assert open_data(tmp_path).classes.names == ("dev", "ops", "test")


def test_a_divided_folder_is_not_taken_as_one(tmp_path: Path) -> None:
    fill(tmp_path, "train", "valid")
    with pytest.raises(UserError, match=r"is divided into train/, valid/; give one of these"):
        list_data(tmp_path)
    assert len(list_data(tmp_path / "train")) == 6


class TestClasses:
    """Validation may lack a class, with a warning; one that it alone has is an error."""

    @pytest.mark.parametrize("part", ["val", "test"])
    @pytest.mark.parametrize("empty", [False, True])
    def test_a_class_that_a_part_lacks(
        self, tmp_path: Path, part: str, empty: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        fill(tmp_path, "train", "val", "test")
        for file in (tmp_path / part / "dog").iterdir():
            file.unlink()
        if not empty:
            (tmp_path / part / "dog").rmdir()
        splits = open_data(tmp_path)
        assert splits.val.counts() == ((3, 0) if part == "val" else (3, 3))
        said = f"{tmp_path / part} has no images of class dog: it is evaluated on the others"
        assert caplog.text.count(said) == 1
        assert open_split(tmp_path, part, splits.classes).counts() == (3, 0)

    def test_a_part_without_a_single_image(self, tmp_path: Path) -> None:
        fill(tmp_path, "train")
        (tmp_path / "val" / "cat").mkdir(parents=True)
        with pytest.raises(UserError, match="no images in .*val"):
            open_data(tmp_path)

    @pytest.mark.parametrize("part", ["val", "test"])
    def test_a_class_of_its_own(self, tmp_path: Path, part: str) -> None:
        fill(tmp_path, "train", "val", "test")
        fill(tmp_path, part, kinds=("eel",))
        with pytest.raises(UserError, match=rf"{part} has classes that .* do not include: eel"):
            open_data(tmp_path)
        with pytest.raises(UserError, match="do not include: eel"):
            open_split(tmp_path, part, ClassMap(("cat", "dog")))
