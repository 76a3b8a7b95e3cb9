"""Folders of images become training and validation lists, or a clear error."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from alexnet_fast.data import ClassMap, open_data, open_split
from alexnet_fast.errors import UserError


def touch(*files: Path) -> None:
    """Makes empty files and their folders: listing looks at names alone."""
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """train/ and val/ of two classes."""
    for part in ("train", "val"):
        for kind in ("cat", "dog"):
            touch(*(tmp_path / part / kind / f"{n}.jpg" for n in range(3)))
    return tmp_path


def test_train_and_val_folders(parts: Path) -> None:
    splits = open_data(parts)
    assert splits.classes.names == ("cat", "dog")
    assert splits.train.names[0] == "cat/0.jpg"
    assert splits.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert len(splits.val) == 6
    assert splits.test is None


def test_a_test_folder_is_a_third_part(parts: Path) -> None:
    touch(parts / "test" / "dog" / "a.png")
    splits = open_data(parts)
    assert splits.test is not None
    assert splits.test.labels.tolist() == [1]


def test_images_may_lie_deeper_and_other_files_are_left_out(parts: Path) -> None:
    touch(
        parts / "train" / "cat" / "a" / "b" / "deep.WEBP",
        parts / "train" / "cat" / "readme.txt",
        parts / "train" / "cat" / ".hidden.jpg",
    )
    assert len(open_data(parts).train) == 7


def test_val_labels_come_from_the_class_map_of_train(parts: Path) -> None:
    """A class that sorts before the others and is missing in val must not shift the labels."""
    touch(parts / "train" / "ant" / "1.jpg", parts / "val" / "ant" / "1.jpg")
    splits = open_data(parts)
    assert splits.classes.names == ("ant", "cat", "dog")
    assert splits.val.labels.tolist() == [0, 1, 1, 1, 2, 2, 2]


def test_one_folder_is_split_and_the_split_is_stable_when_files_are_added(tmp_path: Path) -> None:
    touch(*(tmp_path / kind / f"{n:03d}.jpg" for kind in ("cat", "dog") for n in range(200)))
    before = open_data(tmp_path, val_fraction=0.2)
    assert 0.1 < len(before.val) / 400 < 0.3
    assert not set(before.val.names) & set(before.train.names)
    touch(*(tmp_path / kind / f"new{n}.jpg" for kind in ("cat", "dog") for n in range(100)))
    after = open_data(tmp_path, val_fraction=0.2)
    assert set(before.val.names) <= set(after.val.names)
    assert set(before.train.names) <= set(after.train.names)


def test_the_split_is_the_same_in_every_version(tmp_path: Path) -> None:
    """A run goes on after an update only with the images that it began with."""
    touch(*(tmp_path / kind / f"{n}.jpg" for kind in ("cat", "dog") for n in range(12)))
    found = open_data(tmp_path, val_fraction=0.25).val.names
    assert list(found) == [
        *(f"cat/{n}.jpg" for n in (1, 11, 3, 4, 7, 9)),
        *(f"dog/{n}.jpg" for n in (11, 4, 7)),
    ]


def test_part_of_a_split_is_the_part_that_training_held_back(tmp_path: Path) -> None:
    touch(*(tmp_path / kind / f"{n:03d}.jpg" for kind in ("cat", "dog") for n in range(50)))
    splits = open_data(tmp_path, val_fraction=0.3)
    assert open_split(tmp_path, "val", splits.classes, val_fraction=0.3).names == splits.val.names
    assert len(open_split(tmp_path, "all", splits.classes)) == 100


def test_fingerprint_changes_with_names_labels_and_classes(parts: Path) -> None:
    first = open_data(parts).train.fingerprint()
    assert open_data(parts).train.fingerprint() == first
    touch(parts / "train" / "cat" / "more.jpg")
    assert open_data(parts).train.fingerprint() != first


def test_class_map_survives_saving(tmp_path: Path) -> None:
    classes = ClassMap(("zebra", "Ärger", "a/b"))
    classes.save(tmp_path / "classes.json")
    assert ClassMap.load(tmp_path / "classes.json") == classes


@pytest.mark.parametrize(
    ("content", "complaint"), [("{", "is not JSON"), ('{"a": 1}', "is not a list"), ('["a", "a"]', "unique")]
)
def test_a_file_that_is_no_class_map(tmp_path: Path, content: str, complaint: str) -> None:
    (tmp_path / "classes.json").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=complaint):
        ClassMap.load(tmp_path / "classes.json")


class TestErrors:
    """What a user gets wrong, and what is said about it."""

    def test_no_such_folder(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="no such folder: .*nowhere"):
            open_data(tmp_path / "nowhere")

    def test_a_file_instead_of_a_folder(self, tmp_path: Path) -> None:
        touch(tmp_path / "image.jpg")
        with pytest.raises(UserError, match="is a file; give the folder"):
            open_data(tmp_path / "image.jpg")

    def test_an_empty_folder(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="no class folders in .*one folder per class"):
            open_data(tmp_path)

    def test_class_folders_without_images(self, tmp_path: Path) -> None:
        (tmp_path / "cat").mkdir()
        (tmp_path / "dog").mkdir()
        with pytest.raises(UserError, match="no images in"):
            open_data(tmp_path)

    def test_a_single_class(self, tmp_path: Path) -> None:
        touch(tmp_path / "cat" / "1.jpg")
        with pytest.raises(UserError, match="one class folder only"):
            open_data(tmp_path)

    def test_train_without_val(self, parts: Path) -> None:
        for file in (parts / "val").rglob("*.jpg"):
            file.unlink()
        for directory in (parts / "val" / "cat", parts / "val" / "dog", parts / "val"):
            directory.rmdir()
        with pytest.raises(UserError, match="has train/ but no val/"):
            open_data(parts)

    def test_a_class_that_train_has_and_lacks_images_of(self, parts: Path) -> None:
        (parts / "train" / "eel").mkdir()
        touch(parts / "train" / "eel" / "1.avif", parts / "val" / "eel" / "1.jpg")
        with pytest.raises(UserError, match="train has no images of class eel; put images there"):
            open_data(parts)

    def test_a_class_that_train_lacks(self, parts: Path) -> None:
        touch(parts / "val" / "eel" / "1.jpg")
        with pytest.raises(UserError, match="classes that the 2 known ones do not include: eel"):
            open_data(parts)

    def test_no_class_that_could_be_split(self, tmp_path: Path) -> None:
        touch(tmp_path / "cat" / "only.jpg", tmp_path / "dog" / "only.jpg")
        with pytest.raises(UserError, match=r"no class in .* has two images; add images"):
            open_data(tmp_path)

    def test_a_fraction_out_of_range(self, parts: Path) -> None:
        with pytest.raises(UserError, match="--val-fraction 1.5"):
            open_data(parts / "train", val_fraction=1.5)

    @pytest.mark.parametrize("what", ["train/cat", "train"])
    def test_no_permission(self, parts: Path, what: str) -> None:
        """Run as another user, since root may read everything.

        Not below `tmp_path`: every pytest that starts closes the folder that they share to other users.
        """
        code = (
            "import os, sys\nfrom pathlib import Path\nfrom alexnet_fast.data import open_data\n"
            "os.getuid() or os.setuid(65534)\n"
            "try: open_data(Path(sys.argv[1]))\nexcept Exception as error: print(error)"
        )
        with tempfile.TemporaryDirectory() as open_to_all:
            images = Path(shutil.copytree(parts, Path(open_to_all) / "images"))
            for directory in (images, images.parent):
                directory.chmod(0o755)
            (images / what).chmod(0)
            run = [sys.executable, "-c", code, str(images)]
            said = subprocess.run(run, capture_output=True, text=True, check=False, cwd=images)
            (images / what).chmod(0o755)
        assert f"no permission to read {images / what}; chmod u+r" in said.stdout, said.stderr
