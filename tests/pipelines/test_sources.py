"""Shards and raw arrays give the same batches as class folders."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from alexnet_fast.data import ImageList, open_data
from alexnet_fast.data.image_list import FileLocation
from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.cpu.pillow import BadImageError
from alexnet_fast.pipelines.dali.graph import build_graph
from alexnet_fast.pipelines.factory import make_loader
from alexnet_fast.pipelines.io import ArrayFile
from alexnet_fast.pipelines.loader import Batch, LoaderConfig
from alexnet_fast.pipelines.sampler import EpochSampler
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.prepare.job import Preparation, PrepareConfig
from alexnet_fast.prepare.transform import ResizeConfig

SPEC = AugmentSpec(resize=96, crop=80)


@pytest.fixture(scope="module")
def forms(
    cells: dict[str, list[Path]], photographs: list[Image.Image], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The same images, shorter side 96, as class folders, shards, arrays and arrays in shards."""
    root = tmp_path_factory.mktemp("forms")
    for kind, files in cells.items():
        (root / "source" / kind).mkdir(parents=True)
        for number, file in enumerate(files[:20]):
            image = photographs[number % 2].crop((number, 0, 400 + 9 * number, 300))
            Image.blend(image, Image.open(file).convert("RGB").resize(image.size), 0.4).save(
                root / "source" / kind / f"{file.stem}.jpg"
            )
    make(root / "source", root / "folders")
    make(root / "folders", root / "shards", shard_mib=1)
    make(root / "folders", root / "arrays", encoding="raw")
    make(root / "folders", root / "array-shards", encoding="raw", shard_mib=1)
    return root


def make(source: Path, output: Path, *, encoding: Any = "jpeg", shard_mib: int | None = None) -> None:
    """Prepares a folder."""
    recipe = ResizeConfig(size=96, encoding=encoding)
    config = PrepareConfig(source=source, output=output, recipe=recipe, shard_mib=shard_mib, workers=2)
    Preparation(config).run()


def batches(
    images: ImageList, kind: Any = "dali", view: Any = "train", spec: AugmentSpec = SPEC, **options: Any
) -> list[Batch]:
    """Loads an epoch."""
    sampler = EpochSampler(num_images=len(images), batch_size=8, shuffle=view == "train", seed=5)
    loader = make_loader(images, spec, view, sampler, LoaderConfig(kind=kind, **options))
    return [Batch(b.images.clone(), b.labels, b.indices) for b in loader.epoch(2)]


def equal(one: list[Batch], other: list[Batch]) -> bool:
    """Returns whether two epochs are bit-identical."""
    return len(one) == len(other) and all(
        torch.equal(a.images, b.images)
        and torch.equal(a.labels, b.labels)
        and np.array_equal(a.indices, b.indices)
        for a, b in zip(one, other, strict=True)
    )


def stems(images: ImageList) -> list[str]:
    """Returns the names without their suffixes."""
    return [str(Path(name).with_suffix("")) for name in images.names]


@pytest.mark.parametrize("form", ["shards", "arrays", "array-shards"])
class TestEveryForm:
    """Whatever `prepare` writes is the same data set."""

    def test_has_the_names_classes_and_parts_of_the_folders(self, forms: Path, form: str) -> None:
        here, there = open_data(forms / form), open_data(forms / "folders")
        assert here.classes == there.classes
        for mine, theirs in ((here.train, there.train), (here.val, there.val)):
            assert stems(mine) == stems(theirs)
            assert mine.labels.tolist() == theirs.labels.tolist()

    @pytest.mark.parametrize("kind", ["dali", "torch"])
    @pytest.mark.parametrize("view", ["train", "square"])
    def test_gives_the_same_pixels(self, forms: Path, form: str, kind: str, view: str) -> None:
        here, there = open_data(forms / form).train, open_data(forms / "folders").train
        assert equal(batches(here, kind, view), batches(there, kind, view))

    def test_gives_the_same_pixels_when_they_are_resized(self, forms: Path, form: str) -> None:
        small = AugmentSpec(resize=64, crop=50, jitter=None)
        here, there = open_data(forms / form).train, open_data(forms / "folders").train
        for mine, theirs in zip(batches(here, spec=small), batches(there, spec=small), strict=True):
            apart = (mine.images - theirs.images).abs()
            assert apart.max() <= 1
            assert (apart > 0).float().mean() < 1e-3

    @pytest.mark.parametrize("kind", ["dali", "torch"])
    def test_goes_on_in_the_middle(self, forms: Path, form: str, kind: Any) -> None:
        images = open_data(forms / form).train
        sampler = EpochSampler(num_images=len(images), batch_size=8, shuffle=True)
        loader = make_loader(images, SPEC, "train", sampler, LoaderConfig(kind=kind))
        whole = [Batch(b.images.clone(), b.labels, b.indices) for b in loader.epoch(1)]
        next(loader.epoch(1))
        rest = [Batch(b.images.clone(), b.labels, b.indices) for b in loader.epoch(1, 2)]
        assert equal(rest, whole[2:])


def test_shards_and_folders_have_one_fingerprint(forms: Path) -> None:
    """A run that began on folders may resume on shards."""
    for part in ("train", "val"):
        fingerprints = {
            getattr(open_data(forms / form), part).fingerprint() for form in ("folders", "shards")
        }
        assert len(fingerprints) == 1


def test_ranks_are_disjoint_and_cover_shards(forms: Path) -> None:
    images = open_data(forms / "shards").train
    seen: list[int] = []
    for rank in range(3):
        sampler = EpochSampler(num_images=len(images), batch_size=4, shuffle=True, rank=rank, world=3)
        loader = make_loader(images, SPEC, "train", sampler, LoaderConfig())
        seen += [index for batch in loader.epoch(0) for index in batch.indices.tolist()]
    assert len(seen) == len(set(seen)) == len(images) // 12 * 12


@pytest.mark.parametrize("kind", ["dali", "torch"])
@pytest.mark.parametrize("form", ["shards", "arrays"])
def test_a_damaged_image_is_named_and_left_out(
    forms: Path, form: str, kind: str, tmp_path: Path, tree_copy: Callable[[Path, Path], Path]
) -> None:
    here = tree_copy(forms / form, tmp_path / form)
    train = open_data(here).train
    place = train.location(3)
    with Path(place.path).open("r+b") as file:
        if isinstance(place, FileLocation):
            file.truncate(1000)
        else:
            file.seek(place.offset)
            file.write(b"\0" * place.size)
    with pytest.raises(UserError, match="cannot decode .*" + train.names[3]):
        batches(train, kind)
    left = [index for batch in batches(train, kind, on_bad_image="skip") for index in batch.indices.tolist()]
    assert 3 not in left
    assert len(left) >= len(train) // 8 * 8 - 1


@pytest.fixture
def tree_copy() -> Callable[[Path, Path], Path]:
    """Copies a folder."""
    import shutil

    return lambda source, target: Path(shutil.copytree(source, target))


def test_a_tar_that_was_cut_off_is_refused(forms: Path, tmp_path: Path, tree_copy) -> None:
    here = tree_copy(forms / "shards", tmp_path / "shards")
    tar = next(here.glob("*.tar"))
    with tar.open("r+b") as file:
        file.truncate(tar.stat().st_size - 512)
    with pytest.raises(UserError, match=f"{tar.name} has .* bytes, not the .*; copy it again"):
        open_data(here)


def test_an_output_that_prepare_has_not_finished_is_refused(forms: Path, tmp_path: Path, tree_copy) -> None:
    here = tree_copy(forms / "folders", tmp_path / "folders")
    (here / ".preparing").mkdir()
    with pytest.raises(UserError, match="prepare has not finished .*; run it again"):
        open_data(here)


class TestOtherPeoplesTars:
    """WebDataset tars that `prepare` has not written."""

    @pytest.fixture
    def write(self, forms: Path, tmp_path: Path) -> Callable[..., Path]:
        """Writes the images of the class folders into tars."""

        def tars(names: tuple[str, ...], label: Callable[[str], dict[str, bytes]]) -> Path:
            files = sorted((forms / "folders").glob("*/*.jpg"))
            (tmp_path / "tars").mkdir()
            for number, name in enumerate(names):
                with tarfile.open(tmp_path / "tars" / name, "w", format=tarfile.PAX_FORMAT) as archive:
                    for file in files[number :: len(names)]:
                        archive.add(file, f"./{file.stem}.jpg")
                        for suffix, content in label(file.parent.name).items():
                            (tmp_path / "label").write_bytes(content)
                            archive.add(tmp_path / "label", f"./{file.stem}.{suffix}")
            return tmp_path / "tars"

        return tars

    @pytest.mark.parametrize(
        ("label", "classes"),
        [
            (lambda name: {"cls": name.encode()}, ("mono", "poly")),
            (lambda name: {"cls": b"7" if name == "mono" else b"10"}, ("07", "10")),
            (lambda name: {"json": json.dumps({"label": name, "width": 3}).encode()}, ("mono", "poly")),
            (lambda name: {"json": b'{"label": 1}', "cls": name.encode()}, ("mono", "poly")),
        ],
        ids=["names", "numbers", "json", "both: cls counts"],
    )
    def test_are_read_by_their_headers(self, forms: Path, write, label, classes: tuple[str, ...]) -> None:
        data = open_data(write(("a.tar", "b.tar"), label), val_fraction=0.5)
        assert data.classes.names == classes
        assert len(data.train) + len(data.val) == 40
        by_stem = {
            Path(name).stem: label for name, label in zip(data.train.names, data.train.labels, strict=True)
        }
        there = open_data(forms / "folders")
        pixels = {
            stem: image
            for part in (there.train, there.val)
            for batch in batches(part, view="square")
            for stem, image in zip(
                (Path(part.names[i]).stem for i in batch.indices), batch.images, strict=True
            )
        }
        for batch in batches(data.train, view="square"):
            for index, image, mine in zip(
                batch.indices.tolist(), batch.images, batch.labels.tolist(), strict=True
            ):
                stem = Path(data.train.names[index]).stem
                assert mine == by_stem[stem]
                assert torch.equal(image, pixels[stem])

    def test_belong_to_the_part_in_their_name(self, write) -> None:
        names = ("my-train-00.tar", "my-train-01.tar", "my-val-00.tar")
        data = open_data(write(names, lambda name: {"cls": name.encode()}))
        assert {Path(tar).name for tar in data.val.stretches.tars} == {"my-val-00.tar"}
        assert len(data.val) in (13, 14)

    def test_may_stand_in_the_folders_of_the_parts(self, write, tmp_path: Path) -> None:
        root = write(("a.tar", "b.tar"), lambda name: {"cls": name.encode()})
        for name, part in (("a", "train"), ("b", "val")):
            (tmp_path / "data" / part).mkdir(parents=True)
            (root / f"{name}.tar").rename(tmp_path / "data" / part / f"{name}.tar")
        data = open_data(tmp_path / "data")
        assert (len(data.train), len(data.val)) == (20, 20)

    def test_without_classes_are_refused(self, write) -> None:
        with pytest.raises(UserError, match="has no label .it has jpg, json.; each needs"):
            open_data(write(("a.tar",), lambda _: {"json": b'{"caption": "a cell"}'}))


class TestArrays:
    """Reading of array files."""

    @pytest.mark.parametrize(
        ("array", "said"),
        [
            (np.zeros((5, 5, 3)), r"an array of float64 \(5, 5, 3\), not of uint8"),
            (np.zeros((5, 5), np.uint8), "not of uint8"),
            (np.zeros((0, 5, 3), np.uint8), "not of uint8"),
            (np.asfortranarray(np.zeros((5, 6, 3), np.uint8)), "not of uint8"),
            (np.array([None, 1]), "not of uint8"),
        ],
    )
    def test_another_array_is_refused(self, tmp_path: Path, array: np.ndarray, said: str) -> None:
        np.save(tmp_path / "x.npy", array)
        with (
            ArrayFile(FileLocation(str(tmp_path / "x.npy"))) as file,
            pytest.raises(BadImageError, match=said),
        ):
            file.shape()

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"", "empty file"),
            (b"no array at all" * 20, "not an array file"),
            (b"\x93NUMPY", "not an array file"),
        ],
    )
    def test_another_file_is_refused(self, tmp_path: Path, content: bytes, said: str) -> None:
        (tmp_path / "x.npy").write_bytes(content)
        with (
            ArrayFile(FileLocation(str(tmp_path / "x.npy"))) as file,
            pytest.raises(BadImageError, match=said),
        ):
            file.shape()

    def test_a_region_is_that_of_the_array(self, tmp_path: Path) -> None:
        array = np.random.default_rng(0).integers(0, 256, (31, 47, 3), np.uint8)
        np.save(tmp_path / "x.npy", array)
        with ArrayFile(FileLocation(str(tmp_path / "x.npy"))) as file:
            assert file.shape() == (31, 47)
            assert np.array_equal(file.region((3, 5), (20, 40)), array[3:20, 5:40])


@pytest.mark.parametrize("reading", ["bytes", "regions"])
@pytest.mark.parametrize("view", ["train", "eval", "square"])
def test_the_graph_for_the_gpu_is_well_formed(reading: Any, view: Any) -> None:
    graph = build_graph(SPEC, view, device="gpu", batch_size=4, threads=2, input_kind=reading)
    assert len(graph.serialize()) > 500
