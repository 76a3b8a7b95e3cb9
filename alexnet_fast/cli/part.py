"""Options that choose the labelled images for a model, and their loader."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from alexnet_fast.cli import options
from alexnet_fast.cli.options import all_of
from alexnet_fast.cli.types import number

if TYPE_CHECKING:
    from alexnet_fast.data import ImageList
    from alexnet_fast.inference.classifier import Classifier
    from alexnet_fast.pipelines.loader import Loader
    from alexnet_fast.training.checkpoint.model_io import TrainedModel

# Options of `part_images`.
image_options = all_of(
    click.option(
        "--split",
        type=click.Choice(["train", "val", "test", "all"]),
        default="val",
        show_default=True,
        help="Images to use; 'all' takes every class folder in DATA.",
    ),
    number(
        "--val-fraction",
        help="Validation fraction if there is no val/.  [default: that of the training]",
    ),
    options.exclude,
    options.format_options,
)
# Options of `opened` and `part_loader`.
part_options = all_of(
    image_options,
    options.model_name,
    number("--batch-size", default=32, show_default=True, help="Images per batch."),
    options.dali,
    options.model_device,
    options.allow_fallback,
    options.workers,
    options.on_bad_image,
)


def opened(model: Any, arguments: dict[str, Any]) -> Classifier:
    """Opens the model that the options describe.

    Raises:
        UserError: The model cannot be opened.
    """
    from alexnet_fast.inference.classifier import open_classifier

    return open_classifier(
        model,
        device=arguments["device"],
        amp=arguments.get("amp", "off"),
        model=arguments["net"],
        threads=arguments["workers"],
        allow_fallback=arguments["allow_fallback"],
    )


def part_images(model: Classifier | TrainedModel, arguments: dict[str, Any]) -> ImageList:
    """Lists the images for a model; split and fields default to those of its training.

    Raises:
        UserError: The images do not exist, or have other classes.
    """
    from alexnet_fast.data import ClassMap, open_split
    from alexnet_fast.data.class_map import prepared_classes
    from alexnet_fast.data.split_rule import recorded_rule

    fraction = arguments["val_fraction"]
    # Data from `prepare` have one image and one label per sample, whatever the fields were called before.
    keys = ("image_key", "label_key") if prepared_classes(arguments["data"]) is None else ()
    of_training = {name: model.provenance.get(name) for name in keys if arguments[name] is None}
    return open_split(
        arguments["data"],
        arguments["split"],
        ClassMap(model.classes),
        val_fraction=model.provenance.get("val_fraction", 0.1) if fraction is None else fraction,
        rule=recorded_rule(model.provenance),
        exclude=options.excluded(arguments["exclude"]),
        dataset_format=options.dataset_format({**arguments, **of_training}),
    )


def part_loader(classifier: Classifier, arguments: dict[str, Any]) -> Loader:
    """Makes the loader of the images for a model.

    Raises:
        UserError: The images do not exist, or have other classes.
    """
    import torch

    from alexnet_fast.pipelines.factory import make_loader
    from alexnet_fast.pipelines.loader import LoaderConfig
    from alexnet_fast.pipelines.sampler import EpochSampler

    images = part_images(classifier, arguments)
    sampler = EpochSampler(num_images=len(images), batch_size=arguments["batch_size"], shuffle=False)
    config = LoaderConfig(
        kind="dali" if arguments["dali"] else "torch",
        device=torch.device("cpu"),
        workers=arguments["workers"],
        on_bad_image=arguments["on_bad_image"],
    )
    return make_loader(images, classifier.spec, "square", sampler, config)
