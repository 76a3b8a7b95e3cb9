"""`alexnet-fast show`: a PNG file and a JSON line, or one clear line about the error."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch
from click.testing import CliRunner, Result

from alexnet_fast.cli.commands.show import show
from alexnet_fast.models import create_model
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.training.checkpoint.model_io import TrainedModel, save_weights
from alexnet_fast.training.metrics_log import MetricsLog

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from alexnet_fast.training.metrics import EpochMetrics


def trained(**spec: int) -> TrainedModel:
    torch.manual_seed(0)
    arguments = {"name": "convnet-64", "num_classes": 2}
    return TrainedModel(
        net=create_model("convnet-64", 2).eval(),
        arguments=arguments,
        classes=("ant", "bee"),
        spec=AugmentSpec(**spec),
        provenance={},
    )


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of one network with room for ten crops, and of one without."""
    directory = tmp_path_factory.mktemp("models")
    roomy = trained(resize=72, crop=64)
    save_weights(directory / "roomy.safetensors", roomy)
    tight = dataclasses.replace(roomy, spec=AugmentSpec(resize=64, crop=64))
    save_weights(directory / "tight.safetensors", tight)
    return directory


@pytest.fixture
def run(tmp_path: Path, rows: Callable[[int], list[EpochMetrics]]) -> Path:
    """A run folder with the metrics of five epochs."""
    directory = tmp_path / "run"
    directory.mkdir()
    history = MetricsLog(directory / "metrics.csv", directory / "tensorboard")
    for row in rows(5):
        history.add(row)
    history.close()
    return directory


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs `show` in an empty folder."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return lambda *arguments: CliRunner().invoke(show, [str(argument) for argument in arguments])


def answer(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


def complaint(result: Result, exit_code: int) -> str:
    """Returns the one line that a failed command prints."""
    assert result.exit_code == exit_code, result.output
    (line,) = result.stderr.strip().splitlines()
    return line


class TestImages:
    def test_curves(self, call: Any, run: Path, pixels_of: Any) -> None:
        found = answer(call("curves", run, "--json"))
        assert found == {"image": "curves.png", "epochs": 5, "best_epoch": 4}
        assert pixels_of((run.parent / "here" / "curves.png").read_bytes()).std() > 8

    def test_crops(self, call: Any, models: Path, directory: Path, tmp_path: Path, pixels_of: Any) -> None:
        image = directory / "bee" / "2.png"
        found = answer(call("crops", models / "roomy.safetensors", image, "--json"))
        assert found["image"] == "crops-2.png"
        assert found["label"] in {"ant", "bee"}
        assert 0.5 <= found["probability"] <= 1
        assert pixels_of((tmp_path / "here" / "crops-2.png").read_bytes()).std() > 8

    @pytest.mark.parametrize(("option", "loader"), [("--dali", "DALI"), ("--no-dali", "Pillow")])
    def test_augment(self, call: Any, directory: Path, option: str, loader: str) -> None:
        found = answer(
            call(
                "augment", directory, option, "--model", "convnet-64", "--images", 2, "--samples", 2, "--json"
            )
        )
        assert found["image"] == "augment.png"
        assert found["loader"].startswith(loader)
        assert [file.rsplit("/", 2)[1] for file in found["files"]] == ["ant", "bee"], "from all over the list"

    def test_augment_takes_the_preprocessing_of_a_model_file(
        self, call: Any, models: Path, directory: Path
    ) -> None:
        assert (
            call("augment", directory, "--model", models / "roomy.safetensors", "--samples", 1).exit_code == 0
        )

    def test_kernels(self, call: Any, models: Path, tmp_path: Path, pixels_of: Any) -> None:
        found = answer(call("kernels", models / "roomy.safetensors", "--layer", "conv2", "--json"))
        assert found == {"image": "kernels-conv2.png", "layer": "conv2"}
        assert pixels_of((tmp_path / "here" / "kernels-conv2.png").read_bytes()).std() > 8

    def test_activations(
        self, call: Any, models: Path, directory: Path, tmp_path: Path, pixels_of: Any
    ) -> None:
        image = directory / "bee" / "2.png"
        found = answer(call("activations", models / "roomy.safetensors", image, "--json"))
        assert found == {"image": "activations-conv1.png", "layer": "conv1"}
        assert pixels_of((tmp_path / "here" / "activations-conv1.png").read_bytes()).std() > 8

    def test_saliency_is_of_images_chosen_by_the_seed(self, call: Any, models: Path, directory: Path) -> None:
        options = ("--split", "all", "--images", 2, "--samples", 2, "--force", "--json")
        chosen = [
            answer(call("saliency", models / "roomy.safetensors", directory, *options, "--seed", seed))[
                "files"
            ]
            for seed in (0, 0, 3)
        ]
        assert chosen[0] == chosen[1]
        assert len({tuple(files) for files in chosen}) > 1

    def test_confusion_and_misclassified_agree(self, call: Any, models: Path, directory: Path) -> None:
        given = (models / "roomy.safetensors", directory, "--split", "all", "--json")
        confused = answer(call("confusion", *given))
        wrong = answer(call("misclassified", *given))
        assert confused["images"] == wrong["images"] == len(list(directory.glob("*/*.png")))
        assert (
            sum(pair["count"] for pair in confused["most_confused"]) == wrong["wrong"] == len(wrong["files"])
        )

    def test_misclassified_among_batches_without_a_good_image(
        self, call: Any, models: Path, directory: Path, tmp_path: Path
    ) -> None:
        data = shutil.copytree(directory, tmp_path / "data")
        for name in ("ant/1.png", "ant/2.png"):
            (data / name).write_bytes(b"no image")
        given = (models / "roomy.safetensors", data, "--split", "all", "--json", "--no-dali")
        skipping = (*given, "--on-bad-image", "skip", "--batch-size", 2, "--force")
        (data / "bee" / "1.png").write_bytes(b"no image")
        found = call("misclassified", *skipping)
        assert "classifies all 1 images correctly" in found.stderr or answer(found)["images"] == 1
        (data / "bee" / "2.png").write_bytes(b"no image")
        assert "none of the images in" in complaint(call("misclassified", *skipping), 1)

    def test_without_json_the_file_is_named(self, call: Any, run: Path) -> None:
        assert call("curves", run, "--output", "a.png").stdout == "wrote a.png\n"


class TestOutput:
    def test_a_file_that_is_there_is_kept_unless_forced(self, call: Any, run: Path, tmp_path: Path) -> None:
        there = tmp_path / "there.png"
        there.write_bytes(b"precious")
        line = complaint(call("curves", run, "--output", there), 2)
        assert line.endswith("there.png is there already; give --force to overwrite it, or another --output")
        assert there.read_bytes() == b"precious"
        assert call("curves", run, "--output", there, "--force").exit_code == 0
        assert there.read_bytes().startswith(b"\x89PNG")

    def test_only_png_is_written(self, call: Any, run: Path) -> None:
        assert "a.jpg is no PNG file; give a.png" in complaint(call("curves", run, "--output", "a.jpg"), 2)

    def test_the_folder_must_be_there(self, call: Any, run: Path) -> None:
        assert "there is no folder no" in complaint(call("curves", run, "--output", "no/a.png"), 2)


class TestErrors:
    def test_a_run_that_is_not_there(self, call: Any) -> None:
        assert "no such run: nope" in complaint(call("curves", "nope"), 2)

    def test_a_run_without_metrics(self, call: Any, tmp_path: Path) -> None:
        assert "metrics.csv; give the folder of a run" in complaint(call("curves", tmp_path), 2)

    def test_a_run_without_a_finished_epoch(self, call: Any, run: Path) -> None:
        MetricsLog(run / "metrics.csv", run / "tensorboard").close()
        assert "has no finished epoch yet" in complaint(call("curves", run), 1)

    def test_a_model_that_is_not_there(self, call: Any) -> None:
        assert "no such run or file: nope" in complaint(call("kernels", "nope"), 2)

    def test_an_unknown_layer(self, call: Any, models: Path) -> None:
        line = complaint(call("kernels", models / "roomy.safetensors", "--layer", "fc6"), 2)
        assert "choose from conv1, conv2, conv3, conv4, conv5" in line

    def test_ten_crops_of_a_net_that_takes_the_whole_image(
        self, call: Any, models: Path, directory: Path
    ) -> None:
        line = complaint(call("crops", models / "tight.safetensors", directory / "ant" / "1.png"), 1)
        assert "has no ten crops: it takes the whole image of 64 pixels" in line

    def test_a_file_that_is_no_image(self, call: Any, models: Path) -> None:
        model = models / "roomy.safetensors"
        assert "is a file of weights; give an image file" in complaint(call("crops", model, model), 2)

    def test_saliency_of_an_onnx_file(self, call: Any, directory: Path, tmp_path: Path) -> None:
        (tmp_path / "model.onnx").write_bytes(b"x")
        assert "model.onnx is an ONNX file" in complaint(
            call("saliency", tmp_path / "model.onnx", directory), 2
        )

    def test_a_validation_share_of_nothing(self, call: Any, models: Path, directory: Path) -> None:
        done = call("saliency", models / "roomy.safetensors", directory, "--val-fraction", 0)
        assert done.exit_code == 2
        assert "'--val-fraction': give a number above 0 and below 1, not '0'" in done.stderr

    def test_labelled_images_of_classes_that_the_model_does_not_know(
        self, call: Any, models: Path, directory: Path, tmp_path: Path
    ) -> None:
        more = shutil.copytree(directory, tmp_path / "more")
        shutil.copytree(more / "ant", more / "wasp")
        line = complaint(call("misclassified", models / "roomy.safetensors", more, "--split", "all"), 1)
        assert "classes that the 2 known ones do not include: wasp" in line

    def test_a_folder_without_class_folders(self, call: Any, tmp_path: Path) -> None:
        empty = tmp_path / "empty"
        empty.mkdir()
        assert "no images in" in complaint(call("augment", empty), 1)

    def test_an_unknown_network(self, call: Any, directory: Path) -> None:
        assert "did you mean alexnet?" in complaint(call("augment", directory, "--model", "alexnot"), 2)


def test_help_has_an_example_and_needs_no_heavy_import() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from alexnet_fast.cli.commands.show import show\n"
        "for name in show.commands:\n"
        "    text = CliRunner().invoke(show, [name, '--help']).output\n"
        "    assert f'alexnet-fast show {name}' in text, text\n"
        "assert not {'torch', 'numpy', 'matplotlib', 'nvidia', 'PIL'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
