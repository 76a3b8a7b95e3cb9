"""`alexnet-fast show` for what a model says: saliency, confusion, mistakes, activations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alexnet_fast.cli import options
from alexnet_fast.cli.command import Result
from alexnet_fast.cli.help_page import command
from alexnet_fast.cli.part import image_options, opened, part_images, part_loader, part_options
from alexnet_fast.cli.path_roles import DATA, IMAGE, MODEL, NETWORK, PathOf
from alexnet_fast.cli.plot_command import example, new_plot, plot_command, save_plot
from alexnet_fast.cli.types import number
from alexnet_fast.errors import UserError
from alexnet_fast.utils.progress import progress_bar
from alexnet_fast.utils.ranges import whole

if TYPE_CHECKING:
    from alexnet_fast.data import ImageList
    from alexnet_fast.pipelines.ten_crop import Crops
    from alexnet_fast.plots.saliency import Explained
    from alexnet_fast.training.checkpoint.model_io import TrainedModel

_PATH = click.Path(path_type=Path)


@command(epilog=example("saliency runs/first images --images 6"))
@click.argument("model", type=PathOf(NETWORK))
@click.argument("data", type=PathOf(DATA))
@number("--images", "count", of=whole(1, 12), default=4, show_default=True, help="Rows.")
@number("--seed", default=0, show_default=True, help="Chooses the images.")
@number(
    "--samples",
    of=whole(1, 500),
    default=25,
    show_default=True,
    help="Noisy copies that the smoothed map averages over.",
)
@image_options
@options.model_name
@plot_command("saliency.png")
def saliency(output: Path | None, *, force: bool, **given: Any) -> Result:
    """Pixels that MODEL's answers hang on, beside its top five, for random images of DATA.

    MODEL is a run folder, a checkpoint or a file of weights: gradients need the network itself. Two maps an
    image: the gradient of the likeliest class, and its average over noisy copies (SmoothGrad).
    """
    target = new_plot(output, "saliency", force=force, shown=given["model"])
    from alexnet_fast.plots.saliency import saliency as draw
    from alexnet_fast.training.checkpoint.model_io import load_trained

    trained = load_trained(given["model"], given["net"])
    images = part_images(trained, given)
    chosen = _random_rows(images, given["count"], given["seed"])
    with progress_bar(len(chosen), "explaining") as bar:
        explained = []
        for row in chosen:
            explained.append(_explain(trained, images, row, given))
            bar.update(1)
    return {**save_plot(draw(explained), target), "files": [images.path(row) for row in chosen]}


@command(epilog=example("confusion runs/first/model.onnx images --split test"))
@click.argument("model", type=PathOf(MODEL))
@click.argument("data", type=PathOf(DATA))
@options.crops("Crops to average over.  [default: ten where the model has them]")
@part_options
@plot_command("confusion.png")
def confusion(model: Path, output: Path | None, *, force: bool, crops: Crops | None, **given: Any) -> Result:
    """Which classes of DATA MODEL takes for which, and the pairs that it confuses most."""
    target = new_plot(output, "confusion", force=force, shown=model)
    from alexnet_fast.inference.evaluate import evaluate
    from alexnet_fast.plots.confusion import confusion as draw
    from alexnet_fast.plots.confusion import most_confused

    classifier = opened(model, given)
    loader = part_loader(classifier, given)
    crops = crops or classifier.crops[0]
    with progress_bar(len(loader.images), "classifying") as bar:
        found = evaluate(classifier, loader, [crops], on_progress=lambda done: bar.update(done - bar.pos))
    matrix = found.by_crops[crops].confusion
    pairs = [
        {"true": pair.true, "predicted": pair.predicted, "count": pair.count, "share": pair.share}
        for pair in most_confused(matrix, classifier.classes)
    ]
    figure = draw(matrix, classifier.classes)
    return {**save_plot(figure, target), "images": found.images, "most_confused": pairs}


@command(epilog=example("mistakes runs/first images --split test --images 12"))
@click.argument("model", type=PathOf(MODEL))
@click.argument("data", type=PathOf(DATA))
@number("--images", "count", of=whole(1, 60), default=12, show_default=True, help="Mistakes to show.")
@options.crops("Crops to average over.  [default: ten where the model has them]")
@part_options
@plot_command("mistakes.png")
def mistakes(
    model: Path, count: int, output: Path | None, *, force: bool, crops: Crops | None, **given: Any
) -> Result:
    """The images of DATA that MODEL gets wrong, those first that it is surest of."""
    target = new_plot(output, "mistakes", force=force, shown=model)
    from alexnet_fast.inference.misclassified import worst_misclassified
    from alexnet_fast.plots.predictions import Sample, predictions

    classifier = opened(model, given)
    loader = part_loader(classifier, given)
    crops = crops or classifier.crops[0]
    with progress_bar(len(loader.images), "classifying") as bar:
        worst, wrong, images = worst_misclassified(
            classifier, loader, crops, count, on_progress=lambda done: bar.update(done - bar.pos)
        )
    if not worst:
        raise UserError(f"{model} makes no mistake on these {images} images", "there is nothing to draw")
    samples = [Sample(pixels=one.pixels, truth=one.truth, guesses=one.guesses) for one in worst]
    files = [one.file for one in worst]
    return {**save_plot(predictions(samples), target), "images": images, "wrong": wrong, "files": files}


@command(epilog=example("activations runs/first photo.jpg --layer conv2"))
@click.argument("model", type=PathOf(NETWORK))
@click.argument("image", type=PathOf(IMAGE))
@click.option("--layer", default="conv1", show_default=True, help="Name of a layer that gives maps.")
@options.model_name
@plot_command("activations-LAYER.png")
def activations(
    model: Path, image: Path, layer: str, net: str | None, output: Path | None, *, force: bool
) -> Result:
    """What a layer of MODEL makes of IMAGE: one grey map a channel.

    MODEL is a run folder, a checkpoint or a file of weights.
    """
    target = new_plot(output, f"activations-{layer}", force=force, shown=model)
    from alexnet_fast.pipelines.samples import square_of
    from alexnet_fast.plots.activations import activations as draw
    from alexnet_fast.plots.saliency import view_of
    from alexnet_fast.training.checkpoint.model_io import load_trained

    trained = load_trained(model, net)
    _, view = view_of(square_of(str(image), trained.spec), trained.spec)
    return {**save_plot(draw(trained.net, view, layer), target), "layer": layer}


def _random_rows(images: ImageList, count: int, seed: int) -> list[int]:
    """Chooses images at random, in the order of the list."""
    import numpy as np

    chosen = np.random.default_rng(seed).choice(len(images), min(count, len(images)), replace=False)
    return sorted(chosen.tolist())


def _explain(trained: TrainedModel, images: ImageList, row: int, given: dict[str, Any]) -> Explained:
    """Classifies one image and makes both maps of its likeliest class."""
    import torch

    from alexnet_fast.pipelines.samples import square_at
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
        smooth=smooth_map(trained.net, view, first, samples=given["samples"], seed=given["seed"]),
    )
