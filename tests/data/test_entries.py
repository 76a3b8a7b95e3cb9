"""Nothing that stands in a data set's folder vanishes: it is listed, or counted with its reason."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from alexnet_fast.data import ClassMap, list_images, open_data
from alexnet_fast.data import index_cache as list_cache
from alexnet_fast.data.entries import LINK_AGAIN, LINK_NOWHERE, LINK_UPWARDS, VANISHED, Ignored, Walk
from alexnet_fast.data.image_names import why_ignored, why_not_entered
from alexnet_fast.errors import UserError
from alexnet_fast.scan.listing import list_for_scan


def touch(*files: Path) -> None:
    """Makes empty files and their folders: listing looks at names alone."""
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def walked(top: Path) -> tuple[set[str], dict[str, str]]:
    """Returns what a walk lists, and what it ignores."""
    ignored = Ignored(names=True)
    return set(Walk(top, ignored=ignored).files()), dict(ignored.entries)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """train/ and val/ of two classes with two images each."""
    root = tmp_path / "data"
    for part in ("train", "val"):
        for kind in ("cat", "dog"):
            touch(*(root / part / kind / f"{number}.jpg" for number in range(2)))
    return root


@pytest.mark.parametrize(
    "name",
    ["a.jpg", "A.JPEG", "a.Jpe", "a.jfif", "a.png", "a.gif", "a.tiff", "a b.webp", "ä.bmp", "a.jpg.png"],
)
def test_images_by_their_names(name: str) -> None:
    assert why_ignored(name) is None


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a.avif", "AVIF"),
        ("IMG.HEIC", "HEIC"),
        ("a.jxl", "JPEG XL"),
        ("a", "without an extension"),
        ("a.jpg~", ".jpg~"),
        ("a.jpg.part", ".part"),
        ("a.txt", ".txt, not an image"),
        (".a.jpg", "hidden"),
        ("._a.jpg", "of macOS"),
        ("Thumbs.db", "Windows"),
        ("Desktop.INI", "Windows"),
        ("SYNOPHOTO_THUMB_XL.jpg", "Synology"),
        ("a.tar.gz", "packed"),
    ],
)
def test_every_other_name_has_a_reason(name: str, reason: str) -> None:
    assert reason in (why_ignored(name) or "")


@pytest.mark.parametrize(
    "name", ["__MACOSX", "@eaDir", "lost+found", ".git", "$RECYCLE.BIN", "System Volume Information"]
)
def test_folders_of_systems_are_not_entered(name: str) -> None:
    assert why_not_entered(name)


@pytest.mark.parametrize("name", ["cat", "MACOSX", "thumbs.db", "lost", "train"])
def test_other_folders_are(name: str) -> None:
    assert why_not_entered(name) is None


class TestLinks:
    """Links of every kind end no walk, and none makes it endless."""

    def test_upwards_to_itself_and_to_nowhere(self, data: Path) -> None:
        cat = data / "train" / "cat"
        for name, target in (("up", "../.."), ("here", "."), ("self", "self"), ("gone", "nowhere")):
            (cat / name).symlink_to(target)
        (cat / "self.jpg").symlink_to("self.jpg")
        listed, ignored = walked(cat)
        # A link that leads nowhere and is called an image is listed: reading it is what fails.
        assert listed == {"0.jpg", "1.jpg", "self.jpg"}
        assert ignored == {
            "up": LINK_UPWARDS,
            "here": LINK_AGAIN,
            "self": LINK_NOWHERE,
            "gone": LINK_NOWHERE,
        }

    def test_two_ways_to_one_folder(self, tmp_path: Path, data: Path) -> None:
        cat = data / "train" / "cat"
        touch(tmp_path / "elsewhere" / "x.jpg")
        for name in ("b", "a"):
            (cat / name).symlink_to(tmp_path / "elsewhere")
        assert walked(cat) == ({"0.jpg", "1.jpg", "a/x.jpg"}, {"b": LINK_AGAIN})

    def test_folders_that_all_link_to_each_other_are_entered_once_each(self, tmp_path: Path) -> None:
        """By every way there would be some 16! of them."""
        directories = [tmp_path / "class" / f"{number:02d}" for number in range(16)]
        for directory in directories:
            touch(directory / "x.jpg")
        for directory in directories:
            for other in directories:
                (directory / f"to-{other.name}").symlink_to(other)
        listed, ignored = walked(tmp_path / "class")
        assert len(listed) == 16
        assert len(ignored) == 16 * 16

    def test_class_folders_that_are_links_upwards(self, data: Path, caplog: pytest.LogCaptureFixture) -> None:
        (data / "train" / "again").symlink_to(data)
        (data / "train" / "self").symlink_to("self")
        (data / "all").symlink_to(".")
        assert open_data(data).classes.names == ("cat", "dog")
        assert f"2 {LINK_UPWARDS}" in caplog.text
        assert f"1 {LINK_NOWHERE}" in caplog.text

    def test_a_class_folder_that_is_a_link_elsewhere(self, tmp_path: Path, data: Path) -> None:
        touch(tmp_path / "cats" / "9.jpg", tmp_path / "cats" / "deeper" / "8.jpg")
        (tmp_path / "cats" / "up").symlink_to(tmp_path)
        shutil.rmtree(data / "train" / "cat")
        (data / "train" / "cat").symlink_to(tmp_path / "cats")
        assert list(open_data(data).train.names)[:2] == ["cat/9.jpg", "cat/deeper/8.jpg"]

    @pytest.mark.parametrize("name", ["pipe.jpg", "socket.png", "device.jpg", "gone.jpg"])
    def test_what_is_no_file_is_listed_and_read_by_policy(self, data: Path, name: str) -> None:
        if name == "pipe.jpg":
            os.mkfifo(data / "train" / "cat" / name)
        else:
            (data / "train" / "cat" / name).symlink_to("/dev/zero" if "device" in name else "nowhere")
        assert f"cat/{name}" in open_data(data).train.names

    def test_a_folder_that_vanishes_meanwhile(self, data: Path) -> None:
        ignored = Ignored(names=True)
        (data / "train" / "cat" / "a").mkdir()

        def visit(path: str) -> os.stat_result:
            status = Path(path).stat()
            if path.endswith("cat"):
                return status
            shutil.rmtree(path)
            return status

        listed = set(Walk(data / "train" / "cat", ignored=ignored, visit=visit).files())
        assert listed == {"0.jpg", "1.jpg"}
        assert ignored.entries == [("a/", VANISHED)]

    def test_a_link_whose_folder_vanishes_meanwhile(self, tmp_path: Path, data: Path) -> None:
        (tmp_path / "gone").mkdir()
        (data / "train" / "cat" / "link").symlink_to(tmp_path / "gone")
        ignored = Ignored(names=True)

        def visit(path: str) -> os.stat_result:
            shutil.rmtree(tmp_path / "gone", ignore_errors=True)
            return Path(path).stat()

        entries = Walk(data / "train" / "cat", ignored=ignored, visit=visit).files()
        assert set(entries) == {"0.jpg", "1.jpg"}
        assert ignored.entries == [("link", LINK_NOWHERE)]


def all_files(root: Path) -> set[str]:
    """Returns every file below a folder, and every link to a folder, by its path."""
    found = set()
    for directory, directories, files in os.walk(root):
        names = [*files, *(name for name in directories if (Path(directory) / name).is_symlink())]
        found |= {os.path.relpath(Path(directory) / name, root) for name in names}
    return found


def litter(data: Path) -> None:
    """Puts what people's folders hold beside images everywhere."""
    for directory in (data, data / "train", data / "train" / "cat", data / "val" / "dog" / "deeper"):
        touch(
            *(
                directory / name
                for name in (".DS_Store", "._0.jpg", "Thumbs.db", "notes.txt", "README", "x.heic")
            ),
            *(
                directory / below / "y.jpg"
                for below in ("__MACOSX", "@eaDir/0.jpg", ".git/objects", "lost+found")
            ),
        )
    touch(data / "beside.jpg", data / "train" / "beside.jpg", data / "docs" / "index.html")
    (data / "train" / "cat" / "again").symlink_to(data / "train")
    (data / "train" / "cat" / "gone.png").symlink_to("nowhere")
    os.mkfifo(data / "train" / "dog" / "pipe.jpg")
    os.mkfifo(data / "train" / "dog" / "pipe")


def test_scan_names_every_file_once(data: Path) -> None:
    litter(data)
    listing = list_for_scan(data)
    named = [name for name, _ in listing.ignored]
    assert sorted([*listing.names, *named]) == sorted(all_files(data))
    assert all(reason for _, reason in listing.ignored)
    assert len(listing.names) == 8 + 2
    assert ("train/beside.jpg", "beside the class folders") in listing.ignored


def test_scan_says_what_training_would_refuse(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(data / "extra" / "x.jpg", data / "valid" / "cat" / "0.jpg")
    assert {"extra/x.jpg", "valid/cat/0.jpg"} <= set(list_for_scan(data).names)
    assert "training would refuse this folder: " in caplog.text
    assert "val/ and valid/, which are one split" in caplog.text


def test_scan_lists_what_training_lists(data: Path) -> None:
    litter(data)
    splits = open_data(data)
    trained = {f"train/{name}" for name in splits.train.names} | {f"val/{name}" for name in splits.val.names}
    assert trained == set(list_for_scan(data).names)


def test_training_counts_what_it_ignores(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    litter(data)
    open_data(data)
    (line,) = [record.getMessage() for record in caplog.records if "ignored in" in record.getMessage()]
    assert line.startswith(f"ignored in {data}: ")
    assert "4 HEIC (.heic), not read" in line
    assert line.endswith("alexnet-fast scan names each")


def test_a_clean_folder_says_nothing(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    (data / "prepared.json").write_text('{"format": 2, "classes": ["cat", "dog"]}')
    open_data(data)
    assert "ignored" not in caplog.text


def test_a_folder_that_an_earlier_version_prepared_is_refused_in_one_sentence(data: Path) -> None:
    (data / "prepared.json").write_text('{"classes": ["cat", "dog"]}')
    with pytest.raises(UserError) as caught:
        open_data(data)
    assert str(caught.value) == (
        f"{data / 'prepared.json'} has format 1; this version reads 2;"
        " run alexnet-fast prepare again, into another directory"
    )


def test_a_kept_list_knows_what_was_ignored(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(list_cache, "WORTH_KEEPING", 1)
    litter(data)
    for directory, _, _ in os.walk(data):
        os.utime(directory, (1_700_000_000, 1_700_000_000))
    first = list_images(data / "train", ClassMap(("cat", "dog")))
    assert list((tmp_path / "cache").rglob("*.npz"))
    again = list_images(data / "train", ClassMap(("cat", "dog")))
    assert again.ignored == first.ignored
    assert sum(first.ignored.values()) == 23


@pytest.mark.parametrize("name", ["x.avif", "x", ".x.jpg", "@eaDir/x.jpg"])
def test_a_class_with_nothing_but_ignored_files_is_named(
    data: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    touch(data / "train" / "eel" / name)
    with pytest.raises(UserError, match="no images of class eel"):
        open_data(data)
    assert "ignored in" in caplog.text
    assert list_for_scan(data).empty == ("train/eel/",)


def test_a_folder_without_images_says_what_is_there(tmp_path: Path) -> None:
    touch(*(tmp_path / kind / f"{n}.avif" for kind in "ab" for n in range(3)), tmp_path / "a" / ".x")
    with pytest.raises(UserError, match=r"no images in .* \(6 AVIF \(.avif\), not read, 1 hidden\)"):
        open_data(tmp_path)


@pytest.mark.parametrize(
    "make", [lambda p: p.symlink_to(p), lambda p: p.touch(), lambda p: p.symlink_to("nowhere")]
)
def test_a_root_that_is_no_folder_is_one_sentence(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "root")
    for use in (open_data, list_for_scan):
        with pytest.raises(UserError):
            use(tmp_path / "root")
