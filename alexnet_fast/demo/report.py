"""The demo's report page."""

from __future__ import annotations

import datetime
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alexnet_fast.demo.run import CAVEAT, DemoResult
from alexnet_fast.doctor import examine_machine
from alexnet_fast.pipelines.cpu.pillow import preprocess
from alexnet_fast.pipelines.io import sample_squares
from alexnet_fast.pipelines.loader import LoaderConfig
from alexnet_fast.plots.augmented import augmented
from alexnet_fast.plots.confusion import confusion
from alexnet_fast.plots.crops import crop_by_crop, crops
from alexnet_fast.plots.curves import curves
from alexnet_fast.plots.kernels import kernels
from alexnet_fast.plots.predictions import Sample, predictions
from alexnet_fast.plots.style import png_bytes
from alexnet_fast.report import Fact, Plot, Report, Section, class_results, class_table, write_report
from alexnet_fast.training.config import TrainConfig

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WHY_THIS_MODEL = (
    "alexnet-bn is AlexNet with batch normalisation in place of local response normalisation, without "
    "groups. The paper's own net, alexnet, starts from weights drawn from N(0, 0.01) and does not leave its "
    "first plateau within the few minutes of a demo: after three epochs of these images (lr 0.01, batches "
    "of 32) it still predicted only the majority class, 0.592 of 262. It needs more images and time. "
    "There is no dropout here: three epochs are too few to overfit."
    "\n\n"
    "Input is 224 x 224, cut at random from images whose shorter side is 256, mirrored at random, colours "
    "shifted along their principal components."
)


def write_page(path: Path, result: DemoResult) -> None:
    """Writes the page of a demo.

    Raises:
        UserError: The page cannot be written, or matplotlib is not installed.
    """
    write_report(path, _report(result))


def _report(result: DemoResult) -> Report:
    """Returns the content of the page."""
    return Report(
        title="alexnet-fast: solar cells, from photographs to an engine",
        lead=_lead(result),
        results=_results(result),
        model=WHY_THIS_MODEL,
        notice=CAVEAT,
        sections=(
            _curves(result),
            _ten_crops(result),
            _samples(result),
            _kernels(result),
            _classes(result),
            _predictions(result),
        ),
        export=_export(result),
        machine=_machine(),
        commands=repeating_commands(result.config),
    )


def _lead(result: DemoResult) -> str:
    """Summarises the demo."""
    today = datetime.datetime.now().astimezone().date().isoformat()
    return (
        f"{len(result.splits.train):,} photographs taught {result.trained.model} to tell monocrystalline "
        f"from polycrystalline solar cells; averaged over ten crops it classifies "
        f"{result.ten.top1:.1%} of {result.evaluation.images} unseen images correctly. Made on {today}."
    )


def majority(result: DemoResult) -> float:
    """Returns the share of the most frequent class among the test images."""
    return max(result.test.counts()) / len(result.test)


def _results(result: DemoResult) -> tuple[Fact, ...]:
    """Returns the main figures."""
    best = result.training["best"]
    seen = f"{result.evaluation.images} test images; majority class {majority(result):.3f}"
    return (
        Fact(label="ten-crop top-1", value=f"{result.ten.top1:.3f}", note=seen),
        Fact(
            label="single-crop top-1",
            value=f"{result.single.top1:.3f}",
            note="the centre crop, same images",
        ),
        Fact(
            label="best epoch",
            value=f"{best['epoch']} of {result.training['epochs']}",
            note=f"chosen by the validation images: top-1 {best['top1']:.3f} of {len(result.splits.val)}",
        ),
        Fact(
            label="training",
            value=f"{result.training['images_per_second']:.0f} images/s",
            note=f"median epoch, {result.training['device']}, {result.training['precision']}, input included",
        ),
        Fact(
            label="total time",
            value=f"{result.seconds:.0f} s",
            note=result.time_note,
        ),
    )


def _figure(figure: Figure, alt: str, caption: str = "") -> tuple[Plot]:
    """Returns the only plot of a section."""
    return (Plot(png=png_bytes(figure), alt=alt, caption=caption),)


def _curves(result: DemoResult) -> Section:
    """Shows loss and accuracy."""
    alt = "Loss and accuracy of training and validation by epoch"
    caption = "Training figures are averages over each epoch, of augmented images."
    return Section(heading="Learning", plots=_figure(curves(result.rows), alt, caption))


def _ten_crops(result: DemoResult) -> Section:
    """Shows the ten crops of an image with the network's prediction for each."""
    spec, net = result.trained.spec, result.trained.net
    square = sample_squares(result.test, spec, 1)[0]
    probabilities = crop_by_crop(net, square, spec)
    figure = crops(square, spec, probabilities, result.trained.classes, truth=result.test.labels[0])
    return Section(
        heading="The ten crops of one image",
        text="Four corners and the centre, and their mirror images. The result is their mean.",
        plots=_figure(figure, "A solar cell, its ten crops and the network's prediction for each"),
    )


def _samples(result: DemoResult) -> Section:
    """Shows augmented training images."""
    train = result.splits.train
    few = train.select([0, len(train) // 3, len(train) - 1])
    config = LoaderConfig(kind="dali" if result.config.dali else "torch", workers=result.config.workers)
    return Section(
        heading="Augmented training images",
        text="The same three photographs in four epochs.",
        plots=_figure(
            augmented(few, result.trained.spec, config=config),
            "Three photographs and four augmented samples of each",
        ),
    )


def _kernels(result: DemoResult) -> Section:
    """Shows the first layer's kernels."""
    return Section(
        heading="Kernels of the first layer",
        text="After so few images they are still close to the random start; edges take more training.",
        plots=_figure(kernels(result.trained.net), "The kernels of the first convolution as small images"),
    )


def _classes(result: DemoResult) -> Section:
    """Shows the results per class and the confusion matrix, both with ten crops."""
    matrix, classes = result.ten.confusion, result.trained.classes
    return Section(
        heading="Results per class",
        text=f"Ten crops, {result.evaluation.images} test images.",
        tables=(class_table(class_results(matrix, classes)),),
        plots=_figure(confusion(matrix, classes), "Confusion matrix: true class by predicted class"),
    )


def _predictions(result: DemoResult) -> Section:
    """Shows predictions of the exported file."""
    samples = [
        Sample(
            pixels=preprocess(prediction.file, result.trained.spec, "square"),
            truth=Path(prediction.file).parent.name,
            guesses=prediction.classes,
        )
        for prediction in result.predictions
    ]
    return Section(
        heading="Predictions",
        text=f"By the exported model.onnx in {result.backend}.",
        plots=_figure(predictions(samples), "Test images with the most probable classes of each"),
    )


def _export(result: DemoResult) -> Section:
    """Shows the exported files and how they compare with PyTorch."""
    exported, side = result.exported, result.trained.spec.resize
    check = exported["verified"]
    facts = [
        Fact(
            label="model.onnx",
            value=_size(exported["onnx_bytes"]),
            note=f"opset {exported['opset']}; uint8 images of {side} x {side} in, averaged probabilities out",
        ),
        Fact(
            label="against PyTorch",
            value=f"{check['max_abs_error']:.1e}",
            note=f"largest difference of a probability on {check['images']} images, {check['backend']}; "
            f"same class for {check['top1_agreement']:.0%}",
        ),
    ]
    notice = "No engine was built: TensorRT is not installed."
    if exported["engine"]:
        facts.append(_engine_fact(exported))
        notice = "" if exported["ran_on_gpu"] else "The engine was built here, not run."
    return Section(heading="Export", notice=notice, facts=tuple(facts))


def _engine_fact(exported: dict[str, Any]) -> Fact:
    """Describes the engine."""
    archs = ", ".join(exported["compute_capabilities"])
    return Fact(
        label="model.engine",
        value=_size(exported["engine_bytes"]),
        note=f"{exported['precision']}, built by {exported['library']} {exported['library_version']} in "
        f"{exported['engine_seconds']:.0f} s for compute capability {archs}",
    )


def _size(count: int) -> str:
    """Returns a number of bytes in MiB."""
    return f"{count / 2**20:.0f} MiB"


def _machine() -> tuple[Fact, ...]:
    """Describes hardware and versions."""
    facts = examine_machine()
    gpu = ", ".join(str(gpu["name"]) for gpu in facts["gpu"]) or "none"
    versions = ", ".join(f"{name} {version}" for name, version in facts["packages"].items() if version)
    return (
        Fact(label="processor", value=f"{facts['cpu']['name']}, {facts['cpu']['cores']} cores"),
        Fact(label="GPU", value=gpu),
        Fact(label="Python", value=facts["python"], note=versions),
    )


def repeating_commands(config: TrainConfig) -> tuple[str, ...]:
    """Returns the shell commands that do the same by hand."""
    data, run = config.data, config.run
    commands: tuple[tuple[object, ...], ...] = (
        ("demo", "--output", run.parent),
        ("train", "--config", run / "config.toml", "--run", "runs/again"),
        ("evaluate", run, data, "--split", "test"),
        ("export", run, "--onnx", "--trt", "--verify"),
        ("predict", run / "model.onnx", data / "test" / "mono"),
    )
    return tuple(shlex.join(["alexnet-fast", *map(str, words)]) for words in commands)
