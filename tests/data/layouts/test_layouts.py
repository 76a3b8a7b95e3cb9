"""What each published layout means: classes, parts, labels, pixels; for `prepare` and for training alike."""

from __future__ import annotations

import csv
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet_fast.cli.commands.prepare import prepare
from alexnet_fast.data import open_data
from alexnet_fast.data.image_list import ImageList
from alexnet_fast.data.layouts.detect import KINDS, DatasetFormat
from alexnet_fast.data.layouts.imagenet_labels import read_structs
from alexnet_fast.pipelines.io import image_at
from alexnet_fast.prepare.sources import open_source

GOLDFISH, TABBY = "n01443537 goldfish, Carassius auratus", "n02123045 tabby, tabby cat"


def labelled(images: ImageList) -> list[tuple[str, str]]:
    """Returns (file name, class) of each image, sorted."""
    names = (name.rpartition("/")[2] for name in images.names)
    return sorted(zip(names, (images.classes.names[label] for label in images.labels), strict=True))


def pixels_agree(images: ImageList, files: dict[str, Path]) -> None:
    """Compares each image with the file that it was made from."""
    for index, name in enumerate(images.names):
        own = np.asarray(image_at(images, index))
        with Image.open(files[name.rpartition("/")[2]]) as file:
            assert np.array_equal(own, np.asarray(file.convert("RGB"))), name


def test_tiny_imagenet_has_wordnets_words_and_the_order_of_its_numbers(tiny: Path) -> None:
    splits = open_data(tiny)
    assert splits.classes.names == (GOLDFISH, TABBY)
    assert splits.train.counts() == (12, 12)
    assert splits.test is None
    validation = labelled(splits.val)
    assert [label for _, label in validation] == [TABBY] * 4 + [GOLDFISH] * 4
    assert validation[0][0] == "val_0.png"


def test_tiny_imagenet_without_words_has_numbers_and_suits_a_network_of_numbers(tiny: Path) -> None:
    from alexnet_fast.data import ClassMap, open_split

    plain = ClassMap(("n01443537", "n02123045"))
    known = open_split(tiny, "val", plain)
    assert known.counts() == (4, 4)
    (tiny / "words.txt").unlink()
    assert open_data(tiny).classes == plain


def test_tiny_imagenet_prepares_into_named_class_folders(tiny: Path, json_of, tmp_path: Path) -> None:
    result = json_of("prepare", tiny, tmp_path / "out", "--size", 32)
    assert result["classes"] == [GOLDFISH, TABBY]
    assert result["counts"]["val"] == {GOLDFISH: 4, TABBY: 4}
    prepared = open_data(tmp_path / "out")
    assert prepared.classes == open_data(tiny).classes
    assert [(n.removesuffix(".jpg"), c) for n, c in labelled(prepared.val)] == [
        (n.removesuffix(".png"), c) for n, c in labelled(open_data(tiny).val)
    ]


def test_json_labels_give_the_order_of_their_indices(loose: Path) -> None:
    splits = open_data(loose)
    assert splits.classes.names == ("poly", "mono")
    assert splits.test is not None
    for images, each in ((splits.train, 12), (splits.val, 4), (splits.test, 2)):
        assert images.counts() == (each, each)
        assert all(name.startswith(label) for name, label in labelled(images))


def test_json_ids_may_be_names_paths_or_names_without_suffix(loose: Path) -> None:
    before = labelled(open_data(loose).train)
    labels = json.loads((loose / "labels.json").read_text())
    for change in ("{}.png", "train/{}.png"):
        changed = {
            change.format(name) if (loose / "train" / f"{name}.png").exists() else name: label
            for name, label in labels.items()
        }
        (loose / "labels.json").write_text(json.dumps(changed))
        assert labelled(open_data(loose).train) == before


def test_json_files_may_stand_elsewhere_and_test_images_may_have_no_labels(
    loose: Path, tmp_path: Path
) -> None:
    labels = {
        name: label
        for name, label in json.loads((loose / "labels.json").read_text()).items()
        if int(name.partition("_")[2]) < 16
    }
    (tmp_path / "of-images.json").write_text(json.dumps(labels))
    (loose / "labels.json").unlink()
    (loose / "indices.json").rename(tmp_path / "of-labels.json")
    dataset_format = DatasetFormat.from_options(
        None, tmp_path / "of-images.json", tmp_path / "of-labels.json"
    )
    splits = open_data(loose, dataset_format=dataset_format)
    assert splits.test is None
    assert splits.train.counts() == (12, 12)


def test_json_labels_prepare_and_keep_their_indices(loose: Path, json_of, tmp_path: Path) -> None:
    """Class folders sort "mono" first; the summary has the order of the indices, in files and in shards."""
    files, shards = tmp_path / "files", tmp_path / "shards"
    assert json_of("prepare", loose, files, "--size", 32)["classes"] == ["poly", "mono"]
    json_of("prepare", loose, shards, "--size", 32, "--shards")
    for out in (files, shards):
        prepared = open_data(out)
        assert prepared.classes.names == ("poly", "mono")
        assert all(name.startswith(label) for name, label in labelled(prepared.train))
    assert open_data(files).train.fingerprint() == open_data(shards).train.fingerprint()


def test_caltech256_as_its_preprocessor_makes_it(caltech: Path, json_of, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = json_of("prepare", caltech, out, "--dataset-format", "caltech256")
    assert result["classes"] == ["poly-cell", "mono-cell", "clutter"]
    rows = list(csv.DictReader((out / "categories.csv").open()))
    assert rows == [{"id": str(n), "label": label} for n, label in enumerate(result["classes"])]
    lists = {part: list(csv.DictReader((out / f"{part}.csv").open())) for part in ("train", "val")}
    assert len(lists["train"]) + len(lists["val"]) == 60
    assert 0 < len(lists["val"]) < 30
    sums = np.zeros(3)
    for part, images in lists.items():
        for row in images:
            with Image.open(out / part / row["image"]) as image:
                assert image.size == (256, 256)
                sums += np.asarray(image).mean((0, 1)) if part == "train" else 0
            assert row["image"].startswith(result["classes"][int(row["class"])] + "/")
    mean = json.loads((out / "rgb_val.json").read_text())
    assert [mean[channel] for channel in "RGB"] == pytest.approx(sums / len(lists["train"]))


def test_caltech256_prepares_again_to_the_same_and_its_lists_are_its_folders(
    caltech: Path, json_of, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = json_of("prepare", caltech, out, "--dataset-format", "caltech256", "--size", 64)
    before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    assert (
        json_of("prepare", caltech, out, "--dataset-format", "caltech256", "--size", 64)["fingerprint"]
        == first["fingerprint"]
    )
    assert {file: file.read_bytes() for file in out.rglob("*") if file.is_file()} == before
    by_lists, by_dirs = open_data(out), open_data(out, dataset_format=DatasetFormat("folders"))
    assert by_lists.classes.names == by_dirs.classes.names == ("poly-cell", "mono-cell", "clutter")
    assert by_lists.val.fingerprint() == by_dirs.val.fingerprint()


@pytest.mark.slow
def test_caltech256_trains_from_its_lists(caltech: Path, json_of, tmp_path: Path) -> None:
    out = tmp_path / "out"
    json_of("prepare", caltech, out, "--dataset-format", "caltech256", "--size", 64)
    small = (
        "--model",
        "convnet-64",
        "--resize",
        64,
        "--crop",
        56,
        "--batch-size",
        16,
        "--precise-bn-batches",
        1,
    )
    trained = json_of("train", out, *small, "--epochs", 1, "--run", tmp_path / "run")
    assert trained["steps"] == 3
    found = json_of("evaluate", tmp_path / "run", out)
    assert found["images"] == len(open_data(out).val)


def test_csv_lists_of_the_preprocessor_itself(cells: dict[str, list[Path]], tmp_path: Path) -> None:
    """Its images lie flat under names of its own; categories.csv is in the order in which it met them."""
    (tmp_path / "categories.csv").write_text("id,label\n0,poly\n1,mono\n")
    for part, some in (("train", slice(6)), ("val", slice(6, 8))):
        (tmp_path / part).mkdir()
        rows = ["image,class"]
        for number, kind in enumerate(("poly", "mono")):
            for cell in cells[kind][some]:
                shutil.copy(cell, tmp_path / part / f"{kind}-{cell.name}")
                rows.append(f"{kind}-{cell.name},{number}")
        (tmp_path / f"{part}.csv").write_text("\n".join(rows) + "\n")
    splits = open_data(tmp_path)
    assert splits.classes.names == ("poly", "mono")
    assert splits.train.counts() == (6, 6)
    assert all(name.startswith(label) for name, label in labelled(splits.val))


def test_ilsvrc2012s_tars_are_read_where_they_are(ilsvrc: Path, cells: dict[str, list[Path]]) -> None:
    splits = open_data(ilsvrc)
    assert splits.classes.names == (GOLDFISH, TABBY)
    assert splits.train.counts() == (12, 12)
    files = {f"n02123045_{number}.png": file for number, file in enumerate(cells["mono"][:12])}
    files |= {f"n01443537_{number}.png": file for number, file in enumerate(cells["poly"][:12])}
    pixels_agree(splits.train, files)
    assert labelled(splits.val) == [
        (f"ILSVRC2012_val_{number + 1:08d}.png", (TABBY, GOLDFISH)[number % 2]) for number in range(8)
    ]
    kinds = ("mono", "poly")
    pixels_agree(
        splits.val, {f"ILSVRC2012_val_{n + 1:08d}.png": cells[kinds[n % 2]][12 + n] for n in range(8)}
    )


@pytest.mark.parametrize("form", ["class tars", "folders", "kaggle", "val.txt", "synset labels"])
def test_every_form_of_ilsvrc2012_is_the_same_data_set(
    ilsvrc: Path, form: str, json_of, tmp_path: Path
) -> None:
    whole = open_data(ilsvrc)
    expected = labelled(whole.train), labelled(whole.val)
    root = tmp_path / "kaggle" if form == "kaggle" else ilsvrc
    images = root / "ILSVRC" / "Data" / "CLS-LOC" if form == "kaggle" else root
    (images / "train").mkdir(parents=True)
    with tarfile.open(ilsvrc / "ILSVRC2012_img_train.tar") as outer:
        outer.extractall(images / "train", filter="data")
    (ilsvrc / "ILSVRC2012_img_train.tar").unlink()
    if form != "class tars":
        for inner in sorted((images / "train").glob("*.tar")):
            with tarfile.open(inner) as archive:
                archive.extractall(inner.with_suffix(""), filter="data")
            inner.unlink()
        with tarfile.open(ilsvrc / "ILSVRC2012_img_val.tar") as archive:
            archive.extractall(images / "val", filter="data")
        (ilsvrc / "ILSVRC2012_img_val.tar").unlink()
    wnids = {name: label.split()[0] for name, label in expected[1]}
    if form == "kaggle":
        rows = "".join(f"{n.removesuffix('.png')},{w} 1 2 3 4 {w} 5 6 7 8\n" for n, w in wnids.items())
        (root / "LOC_val_solution.csv").write_text("ImageId,PredictionString\n" + rows)
        (root / "LOC_synset_mapping.txt").write_text(f"{TABBY}\n{GOLDFISH}\n")
    elif form == "val.txt":
        order = sorted(set(wnids.values()))
        (root / "val.txt").write_text("".join(f"{n} {order.index(w)}\n" for n, w in wnids.items()))
    elif form == "synset labels":
        (root / "synset_labels.txt").write_text("".join(f"{w}\n" for w in wnids.values()))
        (root / "ILSVRC2012_devkit_t12.tar.gz").unlink()
        (root / "synset_words.txt").write_text(f"{TABBY}\n{GOLDFISH}\n")
    again = open_data(root)
    assert (labelled(again.train), labelled(again.val)) == expected
    if form == "class tars":
        result = json_of("prepare", root, tmp_path / "out", "--size", 32, "--center-crop")
        assert result["classes"] == [GOLDFISH, TABBY]
        assert result["images"] == 32


def test_a_layout_that_is_given_wins(tiny: Path, caltech: Path) -> None:
    assert open_source(tiny, DatasetFormat("folders")).classes.names == ("images", "n01443537", "n02123045")
    assert open_source(caltech).classes.names == ("001.poly-cell", "002.mono-cell", "003.clutter")
    assert open_data(caltech, dataset_format=DatasetFormat("caltech256")).classes.names[0] == "poly-cell"


def test_the_command_line_offers_every_layout() -> None:
    choices = {option.name: option.type for option in prepare.params}
    assert tuple(choices["dataset_format"].choices) == KINDS


def test_matlab_files_as_scipy_writes_and_reads_them(tmp_path: Path) -> None:
    import scipy.io

    rows = [{"ILSVRC2012_ID": float(n), "WNID": f"n{n:08d}", "words": f"café {n}"} for n in range(1, 40)]
    fields = [(name, object) for name in rows[0]]
    synsets = np.array([tuple(row.values()) for row in rows], dtype=fields).reshape(-1, 1)
    for packed in (False, True):
        scipy.io.savemat(tmp_path / "m.mat", {"synsets": synsets}, do_compression=packed)
        assert read_structs((tmp_path / "m.mat").read_bytes()) == rows
    content = (tmp_path / "m.mat").read_bytes()
    for damaged in (b"", content[:128], content[:300], content[:140] + b"\xff" * 40 + content[180:]):
        with pytest.raises(ValueError, match="MATLAB"):
            read_structs(damaged)
