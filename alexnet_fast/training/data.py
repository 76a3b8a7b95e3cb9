"""The images and the loaders of a run, and the augmentation that they share."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from alexnet_fast.data import ExcludeList, Splits, open_data
from alexnet_fast.data.class_map import prepared_background
from alexnet_fast.data.layouts.detect import DatasetFormat
from alexnet_fast.data.split_rule import CURRENT_RULE
from alexnet_fast.errors import UserError
from alexnet_fast.models import InputSpec, input_of
from alexnet_fast.pipelines.augment.color_jitter import ColorJitter
from alexnet_fast.pipelines.augment.random_resized_crop import RandomResizedCrop
from alexnet_fast.pipelines.color import parse_color
from alexnet_fast.pipelines.factory import make_loader
from alexnet_fast.pipelines.loader import DecoderSettings, Loader, LoaderConfig
from alexnet_fast.pipelines.sampler import EpochSampler
from alexnet_fast.pipelines.spec import LIGHTING_JITTER, ORIGINAL_JITTER, AugmentSpec, Progressive
from alexnet_fast.training.config import RANDOM_AUGMENTATION, TrainConfig
from alexnet_fast.training.context import TrainContext
from alexnet_fast.training.log import log
from alexnet_fast.training.precision import Precision
from alexnet_fast.weights import Pretrained, fit_weights

if TYPE_CHECKING:
    from alexnet_fast.pipelines.color_stats import ColorStats


class Loaders(NamedTuple):
    """The loaders of a process.

    Args:
        train: Loader of the view "train".
        val: Loader of the view "eval".
    """

    train: Loader
    val: Loader


def random_parts(
    *,
    random_resized_crop: bool,
    crop_min_scale: float,
    progressive_resize: str | None,
    epochs: int,
    **amounts: float,
) -> dict[str, Any]:
    """Returns the fields of `AugmentSpec` for random augmentation; one that is off is None.

    Args:
        random_resized_crop: Whether to crop random areas.
        crop_min_scale: The smallest area, as a fraction of the image.
        progressive_resize: The growth of the input side.
        epochs: Epochs of the growth if `progressive_resize` does not say.
        amounts: Fields of `ColorJitter`.

    Raises:
        UserError: A value is out of its range.
    """
    crop, jitter = RandomResizedCrop(min_scale=crop_min_scale), ColorJitter(**amounts)
    return {
        "random_resized_crop": crop if random_resized_crop else None,
        "color_jitter": jitter if jitter != ColorJitter() else None,
        "progressive": Progressive.parse(progressive_resize, epochs) if progressive_resize else None,
    }


def initial_input(config: TrainConfig, weights: Pretrained | None) -> InputSpec:
    """Returns the input of a run: that of its initial weights, or that of its network.

    From the weights of another network only mean and standard deviation are used.
    """
    expected = input_of(config.model)
    if weights is None or weights.input is None:
        return expected
    if weights.model == config.model:
        return weights.input
    return dataclasses.replace(expected, mean=weights.input.mean, std=weights.input.std)


def load_initial_weights(
    net: nn.Module, weights: Pretrained, config: TrainConfig, classes: tuple[str, ...]
) -> None:
    """Loads weights into a network, and logs their source.

    Raises:
        UserError: The weights do not fit the network.
    """
    fitted = fit_weights(net, weights, classes, new_head=config.finetune or config.linear_probe)
    log.info(
        "weights of %s: %d tensors%s",
        weights.path,
        fitted.tensors,
        ", the last layer is new" * fitted.new_head,
    )
    if weights.model is not None and weights.model != config.model:
        log.info("they are those of %s; %s may compute other outputs with them", weights.model, config.model)


def open_splits(config: TrainConfig, rule: int = CURRENT_RULE) -> Splits:
    """Lists the images of a run.

    Args:
        config: The options.
        rule: The rule that divides a folder without val/; a resumed run keeps its rule.

    Raises:
        UserError: There are no images, or their layout is wrong.
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


def make_loaders(context: TrainContext, splits: Splits, spec: AugmentSpec) -> Loaders:
    """Makes the loaders of training and validation images; each process has its own share.

    Raises:
        UserError: The batch is larger than the data set, or cannot be divided among the processes.
    """
    config, dist = context.config, context.dist
    settings = _loader_config(config, context.precision)
    batch = _local_batch_size(context)
    if config.batch_size > len(splits.train):
        raise UserError(
            f"--batch-size {config.batch_size} exceeds the {len(splits.train)} training images",
            f"give --batch-size {len(splits.train)} or less",
            exit_code=2,
        )
    rank, world = dist.rank, dist.world
    train = EpochSampler(
        num_images=len(splits.train), batch_size=batch, shuffle=True, seed=config.seed, rank=rank, world=world
    )
    val = EpochSampler(num_images=len(splits.val), batch_size=batch, shuffle=False, rank=rank, world=world)
    return Loaders(
        make_loader(splits.train, spec, "train", train, settings),
        make_loader(splits.val, spec, "eval", val, settings),
    )


def _local_batch_size(context: TrainContext) -> int:
    """Returns the images per backward pass of one process.

    Raises:
        UserError: The batch cannot be divided among processes and passes.
    """
    config, world = context.config, context.dist.world
    parts = world * config.grad_accum_steps
    if config.batch_size % parts:
        raise UserError(
            f"--batch-size {config.batch_size} cannot be shared by {world} processes"
            f" in {config.grad_accum_steps} passes",
            f"give a multiple of {parts}",
            exit_code=2,
        )
    return config.batch_size // parts


def _loader_config(config: TrainConfig, precision: Precision) -> LoaderConfig:
    """Returns the settings of the loaders; fp16 networks get fp16 pixels."""
    return LoaderConfig(
        kind="dali" if config.dali else "torch",
        device=precision.device,
        workers=config.workers,
        half=precision.dtype is torch.float16,
        on_bad_image=config.on_bad_image,
        decoder=DecoderSettings(hardware_load=config.hw_decoder_load),
    )


def make_spec(
    context: TrainContext, splits: Splits, expected: InputSpec, colours: ColorStats | None = None
) -> AugmentSpec:
    """Makes the augmentation spec from the options: sizes, normalisation, random augmentation, colours.

    Args:
        context: The training run.
        splits: The images.
        expected: The input of the network.
        colours: Colours of the training images; None to measure them if the options ask for them.
    """
    config = context.config
    _check_same_background(config)
    jitters = {"original": ORIGINAL_JITTER, "lighting": LIGHTING_JITTER, "data": None, "off": None}
    spec = AugmentSpec(
        # A larger --crop alone enlarges the images too.
        resize=config.resize or max(expected.resize, config.crop or 0),
        crop=config.crop or expected.crop,
        mean=expected.mean,
        std=expected.std,
        flip=config.flip,
        background=parse_color(config.background),
        jitter=jitters[config.pca_jitter],
        **random_parts(**{name: getattr(config, name) for name in RANDOM_AUGMENTATION}, epochs=config.epochs),
    )
    if "data" not in (config.pca_jitter, config.mean):
        return spec
    colours = colours or measured_colors(context, splits, spec)
    return dataclasses.replace(
        spec,
        mean=colours.mean if config.mean == "data" else spec.mean,
        jitter=colours.jitter if config.pca_jitter == "data" else spec.jitter,
    )


def _check_same_background(config: TrainConfig) -> None:
    """Checks that prepared images have the background of this run, which will be served too.

    Raises:
        UserError: `prepare` used another background.
    """
    prepared = prepared_background(config.data)
    if prepared not in (None, config.background):
        raise UserError(
            f"the images in {config.data} were prepared with --background {prepared},"
            f" and training is to have {config.background}",
            f"give --background {prepared}, or prepare them again",
            exit_code=2,
        )


def measured_colors(context: TrainContext, splits: Splits, spec: AugmentSpec) -> ColorStats:
    """Measures mean and principal components over the squares of all training images."""
    from alexnet_fast.pipelines.color_stats import measure_colors

    images = len(splits.train)
    sampler = EpochSampler(num_images=images, batch_size=min(32, images), shuffle=False)
    settings = _loader_config(context.config, context.precision)
    log.info("measuring the colours of %d training images", images)
    return measure_colors(make_loader(splits.train, spec, "square", sampler, settings).epoch(0))
