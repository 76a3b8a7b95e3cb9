"""The images and the loaders of a run, and the augmentation that they share."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from alexnet_fast.data import ExcludeList, Splits, open_data
from alexnet_fast.data.class_map import prepared_background
from alexnet_fast.data.layouts.detect import DatasetFormat
from alexnet_fast.data.split_rule import CURRENT_RULE
from alexnet_fast.errors import UserError
from alexnet_fast.models import InputSpec, input_of
from alexnet_fast.pipelines.color import parse_colour
from alexnet_fast.pipelines.color_jitter import ColorJitter
from alexnet_fast.pipelines.factory import make_loader
from alexnet_fast.pipelines.loader import DecoderSettings, Loader, LoaderConfig
from alexnet_fast.pipelines.random_resized_crop import RandomResizedCrop
from alexnet_fast.pipelines.sampler import EpochSampler
from alexnet_fast.pipelines.spec import LIGHTING_JITTER, ORIGINAL_JITTER, AugmentSpec, Progressive
from alexnet_fast.training.config import RANDOM_AUGMENTATION, TrainConfig
from alexnet_fast.training.distributed.group import DistributedContext
from alexnet_fast.training.log import log
from alexnet_fast.training.precision import Precision
from alexnet_fast.weights import Pretrained, fit_weights


def random_parts(
    *,
    random_resized_crop: bool,
    crop_min_scale: float,
    progressive_resize: str | None,
    epochs: int,
    **amounts: float,
) -> dict[str, Any]:
    """Returns the fields of `AugmentSpec` that the options ask for; one that is off is None.

    Args:
        random_resized_crop: Whether areas are random.
        crop_min_scale: Their smallest share of an image.
        progressive_resize: Course of the input side.
        epochs: Over which it runs, where it does not say.
        amounts: Of `ColorJitter`.

    Raises:
        UserError: A value is out of its range.
    """
    area = RandomResizedCrop(min_scale=crop_min_scale)
    colours = ColorJitter(**amounts)
    return {
        "random_resized_crop": area if random_resized_crop else None,
        "color_jitter": colours if colours != ColorJitter() else None,
        "progressive": Progressive.parse(progressive_resize, epochs) if progressive_resize else None,
    }


def starting_input(config: TrainConfig, weights: Pretrained | None) -> InputSpec:
    """Returns the images of a run: what its weights were trained with, or what its network is made for.

    Weights of the same network bring their sizes along; of another one only mean and standard deviation.
    """
    own = input_of(config.model)
    if weights is None or weights.input is None:
        return own
    if weights.model == config.model:
        return weights.input
    return dataclasses.replace(own, mean=weights.input.mean, std=weights.input.std)


def load_initial_weights(
    net: nn.Module, weights: Pretrained, config: TrainConfig, classes: tuple[str, ...]
) -> None:
    """Fills a network and says with what.

    Raises:
        UserError: The weights do not fit.
    """
    fitted = fit_weights(net, weights, classes, new_head=config.finetune or config.linear_probe)
    log.info(
        "weights of %s: %d tensors%s",
        weights.path,
        fitted.tensors,
        ", the last layer is new" * fitted.new_head,
    )
    if weights.model is not None and weights.model != config.model:
        log.info(
            "they are those of %s, and %s may compute with them in another way", weights.model, config.model
        )


if TYPE_CHECKING:
    from alexnet_fast.pipelines.color_stats import ColourStatistics


def open_splits(config: TrainConfig, rule: int = CURRENT_RULE) -> Splits:
    """Lists the images that the options name.

    Args:
        config: The options.
        rule: Which rule divides an undivided folder; a run goes on with the one that it began with.

    Raises:
        UserError: They are not there, or their layout is wrong.
    """
    return open_data(
        config.data,
        val_fraction=config.val_fraction,
        rule=rule,
        exclude=ExcludeList.load(config.exclude) if config.exclude else None,
        dataset_format=DatasetFormat.from_options(
            config.dataset_format, config.labels, config.label_encoding, config.image_key, config.label_key
        ),
    )


def make_loaders(
    config: TrainConfig,
    splits: Splits,
    spec: AugmentSpec,
    precision: Precision,
    processes: DistributedContext,
) -> tuple[Loader, Loader]:
    """Makes the loaders of training and validation; each process has its own share of the images.

    Raises:
        UserError: The batch cannot be shared out.
    """
    settings = _loader_config(config, precision)
    rank, world, batch = processes.rank, processes.world, _own_batch(config, processes)
    _check_batch_size(config, len(splits.train))
    train = EpochSampler(
        images=len(splits.train), batch_size=batch, shuffle=True, seed=config.seed, rank=rank, world=world
    )
    val = EpochSampler(images=len(splits.val), batch_size=batch, shuffle=False, rank=rank, world=world)
    return (
        make_loader(splits.train, spec, "train", train, settings),
        make_loader(splits.val, spec, "eval", val, settings),
    )


def _own_batch(config: TrainConfig, processes: DistributedContext) -> int:
    """Returns the images of one backward pass of one process.

    Raises:
        UserError: The batch cannot be divided so.
    """
    parts = processes.world * config.grad_accum_steps
    if config.batch_size % parts:
        raise UserError(
            f"--batch-size {config.batch_size} cannot be shared by {processes.world} processes"
            f" in {config.grad_accum_steps} passes",
            f"give a multiple of {parts}",
            exit_code=2,
        )
    return config.batch_size // parts


def _check_batch_size(config: TrainConfig, images: int) -> None:
    """Refuses a batch that is never full.

    Raises:
        UserError: It is larger than the data set.
    """
    if config.batch_size > images:
        raise UserError(
            f"--batch-size {config.batch_size} is more than the {images} training images there are",
            f"give --batch-size {images} or less",
            exit_code=2,
        )


def _loader_config(config: TrainConfig, precision: Precision) -> LoaderConfig:
    """Returns how the images are loaded; fp16 networks get fp16 pixels."""
    return LoaderConfig(
        kind="dali" if config.dali else "torch",
        device=precision.device,
        workers=config.workers,
        half=precision.dtype is torch.float16,
        on_bad_image=config.on_bad_image,
        decoder=DecoderSettings(hardware_load=config.hw_decoder_load),
    )


def make_spec(
    config: TrainConfig,
    splits: Splits,
    precision: Precision,
    own: InputSpec,
    colours: ColourStatistics | None = None,
) -> AugmentSpec:
    """Builds the augmentation spec: sizes and normalisation, the options, the data's colours.

    Args:
        config: The options.
        splits: The images.
        precision: How the loader is to be set up.
        own: The images that the network expects.
        colours: Those of the training images; None to measure them where the options ask for them.
    """
    _check_same_background(config)
    jitters = {"original": ORIGINAL_JITTER, "lighting": LIGHTING_JITTER, "data": None, "off": None}
    spec = AugmentSpec(
        # Nobody who asks for a larger crop has to ask for larger images too.
        resize=config.resize or max(own.resize, config.crop or 0),
        crop=config.crop or own.crop,
        mean=own.mean,
        std=own.std,
        flip=config.flip,
        background=parse_colour(config.background),
        jitter=jitters[config.pca_jitter],
        **random_parts(**{name: getattr(config, name) for name in RANDOM_AUGMENTATION}, epochs=config.epochs),
    )
    if "data" not in (config.pca_jitter, config.mean):
        return spec
    colours = colours or measured_colours(config, splits, spec, precision)
    return dataclasses.replace(
        spec,
        mean=colours.mean if config.mean == "data" else spec.mean,
        jitter=colours.jitter if config.pca_jitter == "data" else spec.jitter,
    )


def _check_same_background(config: TrainConfig) -> None:
    """Refuses images that `prepare` laid over another background than the one that will be served.

    Raises:
        UserError: It did.
    """
    prepared = prepared_background(config.data)
    if prepared not in (None, config.background):
        raise UserError(
            f"the images in {config.data} were prepared with --background {prepared},"
            f" and training is to have {config.background}",
            f"give --background {prepared}, or prepare them again",
            exit_code=2,
        )


def measured_colours(
    config: TrainConfig, splits: Splits, spec: AugmentSpec, precision: Precision
) -> ColourStatistics:
    """Takes mean and principal components over the squares of all training images."""
    from alexnet_fast.pipelines.color_stats import measure_colours

    schedule = EpochSampler(images=len(splits.train), batch_size=min(32, len(splits.train)), shuffle=False)
    loader = make_loader(splits.train, spec, "square", schedule, _loader_config(config, precision))
    log.info("measuring the colours of %d training images", len(splits.train))
    return measure_colours(loader.epoch(0))
