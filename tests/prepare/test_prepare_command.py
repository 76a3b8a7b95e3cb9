"""What `prepare` makes of images of many kinds, and what it refuses."""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from alexnet_fast.data import open_data
from alexnet_fast.pipelines.color_stats import measure_colors
from alexnet_fast.pipelines.cpu.pillow import centre_square, decode, shrink
from alexnet_fast.pipelines.loader import Batch
from alexnet_fast.pipelines.spec import AugmentSpec

SHORT = AugmentSpec(resize=128, crop=128)


@pytest.fixture(scope="module")
def prepared(
    json_of_prepare, many_kinds: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict]:
    """The many kinds at 128 pixels."""
    out = tmp_path_factory.mktemp("prepared") / "out"
    return out, json_of_prepare(many_kinds, out, "--size", 128)


def test_every_image_keeps_its_name_and_gets_the_shorter_side(prepared, many_kinds: Path) -> None:
    out, result = prepared
    names = {str(file.relative_to(out)) for file in out.rglob("*") if file.is_file()}
    assert names == {
        "prepared.json",
        "train/cats/plain.jpg",
        "train/cats/deeper/wavelet.jpg",
        "train/cats/cmyk.jpg",
        "train/cats/turned.jpg",
        "train/cats/twin.jpg",
        "train/cats/twin.png.jpg",
        "train/dogs/image.jpg",
        "train/dogs/grey.jpg",
        "train/dogs/alpha.jpg",
        "train/dogs/small.jpg",
        "train/dogs/exact-128.jpg",
        "val/cats/plain.jpg",
        "val/cats/cut.jpg",
    }
    for name in names - {"prepared.json"}:
        with Image.open(out / name) as image:
            assert (image.format, image.mode, min(image.size)) == ("JPEG", "RGB", 128)
            assert image.getexif().get(0x0112, 1) == 1
    assert Image.open(out / "train/cats/turned.jpg").size == (128, 191)
    assert result["images"] == 13
    assert result["classes"] == ["cats", "dogs"]
    assert result["skipped"] == []


def test_the_pixels_are_those_of_the_training_path(prepared, many_kinds: Path) -> None:
    out, _ = prepared
    for source, target in (
        ("plain.jpg", "plain.jpg"),
        ("cmyk.jpeg", "cmyk.jpg"),
        ("turned.jpg", "turned.jpg"),
    ):
        expected = np.asarray(shrink(decode(many_kinds / "train/cats" / source), SHORT))
        again = Image.fromarray(expected)
        again.save(out.parent / "again.jpg", quality=90)
        assert (out / "train/cats" / target).read_bytes() == (out.parent / "again.jpg").read_bytes()


def test_what_is_so_already_is_copied_byte_for_byte(prepared, many_kinds: Path) -> None:
    out, _ = prepared
    name = "train/dogs/exact-128.jpg"
    assert (out / name).read_bytes() == (many_kinds / name).read_bytes()


def test_the_summary_counts_and_measures_the_training_images(prepared) -> None:
    out, result = prepared
    summary = json.loads((out / "prepared.json").read_text(encoding="utf-8"))
    assert summary["counts"] == {"train": {"cats": 6, "dogs": 5}, "val": {"cats": 2, "dogs": 0}}
    assert summary["statistics_of"] == "train"
    images = [decode(file) for file in sorted((out / "train").rglob("*.jpg"))]
    batches = [
        Batch(torch.from_numpy(np.array(image)[None]), torch.zeros(1), np.zeros(1, np.int64))
        for image in images
    ]
    measured = measure_colors(batches)
    assert summary["mean"] == pytest.approx(measured.mean, rel=1e-12)
    assert summary["pca"]["stdev"] == pytest.approx(measured.jitter.stdev, rel=1e-6)
    ours, theirs = np.array(summary["pca"]["eigenvectors"]), np.array(measured.jitter.eigenvectors)
    assert np.allclose(ours, theirs, atol=1e-6)
    assert result["mean"] == summary["mean"]
    assert result["pca"] == summary["pca"]
    assert result["prepared"] == str(out / "prepared.json")


def test_the_source_is_untouched_and_a_second_run_changes_nothing(
    prepared, prepare, many_kinds: Path, tree
) -> None:
    out, _ = prepared
    before, source = tree(out), tree(many_kinds)
    made = {file: file.stat().st_ino for file in (out / "train").rglob("*.jpg")}
    assert prepare(many_kinds, out, "--size", 128).returncode == 0
    assert tree(out) == before
    assert tree(many_kinds) == source
    assert {file: file.stat().st_ino for file in (out / "train").rglob("*.jpg")} == made


def test_the_number_of_workers_changes_no_byte(
    prepared, prepare, many_kinds: Path, tmp_path: Path, tree
) -> None:
    for workers in (1, 3):
        assert (
            prepare(many_kinds, tmp_path / str(workers), "--size", 128, "--workers", workers).returncode == 0
        )
        assert tree(tmp_path / str(workers)) == tree(prepared[0])


def test_parts_join_to_the_same_bytes(prepared, prepare, many_kinds: Path, tmp_path: Path, tree) -> None:
    out = tmp_path / "out"
    with ThreadPoolExecutor() as machines:
        parts = ("3/3", "1/3")
        for done in machines.map(lambda part: prepare(many_kinds, out, "--size", 128, "--part", part), parts):
            assert done.returncode == 0, done.stderr
    assert not (out / "prepared.json").exists()
    early = prepare("--join", out)
    assert early.returncode == 1
    assert "lacks --part 2/3" in early.stderr
    assert prepare(many_kinds, out, "--size", 128, "--part", "2/3").returncode == 0
    assert prepare("--join", out).returncode == 0
    assert tree(out) == tree(prepared[0])


def test_the_centre_square(json_of_prepare, many_kinds: Path, tmp_path: Path) -> None:
    json_of_prepare(many_kinds, tmp_path / "out", "--size", 128, "--center-crop", "--quality", 80)
    expected = Image.fromarray(centre_square(decode(many_kinds / "train/cats/plain.jpg"), SHORT))
    expected.save(tmp_path / "again.jpg", quality=80)
    assert (tmp_path / "out/train/cats/plain.jpg").read_bytes() == (tmp_path / "again.jpg").read_bytes()
    sizes = {Image.open(file).size for file in (tmp_path / "out").rglob("*.jpg")}
    assert sizes == {(128, 128)}


def test_raw_arrays_hold_the_pixels_themselves(json_of_prepare, many_kinds: Path, tmp_path: Path) -> None:
    json_of_prepare(many_kinds, tmp_path / "out", "--size", 128, "--encoding", "raw")
    stored = np.load(tmp_path / "out/train/cats/twin.png.npy")
    expected = np.asarray(shrink(decode(many_kinds / "train/cats/twin.png"), SHORT))
    assert stored.dtype == np.uint8
    assert np.array_equal(stored, expected)


def test_bad_images_are_named_and_left_out(
    prepare, json_of_prepare, many_kinds: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    shutil.copytree(many_kinds, source)
    whole = (source / "val/cats/cut.jpg").read_bytes()
    (source / "val/cats/cut.jpg").write_bytes(whole[: len(whole) // 2])
    (source / "train/dogs/text.jpg").write_text("not an image", encoding="utf-8")
    Image.new("RGB", (3, 4000)).save(source / "train/dogs/thin.png")
    os.mkfifo(source / "train/dogs/pipe.jpg")
    failed = prepare(source, tmp_path / "out")
    assert failed.returncode == 1
    assert "cannot decode " in failed.stderr
    assert "--on-bad-image skip" in failed.stderr
    assert not (tmp_path / "out/prepared.json").exists()
    result = json_of_prepare(source, tmp_path / "out", "--on-bad-image", "skip")
    reasons = {row["file"]: row["reason"] for row in result["skipped"]}
    assert list(reasons) == [
        "train/dogs/pipe.jpg",
        "train/dogs/text.jpg",
        "train/dogs/thin.png",
        "val/cats/cut.jpg",
    ]
    assert "truncated" in reasons["val/cats/cut.jpg"]
    assert "3 x 4000 would become 256 x 341333" in reasons["train/dogs/thin.png"]
    assert result["images"] == 12
    assert not (tmp_path / "out/val/cats/cut.jpg").exists()


def test_a_source_that_changed_is_prepared_again(json_of_prepare, many_kinds: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    shutil.copytree(many_kinds, source)
    first = json_of_prepare(source, out, "--size", 64)
    image = source / "train/cats/plain.jpg"
    shutil.copy(source / "train/cats/turned.jpg", image)
    os.utime(image, (1_700_000_000, 1_700_000_000))
    second = json_of_prepare(source, out, "--size", 64)
    assert second["fingerprint"] != first["fingerprint"]
    assert (out / "train/cats/plain.jpg").read_bytes() == (out / "train/cats/turned.jpg").read_bytes()
    # The same images under another name are another data set: order and split go by names.
    image.rename(image.with_name("plainer.jpg"))
    renamed = json_of_prepare(source, tmp_path / "renamed", "--size", 64)
    image.with_name("plainer.jpg").rename(image.with_name("plainest.jpg"))
    assert json_of_prepare(source, tmp_path / "again", "--size", 64)["fingerprint"] != renamed["fingerprint"]


def test_training_reads_what_was_prepared(prepare, two_classes: Path, tmp_path: Path) -> None:
    assert prepare(two_classes, tmp_path / "out", "--size", 64).returncode == 0
    data = open_data(tmp_path / "out")
    assert (len(data.train), len(data.val)) == (48, 16)
    assert data.classes.names == ("mono", "poly")


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        ([], "Missing argument 'SRC'", 2),
        (["SRC"], "Missing argument 'OUT'", 2),
        (["nowhere", "NEW"], "no such file or folder: nowhere", 2),
        (["SRC", "SRC/out"], "lies in", 2),
        (["SRC", "SRC"], "lies in", 2),
        (["SRC/train", "SRC"], "lies in", 2),
        (["EMPTY", "NEW"], "no labelled images in", 1),
        (["SRC", "FULL"], "holds something that prepare did not make", 1),
        (["SRC", "FILE"], "is a file; give another output folder", 2),
        (["FILE", "NEW"], "cannot be prepared; give a folder", 2),
        (["SRC", "NEW", "--size", "0"], "'--size': give a whole number of at least 1", 2),
        (
            ["SRC", "NEW", "--quality", "101"],
            "'--quality': give a whole number of at least 1 and at most 100",
            2,
        ),
        (["SRC", "NEW", "--part", "4/3"], "--part 4/3 is not a part", 2),
        (["SRC", "NEW", "--workers", "0"], "'--workers': give a whole number of at least 1", 2),
        (["--join", "EMPTY"], "holds no parts to join", 1),
        (["SRC", "OURS", "--size", "64"], "was prepared with --size 128, not 64", 1),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_wrong_use_ends_in_one_line(
    prepare, prepared, many_kinds: Path, tmp_path: Path, arguments: list[str], said: str, code: int
) -> None:
    (tmp_path / "file.txt").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    places = {
        "SRC": many_kinds,
        "SRC/out": many_kinds / "out",
        "SRC/train": many_kinds / "train",
        "NEW": tmp_path / "new",
        "FULL": tmp_path,
        "FILE": tmp_path / "file.txt",
        "EMPTY": tmp_path / "empty",
        "OURS": prepared[0],
    }
    done = prepare(*(places.get(argument, argument) for argument in arguments))
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "new").exists() or not list((tmp_path / "new").glob("*"))


def test_a_strange_file_in_the_output_is_refused_by_name(prepare, many_kinds: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert prepare(many_kinds, out, "--size", 32).returncode == 0
    (out / "train/cats/stranger.jpg").write_bytes(b"")
    done = prepare(many_kinds, out, "--size", 32)
    assert done.returncode == 1
    assert f"{out}/train/cats/stranger.jpg is not made from an image of this source" in done.stderr


def test_names_that_are_not_utf8(json_of_prepare, many_kinds: Path, tmp_path: Path) -> None:
    directory = tmp_path / "source" / "cats"
    directory.mkdir(parents=True)
    (tmp_path / "source" / "dogs").mkdir()
    for name in ("a.jpg", "b.jpg"):
        shutil.copy(many_kinds / "train/cats/plain.jpg", tmp_path / "source" / "dogs" / name)
    shutil.copy(many_kinds / "train/cats/plain.jpg", os.fsencode(directory) + b"/caf\xe9.jpg")
    Path(os.fsdecode(os.fsencode(directory) + b"/bad\xe9.jpg")).write_bytes(b"bad")
    result = json_of_prepare(tmp_path / "source", tmp_path / "out", "--size", 16, "--on-bad-image", "skip")
    assert [os.fsencode(file.name) for file in (tmp_path / "out" / "cats").iterdir()] == [b"caf\xe9.jpg"]
    assert [os.fsencode(row["file"]) for row in result["skipped"]] == [b"cats/bad\xe9.jpg"]
