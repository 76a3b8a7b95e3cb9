"""`alexnet-fast show`: pictures of a run, a network or a data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alexnet_fast.cli import options
from alexnet_fast.cli.command import Result, answers
from alexnet_fast.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from alexnet_fast.data import PictureList
    from alexnet_fast.pipelines.pillow_image import Pixels
    from alexnet_fast.pipelines.spec import AugmentSpec

_PATH = click.Path(path_type=Path)


@click.group()
def show() -> None:
    """Draw a picture: curves, crops, samples or kernels."""


def _example(line: str) -> str:
    """Returns the end of a help page."""
    return f"\b\nExample:\n  alexnet-fast show {line}\n"


def _written(result: Result) -> str:
    """Renders a result for a reader."""
    return f"wrote {result['picture']}"


def _picture(default: str) -> Callable[[Callable[..., Result]], Callable[..., None]]:
    """Adds what every subcommand has: `--output`, `--force`, `--json`, `--debug`.

    Args:
        default: File name that is taken without `--output`, as the help shows it.
    """

    def decorate(function: Callable[..., Result]) -> Callable[..., None]:
        command = answers(_written)(function)
        command = click.option("--force", is_flag=True, help="Overwrite an existing file.")(command)
        return click.option(
            "--output", type=_PATH, metavar="FILE.png", help=f"Where to write it.  [default: {default}]"
        )(command)

    return decorate


@show.command(epilog=_example("curves runs/first --output curves.png"))
@click.argument("run", type=_PATH)
@_picture("curves.png")
def curves(run: Path, output: Path | None, *, force: bool) -> Result:
    """Loss, accuracy and learning rate of each epoch of RUN."""
    target = _target(output, "curves", force=force)
    if not run.is_dir():
        raise UserError(f"no such run: {run}", "give the folder of a run", exit_code=2)
    from alexnet_fast.pictures.curves import curves as draw
    from alexnet_fast.training.history import best_row, read_metrics
    from alexnet_fast.training.run_folder import RunFolder

    rows = read_metrics(RunFolder(run).metrics)
    if not rows:
        raise UserError(f"{run} has no finished epoch yet", "draw it when one is done")
    return {**_save(draw(rows), target), "epochs": len(rows), "best_epoch": best_row(rows).epoch}


@show.command(epilog=_example("crops runs/first photo.jpg"))
@click.argument("model", type=_PATH)
@click.argument("image", type=_PATH)
@options.weights_of
@_picture("crops-IMAGE.png")
def crops(model: Path, image: Path, net: str | None, output: Path | None, *, force: bool) -> Result:
    """The ten crops of IMAGE, what MODEL says to each, and the average.

    MODEL is a run folder, a checkpoint or a file of weights.
    """
    target = _target(output, f"crops-{image.stem}", force=force)
    from alexnet_fast.pictures.crops import crop_by_crop
    from alexnet_fast.pictures.crops import crops as draw
    from alexnet_fast.training.trained import load_trained

    trained = load_trained(model, net)
    if not trained.spec.margin:
        raise UserError(
            f"{model} has no ten crops: it takes the whole picture of {trained.spec.crop} pixels",
            "give a model that was trained with a --crop smaller than --resize",
        )
    square = _square(image, trained.spec)
    probabilities = crop_by_crop(trained.net, square, trained.spec)
    average = probabilities.mean(axis=0)
    figure = draw(square, trained.spec, probabilities, trained.classes)
    likeliest = int(average.argmax())
    return {
        **_save(figure, target),
        "label": trained.classes[likeliest],
        "probability": float(average[likeliest]),
    }


@show.command(epilog=_example("augment pictures --model runs/first --samples 6"))
@click.argument("data", type=_PATH)
@click.option(
    "--model",
    default="alexnet",
    show_default=True,
    help="Network, by name, or a run: takes its preprocessing.",
)
@click.option("--pictures", "count", type=click.IntRange(1, 20), default=4, show_default=True, help="Rows.")
@click.option(
    "--samples", type=click.IntRange(1, 12), default=4, show_default=True, help="Samples a picture."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the random parts.")
@click.option(
    "--dali/--no-dali", default=True, show_default=True, help="Load with NVIDIA DALI, or with Pillow."
)
@click.option("--device", default="cpu", show_default=True, help="auto, cpu, cuda or cuda:N.")
@_picture("augment.png")
def augment(data: Path, output: Path | None, *, force: bool, **given: Any) -> Result:
    """Pictures of DATA beside what training makes of them.

    DATA holds train/ with one folder of pictures a class, or the class folders themselves.
    """
    target = _target(output, "augment", force=force)
    from alexnet_fast.device import choose_device
    from alexnet_fast.pictures.augmented import augmented, loader_name
    from alexnet_fast.pipelines.loader import LoaderConfig

    config = LoaderConfig(kind="dali" if given["dali"] else "torch", device=choose_device(given["device"]))
    pictures = _some_pictures(data, given["count"])
    spec = _spec(given["model"])
    figure = augmented(pictures, spec, samples=given["samples"], seed=given["seed"], config=config)
    return {
        **_save(figure, target),
        "files": [pictures.path(index) for index in range(len(pictures))],
        "loader": loader_name(config),
    }


@show.command(epilog=_example("kernels runs/first --layer conv1"))
@click.argument("model", type=_PATH)
@click.option("--layer", default="conv1", show_default=True, help="Name of a convolution.")
@options.weights_of
@_picture("kernels-LAYER.png")
def kernels(model: Path, layer: str, net: str | None, output: Path | None, *, force: bool) -> Result:
    """The kernels of a convolution of MODEL.

    MODEL is a run folder, a checkpoint or a file of weights.
    """
    target = _target(output, f"kernels-{layer}", force=force)
    from alexnet_fast.pictures.kernels import kernels as draw
    from alexnet_fast.training.trained import load_trained

    return {**_save(draw(load_trained(model, net).net, layer), target), "layer": layer}


def _target(output: Path | None, name: str, *, force: bool) -> Path:
    """Returns where to write; refuses before the work is done rather than after.

    Raises:
        UserError: The file is there already, or is not to be PNG.
    """
    path = output or Path(f"{name}.png")
    if path.suffix.lower() != ".png":
        raise UserError(f"--output {path} is no PNG file", f"give {path.with_suffix('.png')}", exit_code=2)
    if not path.parent.is_dir():
        raise UserError(f"--output {path}: there is no folder {path.parent}", "make it first", exit_code=2)
    if path.exists() and not force:
        raise UserError(
            f"{path} is there already", "give --force to overwrite it, or another --output", exit_code=2
        )
    return path


def _save(figure: Figure, path: Path) -> Result:
    """Writes a figure and returns the part of the result that every subcommand has."""
    from alexnet_fast.pictures.png import save_png

    save_png(figure, path)
    return {"picture": str(path)}


def _square(image: Path, spec: AugmentSpec) -> Pixels:
    """Returns the square that the crops are cut from.

    Raises:
        UserError: The file cannot be decoded.
    """
    from alexnet_fast.pipelines.pillow_image import BadPictureError, centre_square, decode

    try:
        return centre_square(decode(image), spec)
    except BadPictureError as error:
        raise UserError(f"cannot decode {image}: {error}", "give a picture file") from error


def _spec(model: str) -> AugmentSpec:
    """Returns the preprocessing of the run or file of that path, or else of the network of that name."""
    from alexnet_fast.models import model_spec
    from alexnet_fast.pipelines.spec import AugmentSpec
    from alexnet_fast.training.trained import load_trained

    if Path(model).exists():
        return load_trained(Path(model)).spec
    of = model_spec(model).input
    return AugmentSpec(resize=of.resize, crop=of.crop, mean=of.mean, std=of.std)


def _some_pictures(data: Path, count: int) -> PictureList:
    """Returns pictures from all over the training part of a folder: its list goes class by class."""
    from alexnet_fast.data import ClassMap
    from alexnet_fast.data.parts import find_parts

    parts = find_parts(data)
    contents = parts["train"] if "train" in parts else parts["all"]
    listed = contents.pictures(ClassMap.from_names(contents.class_names()))
    count = min(count, len(listed))
    return listed.select([(2 * row + 1) * len(listed) // (2 * count) for row in range(count)])
