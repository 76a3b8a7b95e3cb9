"""Data sets whose files contradict each other: one clear sentence that names the file, before any work."""

from __future__ import annotations

import json
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from alexnet_fast.data import open_data
from alexnet_fast.data.entries import Ignored
from alexnet_fast.data.layouts.detect import DatasetFormat
from alexnet_fast.errors import UserError
from alexnet_fast.prepare.sources import open_source

Change = Callable[[Path], object]


def edit(name: str, change: Callable[[dict[str, object]], object]) -> Change:
    """Returns what changes a JSON file."""

    def apply(root: Path) -> None:
        plain = json.loads((root / name).read_text())
        change(plain)
        (root / name).write_text(json.dumps(plain))

    return apply


def write(name: str, text: str) -> Change:
    """Returns what writes a file anew."""
    return lambda root: (root / name).write_text(text)


def refused(root: Path, said: str, dataset_format: DatasetFormat | None = None) -> None:
    """Training and `prepare` refuse a folder with the same words."""
    for opened in (open_data, open_source):
        with pytest.raises(UserError, match=said):
            opened(root, dataset_format=dataset_format)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            edit("labels.json", lambda d: d.pop("mono_3")),
            "labels.json has no label for train/mono_3.png; add",
        ),
        (edit("labels.json", lambda d: d.pop("mono_13")), "labels.json has no label for val/mono_13.png"),
        (edit("labels.json", lambda d: d.pop("mono_16")), "has no label for test/mono_16.png"),
        (
            edit("labels.json", lambda d: d.update(mono_0="film")),
            "has no index for 'film', the label of 'mono_0'",
        ),
        (
            edit("indices.json", lambda d: d.update(film=d.pop("mono"))),
            "indices.json has no index for 'mono', the label of",
        ),
        (edit("indices.json", lambda d: d.update(mono=0)), "'mono' and 'poly' have one index, 0; give each"),
        (edit("indices.json", lambda d: d.update(film=-1)), "the index of 'film' is -1, no whole number"),
        (edit("indices.json", lambda d: d.update({"a/b": 7})), "'a/b' cannot be a class"),
        (write("indices.json", '{"mono": 1}'), "fewer than two labels"),
        (write("indices.json", '{"mono": 1, "poly": 0, "mono": 2}'), "indices.json has 'mono' twice"),
        (write("labels.json", "mono"), "labels.json is not JSON"),
        (write("labels.json", "[1]"), "labels.json is not a JSON object"),
        (lambda root: shutil.rmtree(root / "train"), "no train/ folder|no class folders|has no folder"),
    ],
)
def test_json_labels_that_are_wrong(loose: Path, change: Change, said: str) -> None:
    from alexnet_fast.data.layouts.json_labels import LabelFiles

    change(loose)
    files = LabelFiles(labels=loose / "labels.json", encoding=loose / "indices.json")
    refused(loose, said, DatasetFormat("json", files))


def test_label_files_that_are_not_there(loose: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--labels and --label-encoding belong together"):
        DatasetFormat.from_options(None, loose / "labels.json", None)
    with pytest.raises(UserError, match="--labels belongs to --dataset-format json, not csv"):
        DatasetFormat.from_options("csv", loose / "labels.json", loose / "indices.json")
    with pytest.raises(UserError, match="cannot read .*none.json: no such file"):
        open_data(
            loose,
            dataset_format=DatasetFormat.from_options(None, tmp_path / "none.json", loose / "indices.json"),
        )
    (loose / "indices.json").unlink()
    refused(loose, "does not hold one JSON of image id -> label and one of label", DatasetFormat("json"))


ANNOTATIONS = "val/val_annotations.txt"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda root: (root / "val/images/val_3.png").unlink(),
            "val_annotations.txt line 4 names val_3.png, and",
        ),
        (
            lambda root: (root / "val/images/val_3.png").rename(root / "val/images/val_9.png"),
            "names val_3.png",
        ),
        (write(ANNOTATIONS, "val_0.png\tn02123045\n"), "has no class for images/val_1.png .7 images"),
        (write(ANNOTATIONS, "val_0.png\tn02123045\nval_0.png\tn02123045\n"), "names it twice"),
        (write(ANNOTATIONS, "val_0.png\tn00000000\n"), "line 1: train/ has no class n00000000"),
        (write(ANNOTATIONS, "val_0.png\n"), "line 1 has no class; each line is a file, a tab"),
        (write("words.txt", "goldfish\n"), "words.txt line 1: 'goldfish' is no WordNet number"),
    ],
)
def test_a_tiny_imagenet_that_is_wrong(tiny: Path, change: Change, said: str) -> None:
    change(tiny)
    refused(tiny, said)


def csv_dir(root: Path, cells: dict[str, list[Path]]) -> Path:
    """Makes a folder in the format of Caltech-256's preprocessor."""
    (root / "categories.csv").write_text("id,label\n0,poly\n1,mono\n")
    for part in ("train", "val"):
        (root / part).mkdir()
        rows = ["image,class"]
        for number, kind in enumerate(("poly", "mono")):
            shutil.copy(cells[kind][0], root / part / f"{kind}.png")
            rows.append(f"{kind}.png,{number}")
        (root / f"{part}.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("train.csv", "image,class\nmono.png,7\n", "train.csv line 2: categories.csv has no category '7'"),
        ("train.csv", "image,class\nmono.png,mono\n", "categories.csv has no category 'mono'; add it there"),
        ("val.csv", "image,class\nfilm.png,1\n", "val.csv line 2: .*val has no image 'film.png'"),
        ("val.csv", "image,class\n../train/mono.png,1\n", "has no image '../train/mono.png'"),
        ("val.csv", "image,class\nmono.png,1\nmono.png,1\n", "line 3: mono.png stands twice"),
        (
            "val.csv",
            "file,class\nmono.png,1\n",
            "val.csv has no column image; its first line must be image,class",
        ),
        ("categories.csv", "id,label\n0,poly\n0,mono\n", "categories.csv line 3: 0 mono stands twice"),
        ("categories.csv", "id,label\nx,poly\n", "line 2: 'x' is no class number"),
        ("categories.csv", "id,label\n0,poly\n", "fewer than two classes"),
    ],
)
def test_csv_lists_that_are_wrong(
    cells: dict[str, list[Path]], tmp_path: Path, name: str, text: str, said: str
) -> None:
    (csv_dir(tmp_path, cells) / name).write_text(text)
    refused(tmp_path, said)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda root: (root / "004.mono-cell").mkdir(), "has 002.mono-cell and 004.mono-cell; rename"),
        (lambda root: (root / "1.film").mkdir(), "has 1.film and 001.poly-cell|has 001.poly-cell and 1.film"),
        (
            lambda root: (root / "film").mkdir(),
            "film is no class folder of Caltech-256; its folders are called",
        ),
    ],
)
def test_a_caltech256_that_is_wrong(caltech: Path, change: Change, said: str) -> None:
    change(caltech)
    refused(caltech, said, DatasetFormat("caltech256"))


TRUTH = "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt"


def unpacked(root: Path) -> Path:
    """Unpacks the development kit."""
    with tarfile.open(root / "ILSVRC2012_devkit_t12.tar.gz") as kit:
        kit.extractall(root, filter="data")
    return root


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            write(TRUTH, "1\n2\n1\n"),
            "labels 3 validation images, and there are 8; the list goes by the order",
        ),
        (write(TRUTH, "1\n2\n1\n2\n1\n2\n1\n9\n"), "line 8 of the validation ground truth is 9, no class"),
        (write(TRUTH, "1\n2\ncat\n"), "ILSVRC2012_devkit_t12 is damaged .invalid literal"),
        (lambda root: (root / TRUTH).unlink(), "cannot read .*ground_truth.txt: no such file"),
        (
            write("synset_labels.txt", "n02123045\n"),
            "synset_labels.txt labels 1 validation images, and there are 8",
        ),
        (write("synset_labels.txt", "cat\n" * 8), "'cat', the class of .*, is no WordNet number"),
        (write("val.txt", "ILSVRC2012_val_00000001.png 2\n"), "val.txt line 1 is no file and class index"),
        (
            write("val.txt", "ILSVRC2012_val_00000001.png 1\n"),
            "has no class for ILSVRC2012_val_00000002.png .7",
        ),
        (write("ILSVRC2012_devkit_t12/data/meta.mat", "x"), "is damaged .no MATLAB 5 file"),
        (lambda root: shutil.rmtree(root / "ILSVRC2012_devkit_t12"), "no such"),
        (
            lambda root: (root / "LOC_val_solution.csv").write_bytes(b"\xff\xfeI\0"),
            "LOC_val_solution.csv is not a CSV in UTF-8 .*; save it again as such",
        ),
        (
            write("LOC_val_solution.csv", "a.jpg,n01443537 1 2 3 4\n"),
            "has no column ImageId; its first line must be ImageId,PredictionString",
        ),
        (lambda root: (root / "ILSVRC2012_img_val.tar").unlink(), "no ILSVRC-2012 validation images in"),
        (
            write("ILSVRC2012_img_train.tar", "x" * 2000),
            "ILSVRC2012_img_train.tar is not an uncompressed tar",
        ),
    ],
)
def test_an_ilsvrc2012_that_is_wrong(ilsvrc: Path, change: Change, said: str) -> None:
    change(unpacked(ilsvrc))
    if said == "no such":
        (ilsvrc / "ILSVRC2012_devkit_t12.tar.gz").unlink()
        said = "says nowhere which classes the validation images are of; put ILSVRC2012_devkit"
    refused(ilsvrc, said)


def test_an_inner_tar_that_leads_out_of_its_folder(ilsvrc: Path, tmp_path: Path, cells) -> None:
    with tarfile.open(tmp_path / "n01443537.tar", "w") as inner:
        inner.add(cells["mono"][0], "../../evil.png")
    with tarfile.open(ilsvrc / "ILSVRC2012_img_train.tar", "w") as outer:
        for wnid in ("n01443537", "n02123045"):
            outer.add(tmp_path / "n01443537.tar", f"{wnid}.tar")
    refused(ilsvrc, "holds '../../evil.png', a name that leads out of it")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ["--dataset-format", "caltech256", "--shards"],
            "--dataset-format caltech256 writes CSVs of JPEG files; leave out",
        ),
        (
            ["--dataset-format", "caltech256", "--val-fraction", "2"],
            "'--val-fraction': give a number above 0 and below 1",
        ),
        (
            ["--dataset-format", "caltech256", "--val-fraction", "0"],
            "'--val-fraction': give a number above 0 and below 1",
        ),
        (["--dataset-format", "imagenet"], "'imagenet' is not one of"),
        (["--dataset-format", "tiny-imagenet"], "no such file: .*val_annotations.txt; it is the list"),
        (["--labels", "labels.json"], "--labels and --label-encoding belong together"),
    ],
)
def test_options_that_do_not_fit(caltech: Path, tmp_path: Path, options: list[str], said: str) -> None:
    from click.testing import CliRunner

    from alexnet_fast.cli.main import commands

    done = CliRunner().invoke(commands, ["prepare", str(caltech), str(tmp_path / "out"), *options])
    assert done.exit_code == 2, done.output
    assert "Traceback" not in done.output
    assert re.search(said, done.output), done.output


def test_a_folder_that_is_divided_already_has_no_other_split(tiny: Path, tmp_path: Path) -> None:
    from alexnet_fast.prepare.job import Preparation, PrepareConfig

    with pytest.raises(UserError, match="is divided into splits already; leave out --val-fraction"):
        Preparation(PrepareConfig(source=tiny, output=tmp_path / "out", val_fraction=0.2))


class TestNothingVanishes:
    """What stands in a published layout beside the images that its lists name is counted."""

    def test_caltech(self, caltech: Path, caplog: pytest.LogCaptureFixture) -> None:
        (caltech / "001.poly-cell" / "RENAME2").touch()
        (caltech / "Thumbs.db").touch()
        open_data(caltech, dataset_format=DatasetFormat(kind="caltech256"))
        assert f"ignored in {caltech}: 1 thumbnails of Windows, 1 without an extension" in caplog.text

    def test_tiny_imagenet(self, tiny: Path, caplog: pytest.LogCaptureFixture) -> None:
        open_data(tiny)
        assert "3 .txt, not an image" in caplog.text
        assert "1 test/ has no labels: left out" in caplog.text
        ignored = Ignored()
        open_source(tiny, ignored=ignored)
        assert ignored.counts[".txt, not an image"] == 3
