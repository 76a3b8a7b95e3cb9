"""Labelled images that a model is tried on: the options that choose them, and their loader."""

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

# What `part_images` reads.
image_options = all_of(
    click.option(
        "--split",
        type=click.Choice(["train", "val", "test", "all"]),
        default="val",
        show_default=True,
        help="Which images; 'all' takes every class folder in DATA.",
    ),
    number(
        "--val-fraction",
        help="Validation share where there is no val/.  [default: that of the training]",
    ),
    options.exclude,
    options.format_options,
)
# What `opened` and `part_loader` read beside it.
part_options = all_of(
    image_options,
    options.model_name,
    number("--batch-size", default=32, show_default=True, help="Images at a time."),
    options.dali,
    options.model_device,
    options.allow_fallback,
    options.workers,
    options.on_bad_image,
)


def opened(model: Any, given: dict[str, Any]) -> Classifier:
    """Opens the model that the options describe.

    Raises:
        UserError: It cannot be opened.
    """
    from alexnet_fast.inference.classifier import open_classifier

    return open_classifier(
        model,
        device=given["device"],
        amp=given.get("amp", "off"),
        model=given["net"],
        threads=given["workers"],
        allow_fallback=given["allow_fallback"],
    )


def part_images(model: Classifier | TrainedModel, given: dict[str, Any]) -> ImageList:
    """Lists the images to try a model on: what no option says of split and fields is as in the training.

    Raises:
        UserError: The images are not there, or are of other classes.
    """
    from alexnet_fast.data import ClassMap, open_split
    from alexnet_fast.data.class_map import prepared_classes
    from alexnet_fast.data.split_rule import recorded_rule

    fraction = given["val_fraction"]
    # What `prepare` has written has one image and one label a sample, whatever they were called before.
    keys = ("image_key", "label_key") if prepared_classes(given["data"]) is None else ()
    of_training = {name: model.provenance.get(name) for name in keys if given[name] is None}
    return open_split(
        given["data"],
        given["split"],
        ClassMap(model.classes),
        val_fraction=model.provenance.get("val_fraction", 0.1) if fraction is None else fraction,
        rule=recorded_rule(model.provenance),
        exclude=options.excluded(given["exclude"]),
        dataset_format=options.dataset_format({**given, **of_training}),
    )


def part_loader(classifier: Classifier, given: dict[str, Any]) -> Loader:
    """Makes the loader of the images to try it on.

    Raises:
        UserError: The images are not there, or are of other classes.
    """
    import torch

    from alexnet_fast.pipelines.factory import make_loader
    from alexnet_fast.pipelines.loader import LoaderConfig
    from alexnet_fast.pipelines.sampler import EpochSampler

    images = part_images(classifier, given)
    schedule = EpochSampler(images=len(images), batch_size=given["batch_size"], shuffle=False)
    config = LoaderConfig(
        kind="dali" if given["dali"] else "torch",
        device=torch.device("cpu"),
        workers=given["workers"],
        on_bad_image=given["on_bad_image"],
    )
    return make_loader(images, classifier.spec, "square", schedule, config)
