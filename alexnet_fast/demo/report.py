"""The demo's report page."""

from __future__ import annotations

import datetime
import shlex
from pathlib import Path
from typing import Any

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

WHY_THIS_MODEL = (
    "alexnet-bn is AlexNet with batch normalisation in place of local response normalisation, without "
    "groups. The paper's own net, alexnet, starts from weights drawn from N(0, 0.01) and does not leave its "
    "first plateau within the few minutes of a demo: after three epochs of these images (lr 0.01, batches "
    "of 32) it still answered the majority class alone, 0.592 of 262. It needs more images and time. "
    "There is no dropout here: three epochs are too few to overfit."
    "\n\n"
    "Input is 224 x 224, cut at random from images whose shorter side is 256, mirrored at random, colours "
    "shifted along their principal components."
)


def write_page(path: Path, result: DemoResult) -> None:
    """Writes the page of a demo.

    Raises:
        UserError: It cannot be written, or matplotlib is not installed.
    """
    write_report(path, _report(result))


def _report(result: DemoResult) -> Report:
    """Puts the page together."""
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
    """Says what was done and what came out."""
    today = datetime.datetime.now().astimezone().date().isoformat()
    return (
        f"{len(result.splits.train):,} photographs taught {result.trained.model} to tell monocrystalline "
        f"from polycrystalline solar cells; averaged over ten crops it is right about "
        f"{result.ten.top1:.1%} of {result.evaluation.images} images that it has not seen. Made on {today}."
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
            label="all of it",
            value=f"{result.seconds:.0f} s",
            note=result.time_note,
        ),
    )


def _curves(result: DemoResult) -> Section:
    """Shows loss and accuracy."""
    figure = Plot(
        png=png_bytes(curves(result.rows)),
        alt="Loss and accuracy of training and validation by epoch",
        caption="Training figures are averages over each epoch, of augmented images.",
    )
    return Section(heading="Learning", plots=(figure,))


def _ten_crops(result: DemoResult) -> Section:
    """Shows the ten crops of an image and what the net says of each."""
    spec, net = result.trained.spec, result.trained.net
    square = sample_squares(result.test, spec, 1)[0]
    probabilities = crop_by_crop(net, square, spec)
    figure = crops(square, spec, probabilities, result.trained.classes, truth=result.test.labels[0])
    return Section(
        heading="The ten crops of one image",
        text="Four corners and the centre, and their mirror images. The answer is the mean of ten answers.",
        plots=(Plot(png=png_bytes(figure), alt="A solar cell, its ten crops and the net's answer to each"),),
    )


def _samples(result: DemoResult) -> Section:
    """Shows augmented training images."""
    train = result.splits.train
    few = train.select([0, len(train) // 3, len(train) - 1])
    config = LoaderConfig(kind="dali" if result.config.dali else "torch", workers=result.config.workers)
    figure = augmented(few, result.trained.spec, config=config)
    return Section(
        heading="What the network sees while it learns",
        text="The same three photographs in four epochs.",
        plots=(Plot(png=png_bytes(figure), alt="Three photographs and four augmented samples of each"),),
    )


def _kernels(result: DemoResult) -> Section:
    """Shows the first layer's kernels."""
    figure = Plot(
        png=png_bytes(kernels(result.trained.net)),
        alt="The kernels of the first convolution as small images",
    )
    text = "After so few images they are still close to the random start; edges take more training."
    return Section(heading="Kernels of the first layer", text=text, plots=(figure,))


def _classes(result: DemoResult) -> Section:
    """Shows results class by class and the confusion matrix, both with ten crops."""
    classes = result.trained.classes
    figure = confusion(result.ten.confusion, classes)
    return Section(
        heading="Class by class",
        text=f"Ten crops, {result.evaluation.images} test images.",
        tables=(class_table(class_results(result.ten.confusion, classes)),),
        plots=(Plot(png=png_bytes(figure), alt="Confusion matrix: true class by predicted class"),),
    )


def _predictions(result: DemoResult) -> Section:
    """Shows what the exported file says of some test images."""
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
        text=f"By the exported model.onnx, run by {result.backend}.",
        plots=(
            Plot(png=png_bytes(predictions(samples)), alt="Test images with the likeliest classes of each"),
        ),
    )


def _export(result: DemoResult) -> Section:
    """Says what was exported, what was compared and what was not run."""
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
    found = examine_machine()
    gpu = ", ".join(f"{gpu['name']}" for gpu in found["gpu"]) or "none"
    versions = ", ".join(f"{name} {version}" for name, version in found["packages"].items() if version)
    return (
        Fact(label="processor", value=f"{found['cpu']['name']}, {found['cpu']['cores']} cores"),
        Fact(label="GPU", value=gpu),
        Fact(label="Python", value=found["python"], note=versions),
    )


def repeating_commands(config: TrainConfig) -> tuple[str, ...]:
    """Returns what to type into a shell to do the same by hand."""
    data, run = config.data, config.run
    commands: tuple[tuple[object, ...], ...] = (
        ("demo", "--output", run.parent),
        ("train", "--config", run / "config.toml", "--run", "runs/again"),
        ("evaluate", run, data, "--split", "test"),
        ("export", run, "--onnx", "--trt", "--verify"),
        ("predict", run / "model.onnx", data / "test" / "mono"),
    )
    return tuple(shlex.join(["alexnet-fast", *map(str, words)]) for words in commands)
