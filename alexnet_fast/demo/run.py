"""The demo from images to page: train, evaluate, export, predict, report."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from alexnet_fast.data import ImageList, Splits, open_data
from alexnet_fast.errors import UserError, system_reason
from alexnet_fast.export.config import ExportConfig
from alexnet_fast.export.export_images import ExportImages, VerificationImages
from alexnet_fast.export.exporter import run_export
from alexnet_fast.inference.classifier import NetClassifier, open_classifier, predict_files
from alexnet_fast.inference.evaluate import Accuracy, Evaluation, evaluate
from alexnet_fast.pipelines.factory import make_loader
from alexnet_fast.pipelines.io import sample_squares
from alexnet_fast.pipelines.loader import LoaderConfig
from alexnet_fast.pipelines.sampler import EpochSampler
from alexnet_fast.recipes import recipe_options
from alexnet_fast.runtime.prediction import Prediction
from alexnet_fast.training.checkpoint.model_io import TrainedModel, load_trained
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.console import Progress
from alexnet_fast.training.metrics import EpochMetrics
from alexnet_fast.training.metrics_log import read_metrics
from alexnet_fast.training.run import train
from alexnet_fast.training.run_dir import RunDir
from alexnet_fast.utils.atomic import make_dir

# Shares of each class; the rest is for training.
VAL_SHARE = 0.1
TEST_SHARE = 0.1

CAVEAT = (
    "Cells are split one by one, class by class. The data set does not say which cells belong to one solar "
    "module, so cells of one module may sit on both sides of the split, which flatters the accuracy."
)


def lay_out_cells(directory: Path) -> Path:
    """Links the images into `directory`/train, val and test, each with mono/ and poly/.

    The split depends on the file names alone, and each part has each class in the same proportion.

    Returns:
        The folder.

    Raises:
        UserError: The package is not installed, or the folder cannot be written.
    """
    for kind, images in _by_class(_package_dir()).items():
        shuffled = sorted(images, key=lambda path: hashlib.sha256(path.name.encode()).digest())
        test, val = (round(share * len(shuffled)) for share in (TEST_SHARE, VAL_SHARE))
        parts = {"test": shuffled[:test], "val": shuffled[test : test + val], "train": shuffled[test + val :]}
        for part, files in parts.items():
            _link(files, directory / part / kind)
    return directory


def _package_dir() -> Path:
    """Returns the folder of the installed images."""
    try:
        import elpv_dataset
    except ImportError as error:
        raise UserError(
            "the demo's images are not installed (elpv-dataset)", "pip install 'alexnet-fast[demo]'"
        ) from error
    return Path(elpv_dataset.__file__).parent / "data"


def _by_class(directory: Path) -> dict[str, list[Path]]:
    """Reads labels.csv: a file name, the probability of a defect and the kind of cell, split by blanks."""
    by_class: dict[str, list[Path]] = {}
    for line in (directory / "labels.csv").read_text(encoding="utf-8").splitlines():
        name, _, kind = line.split()
        by_class.setdefault(kind, []).append(directory / name)
    return by_class


def _link(files: list[Path], directory: Path) -> None:
    """Links files into a folder; what is there already is left alone, unless it leads nowhere.

    Raises:
        UserError: The folder cannot be written, or takes no links.
    """
    make_dir(directory)
    try:
        for link, file in ((directory / file.name, file) for file in files):
            if not link.exists():
                # A link into an environment that has been moved or made anew elsewhere.
                link.unlink(missing_ok=True)
                link.symlink_to(file)
    except OSError as error:
        raise UserError(
            f"cannot link the images into {directory}: {system_reason(error)}", "give another --output"
        ) from error


# Number of images for the comparison with PyTorch, and for the predictions on the page.
_VERIFIED = 64
_SHOWN = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class DemoResult:
    """The results of the demo, for the page and for `--json`.

    Args:
        config: The training options.
        splits: The data.
        trained: The network of the best epoch.
        rows: Metrics per epoch.
        evaluation: Accuracy on the test images, with one crop and ten.
        exported: The result of `run_export`.
        predictions: Predictions of the exported file for a few test images.
        backend: The backend that computed the predictions.
        training: The result of `train`.
        seconds: Time of this call; earlier calls of a resumed run are not included.
    """

    config: TrainConfig
    splits: Splits
    trained: TrainedModel
    rows: list[EpochMetrics]
    evaluation: Evaluation
    exported: dict[str, Any]
    predictions: list[Prediction]
    backend: str
    training: dict[str, Any]
    seconds: float

    @property
    def test(self) -> ImageList:
        """The test images."""
        assert self.splits.test is not None
        return self.splits.test

    @property
    def single(self) -> Accuracy:
        """Accuracy of the centre crop."""
        return self.evaluation.by_crops["single"]

    @property
    def ten(self) -> Accuracy:
        """Accuracy of the ten crops."""
        return self.evaluation.by_crops["ten"]

    @property
    def time_note(self) -> str:
        """The parts of the work that `seconds` covers."""
        resumed = self.training["resumed_from"]
        part = "training" if resumed is None else f"training from epoch {resumed + 1} on"
        over = resumed is not None and resumed >= self.training["epochs"]
        return f"{'no training' if over else part}, evaluation, export, prediction"


def demo_config(directory: Path, *, device: str, workers: int, dali: bool) -> TrainConfig:
    """Returns the training options of the demo: its recipe, on this machine."""
    return TrainConfig(
        data=directory / "data",
        run=directory / "run",
        device=device,
        workers=workers,
        dali=dali,
        **recipe_options("demo"),
    )


def run_demo(
    config: TrainConfig, *, trt: bool, log: Callable[[str], None], on_progress: Callable[[Progress], None]
) -> DemoResult:
    """Runs the main job; an interrupted run is resumed.

    Args:
        config: From `demo_config`.
        trt: Whether to build an engine.
        log: Receives a line about each part of the work.
        on_progress: Receives the progress of training.

    Raises:
        UserError: The images are not installed, or a part of the work fails.
    """
    started = time.perf_counter()
    log("1/5 laying out the images (elpv-dataset: 2,624 photographs of solar cells)")
    lay_out_cells(config.data)
    log("2/5 training")
    training = train(config, resume=True, on_progress=on_progress)
    trained, splits = load_trained(config.run), open_data(config.data)
    assert splits.test is not None
    log(f"3/5 evaluating on {len(splits.test)} test images, with one crop and with ten")
    evaluation = _evaluate(config, trained, splits.test)
    log("4/5 exporting: ONNX" + (" and TensorRT" if trt else ""))
    exported = _export(config.run, load_trained(config.run), splits.test, trt=trt)
    log("5/5 predicting with the exported file")
    backend, predictions = _predict(exported["onnx"], splits.test)
    return DemoResult(
        config=config,
        splits=splits,
        trained=load_trained(config.run),
        rows=read_metrics(RunDir(config.run).metrics),
        evaluation=evaluation,
        exported=exported,
        predictions=predictions,
        backend=backend,
        training=training,
        seconds=time.perf_counter() - started,
    )


def _evaluate(config: TrainConfig, trained: TrainedModel, test: ImageList) -> Evaluation:
    """Measures the accuracy with one crop and with ten."""
    classifier = NetClassifier(trained, device=config.device, amp="off")
    loader = make_loader(
        test,
        trained.spec,
        "square",
        EpochSampler(num_images=len(test), batch_size=16, shuffle=False),
        LoaderConfig(
            kind="dali" if config.dali else "torch", device=torch.device("cpu"), workers=config.workers
        ),
    )
    return evaluate(classifier, loader, ("single", "ten"))


def _export(run: Path, trained: TrainedModel, test: ImageList, *, trt: bool) -> dict[str, Any]:
    """Exports into the run folder; test images verify the files."""
    return run_export(
        trained.net,
        trained.spec,
        trained.classes,
        trained.model,
        trained.provenance,
        ExportImages(verification=VerificationImages(nhwc_u8=sample_squares(test, trained.spec, _VERIFIED))),
        ExportConfig(output=run, crops="ten", trt=trt, verify=True),
    )


def _predict(onnx: str, test: ImageList) -> tuple[str, list[Prediction]]:
    """Classifies a few test images from their files, spread over the classes."""
    classifier = open_classifier(Path(onnx), device="cpu")
    step = max(1, len(test) // _SHOWN)
    files = [Path(test.path(index)) for index in range(0, len(test), step)][:_SHOWN]
    return classifier.backend, list(predict_files(classifier, files, "ten", top=2))
