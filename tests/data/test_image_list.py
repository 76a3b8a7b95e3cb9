"""A list of images is compact, and behaves like the sequences it stands for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from alexnet_fast.data import ClassMap, ExcludeList, ImageList, open_data, open_split
from alexnet_fast.data.image_list import StringArray
from alexnet_fast.errors import UserError


@pytest.fixture
def names() -> list[str]:
    """Names of several lengths, one of them no UTF-8."""
    return ["a/1.jpg", "b/ä/2.png", os.fsdecode(b"b/\xff.jpg"), ""]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Two classes of 100 empty files."""
    for kind in ("a", "b"):
        (tmp_path / kind).mkdir()
        for number in range(100):
            (tmp_path / kind / f"{number}.jpg").touch()
    return tmp_path


def test_names_are_what_went_in(names: list[str]) -> None:
    packed = StringArray.of(names)
    assert list(packed) == names
    assert [packed[index] for index in range(-4, 4)] == names + names
    assert packed == tuple(names)
    assert packed != names[:3]
    assert StringArray.unpack(packed[1:].pack("names", "stops"), "names", "stops") == names[1:]
    assert packed.index(names[2]) == 2


def test_a_selection_has_its_own_order(names: list[str]) -> None:
    images = ImageList(root=Path("x"), names=names, labels=[0, 1, 1, 0], classes=ClassMap(("a", "b")))
    some = images.select([2, 0])
    assert (list(some.names), some.labels.tolist()) == ([names[2], names[0]], [1, 0])
    assert os.fsencode(some.path(0)) == b"x/b/\xff.jpg"
    assert images.counts() == (2, 2)
    assert some.fingerprint() != images.select([0, 2]).fingerprint()


def test_the_split_does_not_depend_on_the_suffix(tmp_path: Path, directory: Path) -> None:
    """So what `prepare` makes of PNG files has the validation images of the PNG files."""
    for kind in ("a", "b"):
        (tmp_path / "png" / kind).mkdir(parents=True)
        for number in range(100):
            (tmp_path / "png" / kind / f"{number}.png").touch()
    png = {name.removesuffix(".png") for name in open_data(tmp_path / "png").val.names}
    (tmp_path / "png").rename(tmp_path / ".away")
    assert png == {name.removesuffix(".jpg") for name in open_data(directory).val.names}


class TestLeaveOut:
    """The list that `scan --write-exclude` writes."""

    def test_what_it_names_is_not_listed(self, directory: Path, caplog: pytest.LogCaptureFixture) -> None:
        some = ExcludeList(Path("bad.txt"), frozenset({"a/3.jpg", "b/7.jpg"}))
        splits = open_data(directory, exclude=some)
        left = {*splits.train.names, *splits.val.names}
        assert len(left) == 198
        assert not left & some.names
        assert f"left out 2 of 200 images of {directory}: bad.txt names them" in caplog.text

    def test_the_others_keep_their_side_of_the_split(self, directory: Path) -> None:
        some = ExcludeList(Path("bad.txt"), frozenset({"a/3.jpg", "b/7.jpg"}))
        before, after = open_data(directory), open_data(directory, exclude=some)
        assert set(after.val.names) == set(before.val.names) - some.names

    def test_names_of_parts_begin_with_the_part(self, tmp_path: Path, directory: Path) -> None:
        parts = tmp_path / "parts"
        for part in ("train", "val"):
            for kind in ("a", "b"):
                (parts / part / kind).mkdir(parents=True)
                (parts / part / kind / "1.jpg").touch()
                (parts / part / kind / "2.jpg").touch()
        some = ExcludeList(Path("bad.txt"), frozenset({"train/a/1.jpg"}))
        splits = open_data(parts, exclude=some)
        assert splits.train.names == ("a/2.jpg", "b/1.jpg", "b/2.jpg")
        assert len(open_split(parts, "val", splits.classes, exclude=some)) == 4

    def test_some_names_that_are_not_there_are_counted(
        self, directory: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        open_data(directory, exclude=ExcludeList(Path("bad.txt"), frozenset({"a/3.jpg", "a/gone.jpg"})))
        assert "bad.txt names 1 images that" in caplog.text

    def test_the_list_of_another_folder_is_refused(self, directory: Path) -> None:
        with pytest.raises(
            UserError, match=r"--exclude bad.txt: none of its 2 names is an image of .*write-exclude"
        ):
            open_data(directory, exclude=ExcludeList(Path("bad.txt"), frozenset({"x/3.jpg", "x/gone.jpg"})))

    def test_a_list_is_read_byte_for_byte(self, tmp_path: Path) -> None:
        (tmp_path / "bad.txt").write_bytes(b"a/ 1.jpg\n\nb/\xff.jpg\n")
        names = ExcludeList.load(tmp_path / "bad.txt").names
        assert {os.fsencode(name) for name in names} == {b"a/ 1.jpg", b"b/\xff.jpg"}

    @pytest.mark.parametrize("path", ["nowhere.txt", "."])
    def test_a_list_that_cannot_be_read_is_an_error(self, tmp_path: Path, path: str) -> None:
        with pytest.raises(UserError, match="cannot read --exclude"):
            ExcludeList.load(tmp_path / path)
