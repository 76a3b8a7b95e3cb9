"""The fields of WebDataset samples: a run remembers them; what reads tars has the options."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import click
import pytest

from alexnet_fast.cli.main import commands
from alexnet_fast.cli.options import FORMAT
from alexnet_fast.cli.part import part_images
from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.image_dataset import list_data
from alexnet_fast.pipelines.image_loader import ImageLoader
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.data import open_splits
from shard_files import JPEG, write_shard

COMMANDS = (
    "train",
    "evaluate",
    "features",
    "scan",
    "prepare",
    "show augment",
    "show misclassified",
    "bench input",
    "bench train",
    "bench startup",
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Masks beside images, coarse labels beside fine ones."""
    for part, count in (("train", 4), ("val", 2)):
        members = []
        for key in range(count):
            members += [(f"{key}.jpg", JPEG), (f"{key}.seg.png", JPEG)]
            members += [(f"{key}.cls", b"%d" % (key % 2)), (f"{key}.kind.txt", b"ab"[key % 2 : key % 2 + 1])]
        write_shard(tmp_path / "data" / f"{part}-0.tar", members)
    return tmp_path / "data"


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_that_reads_tars_has_the_options(words: str) -> None:
    command: click.Command = commands
    for word in words.split():
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), word)
        assert found is not None
        command = found
    assert {"image_key", "label_key"} <= {parameter.name for parameter in command.params}


def test_a_run_reads_them_and_writes_them_down(data: Path, tmp_path: Path) -> None:
    config = TrainConfig(data=data, run=tmp_path / "run", image_key="seg.png", label_key="kind.txt")
    splits = open_splits(config)
    assert splits.classes.names == ("a", "b")
    assert splits.train.names[0] == "0.seg.png"
    config.save(tmp_path / "config.toml")
    assert 'image_key = "seg.png"' in (tmp_path / "config.toml").read_text()


def test_a_model_is_tried_on_the_fields_of_its_training(data: Path) -> None:
    given = dict.fromkeys((*FORMAT, "val_fraction", "exclude")) | {"data": data, "split": "val"}
    model = SimpleNamespace(classes=("a", "b"), provenance={"image_key": "seg.png", "label_key": "kind.txt"})
    assert list(part_images(model, given).names) == ["0.seg.png", "1.seg.png"]
    assert list(part_images(model, given | {"image_key": "jpg"}).names) == ["0.jpg", "1.jpg"]


def test_a_loader_takes_them_as_arguments(data: Path) -> None:
    (data / "val-0.tar").unlink()
    loader = ImageLoader(
        data, batch_size=2, workers=1, loader="torch", image_key="seg.png", label_key="kind.txt"
    )
    assert loader.dataset.classes == ["a", "b"]
    assert loader.dataset.images.names[0] == "0.seg.png"
    assert list_data(data).names[0] == "0.jpg"
    with pytest.raises(UserError, match="^image_key 'a/b' is no field of a sample"):
        ImageLoader(data, image_key="a/b")
