"""`alexnet-fast show`: images of a run, a network or a data set."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alexnet_fast.cli import options
from alexnet_fast.cli.command import Result
from alexnet_fast.cli.help_page import HelpGroup
from alexnet_fast.cli.path_roles import DATA, IMAGE, NETWORK, RUN, PathOf
from alexnet_fast.cli.plot_command import example, new_plot, plot_command, save_plot
from alexnet_fast.cli.show_answers import activations, confusion, mistakes, saliency
from alexnet_fast.cli.types import number
from alexnet_fast.errors import UserError
from alexnet_fast.utils.ranges import whole

if TYPE_CHECKING:
    pass


if TYPE_CHECKING:
    from alexnet_fast.data import ImageList, ShardFields
    from alexnet_fast.pipelines.spec import AugmentSpec


@click.group(cls=HelpGroup)
def show() -> None:
    """Draw an image: curves, crops, kernels, activations, saliency, mistakes and more."""


for _command in (activations, confusion, mistakes, saliency):
    show.add_command(_command)


@show.command(epilog=example("curves runs/first --output curves.png"))
@click.argument("run", type=PathOf(RUN))
@plot_command("curves.png")
def curves(run: Path, output: Path | None, *, force: bool) -> Result:
    """Loss, accuracy and learning rate of each epoch of RUN."""
    target = new_plot(output, "curves", force=force, shown=run)
    if not run.is_dir():
        raise UserError(f"no such run: {run}", "give the folder of a run", exit_code=2)
    from alexnet_fast.plots.curves import curves as draw
    from alexnet_fast.training.metrics_log import best_row, read_metrics
    from alexnet_fast.training.run_dir import RunDir

    rows = read_metrics(RunDir(run).metrics)
    if not rows:
        raise UserError(f"{run} has no finished epoch yet", "draw it when one is done")
    return {**save_plot(draw(rows), target), "epochs": len(rows), "best_epoch": best_row(rows).epoch}


@show.command(epilog=example("crops runs/first photo.jpg"))
@click.argument("model", type=PathOf(NETWORK))
@click.argument("image", type=PathOf(IMAGE))
@options.model_name
@plot_command("crops-IMAGE.png")
def crops(model: Path, image: Path, net: str | None, output: Path | None, *, force: bool) -> Result:
    """The ten crops of IMAGE, what MODEL says to each, and the average.

    MODEL is a run folder, a checkpoint or a file of weights.
    """
    target = new_plot(output, f"crops-{image.stem}", force=force, shown=model)
    from alexnet_fast.pipelines.samples import square_of
    from alexnet_fast.plots.crops import crop_by_crop
    from alexnet_fast.plots.crops import crops as draw
    from alexnet_fast.training.checkpoint.model_io import load_trained

    trained = load_trained(model, net)
    if not trained.spec.margin:
        raise UserError(
            f"{model} has no ten crops: it takes the whole image of {trained.spec.crop} pixels",
            "give a model that was trained with a --crop smaller than --resize",
        )
    square = square_of(str(image), trained.spec)
    probabilities = crop_by_crop(trained.net, square, trained.spec)
    average = probabilities.mean(axis=0)
    figure = draw(square, trained.spec, probabilities, trained.classes)
    top_k = int(average.argmax())
    return {
        **save_plot(figure, target),
        "label": trained.classes[top_k],
        "probability": float(average[top_k]),
    }


@show.command(epilog=example("augment images --model runs/first --samples 6"))
@click.argument("data", type=PathOf(DATA))
@click.option(
    "--model",
    default="alexnet",
    show_default=True,
    help="Network, by name, or a run: takes its preprocessing.",
)
@number("--images", "count", of=whole(1, 20), default=4, show_default=True, help="Rows.")
@number("--samples", of=whole(1, 12), default=4, show_default=True, help="Samples an image.")
@number("--seed", default=0, show_default=True, help="Of the random parts.")
@options.dali
@click.option("--device", default="cpu", show_default=True, help="auto, cpu, cuda or cuda:N.")
@options.augmentation
@options.shard_fields
@plot_command("augment.png")
def augment(data: Path, output: Path | None, *, force: bool, **given: Any) -> Result:
    """Images of DATA beside what training makes of them.

    DATA holds train/ with one folder of images a class, or the class folders themselves.
    """
    target = new_plot(output, "augment", force=force, shown=Path(given["model"]))
    from alexnet_fast.pipelines.loader import LoaderConfig
    from alexnet_fast.plots.augmented import augmented, loader_name
    from alexnet_fast.training.config import RANDOM_AUGMENTATION
    from alexnet_fast.training.data import random_parts
    from alexnet_fast.utils.device import choose_device

    config = LoaderConfig(kind="dali" if given["dali"] else "torch", device=choose_device(given["device"]))
    images = _some_images(data, given["count"], options.fields(given))
    parts = {name: given[name] for name in RANDOM_AUGMENTATION}
    parts = {"flip": given["flip"], **random_parts(**parts, epochs=given["samples"])}
    spec = _with_parts(_spec(given["model"]), parts)
    figure = augmented(images, spec, samples=given["samples"], seed=given["seed"], config=config)
    return {
        **save_plot(figure, target),
        "files": [images.path(index) for index in range(len(images))],
        "loader": loader_name(config),
    }


@show.command(epilog=example("kernels runs/first --layer conv1"))
@click.argument("model", type=PathOf(NETWORK))
@click.option("--layer", default="conv1", show_default=True, help="Name of a convolution.")
@options.model_name
@plot_command("kernels-LAYER.png")
def kernels(model: Path, layer: str, net: str | None, output: Path | None, *, force: bool) -> Result:
    """The kernels of a convolution of MODEL.

    MODEL is a run folder, a checkpoint or a file of weights.
    """
    target = new_plot(output, f"kernels-{layer}", force=force, shown=model)
    from alexnet_fast.plots.kernels import kernels as draw
    from alexnet_fast.training.checkpoint.model_io import load_trained

    return {**save_plot(draw(load_trained(model, net).net, layer), target), "layer": layer}


def _spec(model: str) -> AugmentSpec:
    """Returns the preprocessing of the run or file of that path, or else of the network of that name."""
    from alexnet_fast.models import model_spec
    from alexnet_fast.pipelines.spec import AugmentSpec
    from alexnet_fast.training.checkpoint.model_io import load_trained

    if Path(model).exists():
        return load_trained(Path(model)).spec
    of = model_spec(model).input
    return AugmentSpec(resize=of.resize, crop=of.crop, mean=of.mean, std=of.std)


def _with_parts(spec: AugmentSpec, parts: dict[str, Any]) -> AugmentSpec:
    """Returns a spec with the random parts that the options ask for instead of its own."""
    return dataclasses.replace(spec, **{name: part for name, part in parts.items() if part is not None})


def _some_images(data: Path, count: int, fields: ShardFields) -> ImageList:
    """Returns images from all over the training part of a folder: its list goes class by class."""
    from alexnet_fast.data import ClassMap, DatasetFormat
    from alexnet_fast.data.find_splits import find_splits

    parts = find_splits(data, dataset_format=DatasetFormat(fields=fields))
    contents = parts["train"] if "train" in parts else parts["all"]
    listed = contents.images(ClassMap.from_names(contents.class_names()))
    count = min(count, len(listed))
    return listed.select([(2 * row + 1) * len(listed) // (2 * count) for row in range(count)])
