"""Weights of other programs in a run, and features as files."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from foreign_files import write_caffe_model, write_numpy

from alexnet_fast.errors import UserError
from alexnet_fast.inference.feature_files import FeatureConfig, write_features
from alexnet_fast.models import create_model
from alexnet_fast.pipelines.cpu.pillow import centre_square, decode
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.pipelines.ten_crop import take_crops
from alexnet_fast.training.checkpoint.model_io import TrainedModel, load_trained, save_weights
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.run import train

SIZES = {"crop": 30, "resize": 36}


@pytest.fixture(scope="module")
def arrays() -> dict[str, list[np.ndarray]]:
    """Blobs of a small AlexNet, as Caffe would have them."""
    torch.manual_seed(0)
    net = create_model("alexnet-64", 7, image_size=30, init="kaiming")
    arrays: dict[str, list[np.ndarray]] = {}
    for name, tensor in net.state_dict().items():
        arrays.setdefault(name.split(".")[0], []).append(tensor.numpy())
    return arrays


@pytest.mark.parametrize("way", ["finetune", "linear_probe"])
def test_foreign_weights_carry_their_mean_into_the_run(way: str, arrays, two_classes, tmp_path: Path) -> None:
    """conv1 reads RGB now, and what Caffe subtracted is in the run's preprocessing."""
    if way == "finetune":
        path = write_numpy(tmp_path / "w.npy", arrays)
    else:
        path = write_caffe_model(tmp_path / "w.caffemodel", arrays, old=False)
    run = tmp_path / "run"
    train(
        TrainConfig(
            data=two_classes,
            run=run,
            model="alexnet-64",
            weights=path,
            epochs=1,
            batch_size=24,
            **SIZES,
            **{way: True},
        )
    )
    trained = load_trained(run)
    assert trained.spec.mean == pytest.approx((122.67891434, 116.66876762, 104.00698793))
    assert trained.spec.std == (1, 1, 1)
    assert np.array_equal(trained.net.conv1.weight.detach().numpy(), arrays["conv1"][0][:, ::-1])
    assert np.array_equal(trained.net.fc6.weight.detach().numpy(), arrays["fc6"][0])
    assert trained.net.fc8.out_features == 2


def features(model: Path, data: Path, out: Path, **more: Any) -> dict[str, Any]:
    """Writes features as the command does."""
    shown: list[tuple[int, int]] = []
    given = {"device": "cpu", "dali": False, "workers": 1, "batch_size": 5, **more}
    config = FeatureConfig(model=model, data=data, out=out, **given)
    result = write_features(config, lambda *done: shown.append(done))
    assert shown[-1] == (result["images"], result["images"])
    return result


@pytest.fixture(scope="module")
def model(arrays, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that say by themselves what they are."""
    net = create_model("alexnet-64", 7, image_size=30).eval()
    net.load_state_dict(
        {
            f"{n}.{k}": torch.from_numpy(b)
            for n, blobs in arrays.items()
            for k, b in zip(("weight", "bias"), blobs, strict=True)
        }
    )
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    arguments = {"name": "alexnet-64", "num_classes": 7, "image_size": 30}
    save_weights(
        path,
        TrainedModel(
            net=net, arguments=arguments, classes=tuple("abcdefg"), spec=AugmentSpec(**SIZES), provenance={}
        ),
    )
    return path


def test_features_are_what_enters_the_last_layer(model: Path, two_classes: Path, tmp_path: Path) -> None:
    """The network's own logits come out of them; its seven classes are not those of the images."""
    out = tmp_path / "out"
    result = features(model, two_classes, out)
    assert (result["images"], result["dimensions"], result["parquet"]) == (16, 4096, None)
    values = np.load(out / "features.npy")
    with (out / "files.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == sorted(row["file"] for row in rows)
    assert [(row["label"], row["index"]) for row in rows] == [("mono", "0")] * 8 + [("poly", "1")] * 8
    trained = load_trained(model)
    square = centre_square(decode(two_classes / "val" / rows[3]["file"].removeprefix("val/")), trained.spec)
    with torch.inference_mode():
        logits = trained.net(take_crops(torch.tensor(square[None]), trained.spec, "single"))[0]
        theirs = trained.net.fc8(torch.from_numpy(values[3]))
    torch.testing.assert_close(theirs, logits, rtol=1e-3, atol=1e-2)
    with pytest.raises(UserError, match="features.npy is there already"):
        features(model, two_classes, out)


def test_features_of_a_validation_share_of_nothing(model: Path, two_classes: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--val-fraction 0.0 must lie between 0 and 1"):
        features(model, two_classes / "train", tmp_path / "out", val_fraction=0.0)


@pytest.mark.parametrize("part", ["train", "val"])
def test_features_of_a_folder_with_one_part(
    model: Path, two_classes: Path, tmp_path: Path, part: str
) -> None:
    """The other is not needed, and not asked for."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / part).symlink_to(two_classes / "val")
    result = features(model, tmp_path / "data", tmp_path / "out", split=part)
    assert result["images"] == 16
    lines = Path(result["files"]).read_text(encoding="utf-8").splitlines()[1:]
    assert [line.split(",")[1:] for line in lines] == [["mono", "0"]] * 8 + [["poly", "1"]] * 8


def test_features_of_a_few_images(model: Path, two_classes: Path, tmp_path: Path) -> None:
    """All of them, of which no validation share could be taken."""
    for kind in ("mono", "poly"):
        (tmp_path / "data" / kind).mkdir(parents=True)
        file = min((two_classes / "val" / kind).iterdir())
        (tmp_path / "data" / kind / file.name).symlink_to(file)
    assert features(model, tmp_path / "data", tmp_path / "out", split="all")["images"] == 2
    with pytest.raises(UserError, match="is divided into train/, val/; give one of these folders"):
        features(model, two_classes, tmp_path / "none", split="all")


def test_features_on_a_device_that_is_not_there(
    model: Path, two_classes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(
        UserError, match="--device cuda:77: .*; give --device cpu, or allow it with --allow-f"
    ):
        features(model, two_classes, tmp_path / "none", device="cuda:77")
    features(model, two_classes, tmp_path / "out", device="cuda:77", allow_fallback=True)
    assert "PyTorch runs on the CPU instead" in caplog.text


def test_features_as_parquet(model: Path, two_classes: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    out = tmp_path / "out"
    result = features(model, two_classes, out, layer="pool5", parquet=True, split="train", dali=True)
    table = parquet.read_table(result["parquet"])
    assert table.column_names == ["file", "label", "index", "features"]
    values = np.stack(table["features"].to_numpy(zero_copy_only=False))
    assert np.array_equal(values, np.load(out / "features.npy"))
    assert values.shape == (48, 256)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"model": Path("nowhere")}, "no such run or file: nowhere"),
        ({"data": Path("nowhere")}, "nowhere"),
        ({"layer": "fc66"}, "--layer fc66: the network has none.*did you mean fc6"),
        ({"out": Path(__file__)}, "is a file; give a folder"),
        ({"split": "test"}, "no test/ folder|has no test"),
        ({"batch_size": 0}, "--batch-size 0 is not a size"),
    ],
)
def test_mistakes_of_features(change, complaint, model: Path, two_classes: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=complaint):
        features(**{"model": model, "data": two_classes, "out": tmp_path / "out", **change})
    assert not list(tmp_path.rglob("features.npy"))
