"""`alexnet-fast show`: plots of a run, a network or a data set."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alexnet_fast.cli import options
from alexnet_fast.cli.command import Result, answers
from alexnet_fast.cli.help_page import HelpGroup
from alexnet_fast.cli.overwriting import ask_to_overwrite, force_option
from alexnet_fast.cli.part import image_options, opened, part_images, part_loader, part_options
from alexnet_fast.cli.path_roles import DATA, IMAGE, MODEL, NETWORK, RUN, PathOf
from alexnet_fast.cli.types import number
from alexnet_fast.errors import UserError
from alexnet_fast.utils.progress import progress_bar
from alexnet_fast.utils.ranges import whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from alexnet_fast.data import ImageList, ShardFields
    from alexnet_fast.pipelines.spec import AugmentSpec
    from alexnet_fast.pipelines.ten_crop import Crops
    from alexnet_fast.plots.saliency import Explained
    from alexnet_fast.training.checkpoint.model_io import TrainedModel


@click.group(cls=HelpGroup)
def show() -> None:
    """Plot curves, crops, kernels, activations, saliency, misclassified images and more."""


def _example(line: str) -> str:
    """Returns the epilog of a help page."""
    return f"\b\nExample:\n  alexnet-fast show {line}\n"


def _plot_command(default: str) -> Callable[[Callable[..., Result]], Callable[..., None]]:
    """Adds the options of every subcommand: `--output`, `--force`, `--json`, `--debug`.

    Args:
        default: Default file name, as the help shows it.
    """

    def decorate(function: Callable[..., Result]) -> Callable[..., None]:
        command = answers(lambda result: f"wrote {result['image']}")(function)
        return click.option(
            "--output",
            type=click.Path(path_type=Path),
            metavar="FILE.png|DIR",
            help=f"File to write.  [default: {default} in the run folder, else in the current folder]",
        )(force_option(command))

    return decorate


@show.command(epilog=_example("curves runs/first --output curves.png"))
@click.argument("run", type=PathOf(RUN))
@_plot_command("curves.png")
def curves(run: Path, output: Path | None, *, force: bool) -> Result:
    """Plot loss, accuracy and learning rate per epoch of RUN."""
    target = new_plot(output, "curves", force=force, shown=run)
    if not run.is_dir():
        raise UserError(f"no such run: {run}", "give the folder of a run", exit_code=2)
    from alexnet_fast.plots.curves import curves as draw
    from alexnet_fast.training.metrics_log import best_row, read_metrics
    from alexnet_fast.training.run_dir import RunDir

    rows = read_metrics(RunDir(run).metrics)
    if not rows:
        raise UserError(f"{run} has no finished epoch yet", "wait for the first one")
    return {**_save_plot(draw(rows), target), "epochs": len(rows), "best_epoch": best_row(rows).epoch}


@show.command(epilog=_example("crops runs/first photo.jpg"))
@click.argument("model", type=PathOf(NETWORK))
@click.argument("image", type=PathOf(IMAGE))
@options.model_name
@_plot_command("crops-IMAGE.png")
def crops(model: Path, image: Path, net: str | None, output: Path | None, *, force: bool) -> Result:
    """Show the ten crops of IMAGE with the top class of MODEL for each, and the average.

    MODEL is a run folder, a checkpoint or a file of weights.
    """
    target = new_plot(output, f"crops-{image.stem}", force=force, shown=model)
    from alexnet_fast.pipelines.cpu.pillow import preprocess
    from alexnet_fast.plots.crops import crop_by_crop
    from alexnet_fast.plots.crops import crops as draw
    from alexnet_fast.training.checkpoint.model_io import load_trained

    trained = load_trained(model, net)
    if not trained.spec.margin:
        raise UserError(
            f"{model} has no ten crops: it takes the whole image of {trained.spec.crop} pixels",
            "give a model that was trained with a --crop smaller than --resize",
        )
    square = preprocess(image, trained.spec, "square")
    probabilities = crop_by_crop(trained.net, square, trained.spec)
    average = probabilities.mean(axis=0)
    figure = draw(square, trained.spec, probabilities, trained.classes)
    top = int(average.argmax())
    return {
        **_save_plot(figure, target),
        "label": trained.classes[top],
        "probability": float(average[top]),
    }


@show.command(epilog=_example("augment images --model runs/first --samples 6"))
@click.argument("data", type=PathOf(DATA))
@click.option(
    "--model",
    default="alexnet",
    show_default=True,
    help="Network name or run whose preprocessing is used.",
)
@number("--images", "count", of=whole(1, 20), default=4, show_default=True, help="Number of rows.")
@number("--samples", of=whole(1, 12), default=4, show_default=True, help="Samples per image.")
@number("--seed", default=0, show_default=True, help="Seed of the random augmentation.")
@options.dali
@click.option("--device", default="cpu", show_default=True, help="auto, cpu, cuda or cuda:N.")
@options.augmentation
@options.shard_fields
@_plot_command("augment.png")
def augment(data: Path, output: Path | None, *, force: bool, **arguments: Any) -> Result:
    """Show images of DATA next to augmented training samples.

    DATA holds train/ with one folder of images per class, or the class folders themselves.
    """
    target = new_plot(output, "augment", force=force, shown=Path(arguments["model"]))
    from alexnet_fast.pipelines.loader import LoaderConfig
    from alexnet_fast.plots.augmented import augmented, loader_name
    from alexnet_fast.training.config import RANDOM_AUGMENTATION
    from alexnet_fast.training.data import random_parts
    from alexnet_fast.utils.device import choose_device

    config = LoaderConfig(
        kind="dali" if arguments["dali"] else "torch", device=choose_device(arguments["device"])
    )
    images = _spread_images(data, arguments["count"], options.fields(arguments))
    parts = {name: arguments[name] for name in RANDOM_AUGMENTATION}
    parts = {"flip": arguments["flip"], **random_parts(**parts, epochs=arguments["samples"])}
    spec = _with_parts(_spec(arguments["model"]), parts)
    figure = augmented(images, spec, samples=arguments["samples"], seed=arguments["seed"], config=config)
    return {
        **_save_plot(figure, target),
        "files": [images.path(index) for index in range(len(images))],
        "loader": loader_name(config),
    }


@show.command(epilog=_example("kernels runs/first --layer conv1"))
@click.argument("model", type=PathOf(NETWORK))
@click.option("--layer", default="conv1", show_default=True, help="Name of a convolution.")
@options.model_name
@_plot_command("kernels-LAYER.png")
def kernels(model: Path, layer: str, net: str | None, output: Path | None, *, force: bool) -> Result:
    """Show the kernels of a convolution of MODEL.

    MODEL is a run folder, a checkpoint or a file of weights.
    """
    target = new_plot(output, f"kernels-{layer}", force=force, shown=model)
    from alexnet_fast.plots.kernels import kernels as draw
    from alexnet_fast.training.checkpoint.model_io import load_trained

    return {**_save_plot(draw(load_trained(model, net).net, layer), target), "layer": layer}


@show.command(epilog=_example("saliency runs/first images --images 6"))
@click.argument("model", type=PathOf(NETWORK))
@click.argument("data", type=PathOf(DATA))
@number("--images", "count", of=whole(1, 12), default=4, show_default=True, help="Number of rows.")
@number("--seed", default=0, show_default=True, help="Seed that chooses the images.")
@number(
    "--samples",
    of=whole(1, 500),
    default=25,
    show_default=True,
    help="Noisy copies averaged into the smoothed map.",
)
@image_options
@options.model_name
@_plot_command("saliency.png")
def saliency(output: Path | None, *, force: bool, **arguments: Any) -> Result:
    """Show which pixels drive MODEL's answers, and its top five classes, for random images of DATA.

    MODEL is a run folder, a checkpoint or a file of weights: gradients need the network itself. Each image
    gets two maps: the gradient of the top class, and its average over noisy copies (SmoothGrad).
    """
    target = new_plot(output, "saliency", force=force, shown=arguments["model"])
    from alexnet_fast.plots.saliency import saliency as draw
    from alexnet_fast.training.checkpoint.model_io import load_trained

    trained = load_trained(arguments["model"], arguments["net"])
    images = part_images(trained, arguments)
    chosen = _random_rows(images, arguments["count"], arguments["seed"])
    with progress_bar(len(chosen), "explaining") as bar:
        explained = []
        for row in chosen:
            explained.append(_explain(trained, images, row, arguments))
            bar.update(1)
    return {**_save_plot(draw(explained), target), "files": [images.path(row) for row in chosen]}


@show.command(epilog=_example("confusion runs/first/model.onnx images --split test"))
@click.argument("model", type=PathOf(MODEL))
@click.argument("data", type=PathOf(DATA))
@options.crops("Crops to average over.  [default: ten if the model has them]")
@part_options
@_plot_command("confusion.png")
def confusion(
    model: Path, output: Path | None, *, force: bool, crops: Crops | None, **arguments: Any
) -> Result:
    """Plot the confusion matrix of MODEL on DATA, and name the pairs that it confuses most."""
    target = new_plot(output, "confusion", force=force, shown=model)
    from alexnet_fast.inference.evaluate import evaluate
    from alexnet_fast.plots.confusion import confusion as draw
    from alexnet_fast.plots.confusion import most_confused

    classifier = opened(model, arguments)
    loader = part_loader(classifier, arguments)
    crops = crops or classifier.crops[0]
    with progress_bar(len(loader.images), "classifying") as bar:
        result = evaluate(classifier, loader, [crops], on_progress=lambda done: bar.update(done - bar.pos))
    matrix = result.by_crops[crops].confusion
    pairs = [
        {"true": pair.true, "predicted": pair.predicted, "count": pair.count, "share": pair.share}
        for pair in most_confused(matrix, classifier.classes)
    ]
    figure = draw(matrix, classifier.classes)
    return {**_save_plot(figure, target), "images": result.images, "most_confused": pairs}


@show.command(epilog=_example("misclassified runs/first images --split test --images 12"))
@click.argument("model", type=PathOf(MODEL))
@click.argument("data", type=PathOf(DATA))
@number("--images", "count", of=whole(1, 60), default=12, show_default=True, help="Images to show.")
@options.crops("Crops to average over.  [default: ten if the model has them]")
@part_options
@_plot_command("misclassified.png")
def misclassified(
    model: Path, count: int, output: Path | None, *, force: bool, crops: Crops | None, **arguments: Any
) -> Result:
    """Show the images of DATA that MODEL gets wrong, highest probability first."""
    target = new_plot(output, "misclassified", force=force, shown=model)
    from alexnet_fast.inference.evaluate import worst_misclassified
    from alexnet_fast.plots.predictions import Sample, predictions

    classifier = opened(model, arguments)
    loader = part_loader(classifier, arguments)
    crops = crops or classifier.crops[0]
    with progress_bar(len(loader.images), "classifying") as bar:
        worst, wrong, images = worst_misclassified(
            classifier, loader, crops, count, on_progress=lambda done: bar.update(done - bar.pos)
        )
    if not worst:
        raise UserError(f"{model} classifies all {images} images correctly", "there is nothing to plot")
    samples = [Sample(pixels=image.pixels, truth=image.truth, guesses=image.guesses) for image in worst]
    files = [image.file for image in worst]
    return {**_save_plot(predictions(samples), target), "images": images, "wrong": wrong, "files": files}


@show.command(epilog=_example("activations runs/first photo.jpg --layer conv2"))
@click.argument("model", type=PathOf(NETWORK))
@click.argument("image", type=PathOf(IMAGE))
@click.option("--layer", default="conv1", show_default=True, help="Layer whose output is shown.")
@options.model_name
@_plot_command("activations-LAYER.png")
def activations(
    model: Path, image: Path, layer: str, net: str | None, output: Path | None, *, force: bool
) -> Result:
    """Show the activations of a layer of MODEL for IMAGE, one grey map per channel.

    MODEL is a run folder, a checkpoint or a file of weights.
    """
    target = new_plot(output, f"activations-{layer}", force=force, shown=model)
    from alexnet_fast.pipelines.cpu.pillow import preprocess
    from alexnet_fast.plots.activations import activations as draw
    from alexnet_fast.plots.saliency import view_of
    from alexnet_fast.training.checkpoint.model_io import load_trained

    trained = load_trained(model, net)
    _, view = view_of(preprocess(image, trained.spec, "square"), trained.spec)
    return {**_save_plot(draw(trained.net, view, layer), target), "layer": layer}


def _spec(model: str) -> AugmentSpec:
    """Returns the preprocessing of a run or file if the path exists, else of the network of that name."""
    from alexnet_fast.models import model_spec
    from alexnet_fast.pipelines.spec import AugmentSpec
    from alexnet_fast.training.checkpoint.model_io import load_trained

    if Path(model).exists():
        return load_trained(Path(model)).spec
    size = model_spec(model).input
    return AugmentSpec(resize=size.resize, crop=size.crop, mean=size.mean, std=size.std)


def _with_parts(spec: AugmentSpec, parts: dict[str, Any]) -> AugmentSpec:
    """Returns a spec with the random parts that the options request instead of its own."""
    return dataclasses.replace(spec, **{name: part for name, part in parts.items() if part is not None})


def _spread_images(data: Path, count: int, fields: ShardFields) -> ImageList:
    """Returns images spread over the whole training split, whose list goes class by class."""
    from alexnet_fast.data import ClassMap, DatasetFormat
    from alexnet_fast.data.find_splits import find_splits

    parts = find_splits(data, dataset_format=DatasetFormat(fields=fields))
    contents = parts["train"] if "train" in parts else parts["all"]
    listed = contents.images(ClassMap.from_names(contents.class_names()))
    count = min(count, len(listed))
    return listed.select([(2 * row + 1) * len(listed) // (2 * count) for row in range(count)])


def _random_rows(images: ImageList, count: int, seed: int) -> list[int]:
    """Chooses random images, in the order of the list."""
    import numpy as np

    chosen = np.random.default_rng(seed).choice(len(images), min(count, len(images)), replace=False)
    return sorted(chosen.tolist())


def _explain(trained: TrainedModel, images: ImageList, row: int, arguments: dict[str, Any]) -> Explained:
    """Classifies one image and computes both maps of its top class."""
    import torch

    from alexnet_fast.pipelines.io import square_at
    from alexnet_fast.plots.predictions import Sample
    from alexnet_fast.plots.saliency import Explained, gradient_map, smooth_map, view_of
    from alexnet_fast.runtime.prediction import top_k

    pixels, view = view_of(square_at(images, row, trained.spec), trained.spec)
    with torch.inference_mode():
        answer = trained.net(view[None])[0].float().softmax(dim=0).numpy()
    guesses = top_k(answer, trained.classes, 5)
    truth = trained.classes[int(images.labels[row])]
    first = guesses[0].index
    return Explained(
        sample=Sample(pixels=pixels, truth=truth, guesses=guesses),
        gradient=gradient_map(trained.net, view, first),
        smooth=smooth_map(trained.net, view, first, samples=arguments["samples"], seed=arguments["seed"]),
    )


def new_plot(output: Path | None, name: str, *, force: bool, shown: Path | None = None) -> Path:
    """Returns the file to write; checks it before the work is done rather than after.

    Args:
        output: Value of `--output`: a file, or a folder for a file of the default name.
        name: Default name of the file, without its suffix.
        force: Whether to overwrite an existing file without asking.
        shown: Path of what is plotted; the default folder is that of its run.

    Raises:
        UserError: The file exists and must stay, has no folder, or is not a PNG file.
    """
    directory = output if output is not None and output.is_dir() else _run_of(shown) or Path()
    path = output if output is not None and not output.is_dir() else directory / f"{name}.png"
    if path.suffix.lower() != ".png":
        raise UserError(f"--output {path} is no PNG file", f"give {path.with_suffix('.png')}", exit_code=2)
    if not path.parent.is_dir():
        raise UserError(f"--output {path}: there is no folder {path.parent}", "make it first", exit_code=2)
    ask_to_overwrite(path, force=force, instead="another --output")
    return path


def _run_of(shown: Path | None) -> Path | None:
    """Returns the writable folder of the run that a path is or lies in, else None.

    Args:
        shown: A run folder, a file in one, or one of its checkpoints.
    """
    from alexnet_fast.training.run_dir import RunDir

    for directory in () if shown is None else (shown, shown.parent, shown.parent.parent):
        if RunDir(directory).exists() and os.access(directory, os.W_OK):
            return directory
    return None


def _save_plot(figure: Figure, path: Path) -> Result:
    """Writes a figure and returns what the results of all subcommands share."""
    from alexnet_fast.plots.style import save_png

    save_png(figure, path)
    return {"image": str(path)}
