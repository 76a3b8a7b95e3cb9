"""The options of a training run, each declared once; saved with the run as config.toml."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.color import color_text, parse_color
from alexnet_fast.training.option import (
    AUGMENTATION,
    AVERAGE,
    CHECKPOINTS,
    DATA,
    FREE,
    HARDWARE,
    INITIALISATION,
    LOGGING,
    MODEL,
    NETWORK,
    OPTIMISATION,
    OPTIMIZER,
    ORDER,
    POSITION,
    PREPROCESSING,
    RECORDED,
    SCHEDULE,
    option,
)
from alexnet_fast.utils import ranges
from alexnet_fast.utils.ranges import check_fields
from alexnet_fast.utils.toml import write_toml

if TYPE_CHECKING:
    from alexnet_fast.models.spec import Initial

Amp = Literal["auto", "off", "fp16", "bf16"]
PcaJitterSource = Literal["original", "lighting", "data", "off"]

# The options of random augmentation beyond the paper's; `training.data.random_parts` takes them.
RANDOM_AUGMENTATION = (
    "random_resized_crop",
    "crop_min_scale",
    "brightness",
    "contrast",
    "saturation",
    "hue",
    "progressive_resize",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Options of `alexnet-fast train`; the defaults are those of Krizhevsky et al. 2012, sections 4 and 5.

    Each field declares its help text, range and group, and what `--resume` may do to it; see
    `alexnet_fast.training.option`.

    Raises:
        UserError: A value is out of its range, or options conflict.
    """

    data: Path = option(help="Directory of images.", group=DATA, on_resume=FREE)
    run: Path = option(help="Directory of the run.", group=CHECKPOINTS, on_resume=FREE)
    model: str = option(
        "alexnet",
        help="Network: a name (docs/models.md), or package.module:Net.",
        group=MODEL,
        on_resume=NETWORK,
        common=True,
        metavar="NAME",
    )
    weights: Path | None = option(
        None,
        help="Initial weights: a run or a weight file.",
        group=MODEL,
        on_resume=INITIALISATION,
        common=True,
    )
    finetune: bool = option(
        False,
        help="Fine-tune --weights: first a new last layer, then all layers.",
        group=MODEL,
        on_resume=INITIALISATION,
        common=True,
    )
    freeze_epochs: int = option(
        1,
        help="Epochs of --finetune that train the last layer alone, on features computed once.",
        group=MODEL,
        on_resume=INITIALISATION,
        range=ranges.COUNT_OR_NONE,
    )
    finetune_lr_factor: float = option(
        0.1,
        help="Factor on the learning rate after --freeze-epochs.",
        group=MODEL,
        on_resume=RECORDED,
        range=ranges.FACTOR_OR_ONE,
    )
    linear_probe: bool = option(
        False,
        help="Train only a new last layer, on features of --weights that are computed once.",
        group=MODEL,
        on_resume=INITIALISATION,
    )
    init: Initial | None = option(
        None,
        help="Initialisation of the weights.",
        group=MODEL,
        on_resume=INITIALISATION,
        choices=("paper", "kaiming", "xavier", "truncated", "torch"),
        default_text="the model's",
    )
    dropout: float | None = option(
        None,
        help="Dropout probability of the hidden layers.",
        group=MODEL,
        on_resume=RECORDED,
        range=ranges.SHARE_BELOW_ONE,
        default_text="the model's",
    )
    epochs: int = option(
        90,
        help="Maximum number of epochs.",
        group=OPTIMISATION,
        on_resume=RECORDED,
        range=ranges.COUNT,
        common=True,
    )
    max_steps: int | None = option(
        None,
        help="Maximum number of optimiser steps; training ends at whichever limit comes first.",
        group=OPTIMISATION,
        on_resume=RECORDED,
        range=ranges.STEPS,
    )
    batch_size: int = option(
        128,
        help="Images per optimiser step, over all processes.",
        group=OPTIMISATION,
        on_resume=POSITION,
        range=ranges.BATCH,
        common=True,
    )
    grad_accum_steps: int = option(
        1,
        help="Backward passes per optimiser step; each takes its part of the batch.",
        group=OPTIMISATION,
        on_resume=POSITION,
        range=ranges.COUNT,
    )
    optimizer: Literal["sgd", "adam", "adamw", "lars"] = option(
        "sgd",
        help="Momentum SGD, Adam, AdamW (decoupled weight decay) or LARS (for large batches).",
        group=OPTIMISATION,
        on_resume=OPTIMIZER,
        choices=("sgd", "adam", "adamw", "lars"),
    )
    lr: float = option(
        0.01,
        help="Peak learning rate.",
        group=OPTIMISATION,
        on_resume=RECORDED,
        range=ranges.RATE,
        common=True,
    )
    momentum: float = option(
        0.9,
        help="Momentum for SGD and LARS; beta1 for Adam.",
        group=OPTIMISATION,
        on_resume=RECORDED,
        range=ranges.SHARE_BELOW_ONE,
    )
    nesterov: bool = option(
        False, help="Use Nesterov momentum with SGD.", group=OPTIMISATION, on_resume=RECORDED
    )
    weight_decay: float = option(
        5e-4, help="L2 weight decay.", group=OPTIMISATION, on_resume=RECORDED, range=ranges.RATE
    )
    bias_weight_decay: bool = option(
        True,
        help="Apply weight decay to biases and norm layers too, as the paper does.",
        group=OPTIMISATION,
        on_resume=OPTIMIZER,
    )
    loss: Literal["cross-entropy", "hinge"] = option(
        "cross-entropy",
        help="Cross-entropy, or the multi-class hinge loss of a support vector machine.",
        group=OPTIMISATION,
        on_resume=RECORDED,
        choices=("cross-entropy", "hinge"),
    )
    label_smoothing: float = option(
        0.0,
        help="Fraction of each label spread evenly over all classes.",
        group=OPTIMISATION,
        on_resume=RECORDED,
        range=ranges.SHARE_BELOW_ONE,
    )
    # Beta(1000, 1000) mixes every pair half and half.
    mixup_alpha: float = option(
        0.0,
        help="Beta distribution parameter of mixup; 0 turns mixup off.",
        group=OPTIMISATION,
        on_resume=RECORDED,
        range=ranges.real(0.0, 1000.0),
    )
    ema_decay: float = option(
        0.0,
        help="Decay of the moving average of the weights that is validated and saved; 0 turns it off.",
        group=OPTIMISATION,
        on_resume=AVERAGE,
        range=ranges.SHARE_BELOW_ONE,
    )
    precise_bn_batches: int = option(
        32,
        help="Batches to recompute batch-norm statistics from after each epoch; 0 for running averages.",
        group=OPTIMISATION,
        on_resume=RECORDED,
        range=ranges.COUNT_OR_NONE,
    )
    seed: int = option(
        0,
        help="Seed of the weights, the data order and the augmentation.",
        group=OPTIMISATION,
        on_resume=ORDER,
        range=ranges.SEED,
    )
    lr_schedule: Literal["plateau", "cosine", "step"] = option(
        "plateau",
        help="When the learning rate falls: on a validation plateau, along a cosine, or in steps.",
        group=SCHEDULE,
        on_resume=RECORDED,
        choices=("plateau", "cosine", "step"),
        common=True,
    )
    warmup_epochs: float = option(
        0.0,
        help="Length of the linear learning-rate warmup, in epochs (fractions allowed).",
        group=SCHEDULE,
        on_resume=RECORDED,
        range=ranges.RATE,
    )
    lr_decay_factor: float = option(
        0.1,
        help="Factor on the learning rate at each reduction of plateau and step.",
        group=SCHEDULE,
        on_resume=RECORDED,
        range=ranges.FACTOR,
    )
    lr_patience: int = option(
        5,
        help="Epochs without a lower validation error before plateau reduces the learning rate.",
        group=SCHEDULE,
        on_resume=RECORDED,
        range=ranges.COUNT,
    )
    # Three times in the paper.
    max_lr_drops: int = option(
        3,
        help="Reductions of plateau; training stops after the next plateau.",
        group=SCHEDULE,
        on_resume=RECORDED,
        range=ranges.COUNT_OR_NONE,
    )
    lr_step_epochs: int = option(
        30,
        help="Epochs between two reductions of step.",
        group=SCHEDULE,
        on_resume=RECORDED,
        range=ranges.COUNT,
    )
    resize: int | None = option(
        None,
        help="Shorter side of the resized images, in pixels.",
        group=AUGMENTATION,
        on_resume=PREPROCESSING,
        range=ranges.SIDE,
        default_text="the model's",
    )
    crop: int | None = option(
        None,
        help="Input side of the network, in pixels.",
        group=AUGMENTATION,
        on_resume=PREPROCESSING,
        range=ranges.SIDE,
        default_text="the model's",
    )
    random_resized_crop: bool = option(
        False,
        help="Train on resized random areas of random aspect ratio instead of the paper's random crop.",
        group=AUGMENTATION,
        on_resume=PREPROCESSING,
    )
    # 0.08 in Szegedy et al. 2014.
    crop_min_scale: float = option(
        0.08,
        help="Smallest area of --random-resized-crop, as a fraction of the image.",
        group=AUGMENTATION,
        on_resume=PREPROCESSING,
        range=ranges.FACTOR_OR_ONE,
    )
    flip: bool = option(
        True,
        help="Flip half of the training images horizontally.",
        group=AUGMENTATION,
        on_resume=PREPROCESSING,
    )
    pca_jitter: PcaJitterSource = option(
        "original",
        help="PCA colour jitter: the paper's constants, weaker ones, those measured on the data, or off.",
        group=AUGMENTATION,
        on_resume=PREPROCESSING,
        choices=("original", "lighting", "data", "off"),
    )
    brightness: float = option(
        0.0,
        help="Largest random change of brightness, 0 to 1.",
        group=AUGMENTATION,
        on_resume=PREPROCESSING,
        range=ranges.SHARE,
    )
    contrast: float = option(
        0.0,
        help="Largest random change of contrast, 0 to 1.",
        group=AUGMENTATION,
        on_resume=PREPROCESSING,
        range=ranges.SHARE,
    )
    saturation: float = option(
        0.0,
        help="Largest random change of saturation, 0 to 1.",
        group=AUGMENTATION,
        on_resume=PREPROCESSING,
        range=ranges.SHARE,
    )
    hue: float = option(
        0.0,
        help="Largest random rotation of the hue, 0 to 0.5 of a full turn.",
        group=AUGMENTATION,
        on_resume=PREPROCESSING,
        range=ranges.real(0.0, 0.5),
    )
    progressive_resize: str | None = option(
        None,
        help="Grow the input side from START to END pixels over the first EPOCHS epochs (default: all).",
        group=AUGMENTATION,
        on_resume=PREPROCESSING,
        metavar="START:END[:EPOCHS]",
    )
    mean: Literal["imagenet", "data"] = option(
        "imagenet",
        help="Mean colour to subtract: ImageNet's, or the mean of the training images.",
        group=AUGMENTATION,
        on_resume=PREPROCESSING,
        choices=("imagenet", "data"),
    )
    background: str = option(
        "#ffffff",
        help="Colour behind transparent images: a name or #rrggbb.",
        group=AUGMENTATION,
        on_resume=PREPROCESSING,
        metavar="COLOUR",
        default_text="white",
    )
    val_fraction: float = option(
        0.1,
        help="Fraction of each class to validate on if there is no val/.",
        group=DATA,
        on_resume=FREE,
        range=ranges.FACTOR,
        common=True,
    )
    on_bad_image: Literal["fail", "skip"] = option(
        "fail",
        help="Stop at an undecodable image, or skip and name it.",
        group=DATA,
        on_resume=FREE,
        choices=("fail", "skip"),
        common=True,
    )
    exclude: Path | None = option(
        None,
        help="File of images to leave out, one path per line relative to DATA; see scan --write-exclude.",
        group=DATA,
        on_resume=FREE,
    )
    dataset_format: str | None = option(
        None,
        help="Format of DATA (docs/data.md).",
        group=DATA,
        on_resume=FREE,
        choices=("folders", "json", "csv", "tiny-imagenet", "ilsvrc2012", "caltech256"),
        default_text="detected; caltech256 must be given",
    )
    labels: Path | None = option(
        None,
        help="JSON file of image id -> label, for images that are not in class folders.",
        group=DATA,
        on_resume=FREE,
    )
    label_encoding: Path | None = option(
        None, help="JSON file of label -> index, with --labels.", group=DATA, on_resume=FREE
    )
    image_key: str | None = option(
        None,
        help="WebDataset field that holds the image, such as seg.png; the first that exists of several"
        " separated by ';'.",
        group=DATA,
        on_resume=FREE,
        metavar="FIELD",
        default_text="jpg, jpeg, png, webp, the other formats, npy",
    )
    label_key: str | None = option(
        None,
        help="WebDataset field that holds the label, written as --image-key.",
        group=DATA,
        on_resume=FREE,
        metavar="FIELD",
        default_text="cls, json",
    )
    dali: bool = option(
        True,
        help="Load images with NVIDIA DALI or with Pillow.",
        group=HARDWARE,
        on_resume=RECORDED,
        common=True,
    )
    device: str = option(
        "auto", help="auto, cpu, cuda or cuda:N.", group=HARDWARE, on_resume=FREE, common=True
    )
    gpus: int | None = option(
        None,
        help="Number of local GPUs, one process each.",
        group=HARDWARE,
        on_resume=FREE,
        range=ranges.WORKERS,
        common=True,
    )
    processes: int = option(
        1,
        help="Number of CPU processes to train with.",
        group=HARDWARE,
        on_resume=FREE,
        range=ranges.WORKERS,
    )
    amp: Amp = option(
        "auto",
        help="Mixed precision; auto selects bf16 or fp16 on a GPU and off on a CPU.",
        group=HARDWARE,
        on_resume=RECORDED,
        choices=("auto", "off", "fp16", "bf16"),
    )
    compile: bool = option(
        False, help="Compile the network with torch.compile.", group=HARDWARE, on_resume=RECORDED
    )
    cuda_graphs: bool = option(
        False,
        help="Record the forward and backward pass as a CUDA graph and replay it.",
        group=HARDWARE,
        on_resume=RECORDED,
    )
    workers: int = option(
        2,
        help="DALI threads or worker processes.",
        group=HARDWARE,
        on_resume=FREE,
        range=ranges.WORKERS,
        default_text="one per core, at most 8",
        cli_default=lambda: min(8, os.cpu_count() or 1),
    )
    hw_decoder_load: float = option(
        0.65,
        help="Fraction of the JPEGs for a GPU's hardware decoder (A100 and later).",
        group=HARDWARE,
        on_resume=RECORDED,
        range=ranges.SHARE,
    )
    checkpoint_steps: int = option(
        0,
        help="Steps between checkpoints within an epoch; 0 for none.",
        group=CHECKPOINTS,
        on_resume=FREE,
        range=ranges.STEPS_OR_NONE,
    )
    checkpoint_minutes: float = option(
        10.0,
        help="Minutes between checkpoints within an epoch; 0 for none.",
        group=CHECKPOINTS,
        on_resume=FREE,
        range=ranges.SECONDS_OR_NONE,
    )
    keep_checkpoints: int = option(
        2,
        help="Number of recent checkpoints to keep, besides the best and the last epoch's.",
        group=CHECKPOINTS,
        on_resume=FREE,
        range=ranges.COUNT,
    )
    log_interval: int = option(
        20,
        help="Steps between two readings of loss and accuracy; the device is not waited for in between.",
        group=LOGGING,
        on_resume=FREE,
        range=ranges.COUNT,
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "background", color_text(parse_color(self.background)))
        check_fields(self)
        self._check_together()
        self._check_weights()

    def _check_together(self) -> None:
        """Checks options that exclude each other."""
        if self.nesterov and (self.optimizer != "sgd" or not self.momentum):
            raise UserError("--nesterov needs --optimizer sgd and a --momentum above 0", exit_code=2)
        if self.loss == "hinge" and self.label_smoothing:
            raise UserError(
                "--label-smoothing belongs to cross-entropy", "leave it out with --loss hinge", exit_code=2
            )
        if self.warmup_epochs >= self.epochs:
            raise UserError(
                f"--warmup-epochs {self.warmup_epochs:g} takes up all {self.epochs} epochs",
                "reduce it, or raise --epochs",
                exit_code=2,
            )

    def _check_weights(self) -> None:
        """Checks the options that need initial weights."""
        if self.finetune and self.linear_probe:
            raise UserError("--finetune and --linear-probe exclude each other", "give one", exit_code=2)
        if (self.finetune or self.linear_probe) and self.weights is None:
            way = "--finetune" if self.finetune else "--linear-probe"
            raise UserError(f"{way} needs initial weights", "give --weights FILE or RUN", exit_code=2)
        if self.linear_probe and self.progressive_resize:
            raise UserError(
                "--linear-probe computes features once, at one size",
                "leave out --progressive-resize",
                exit_code=2,
            )
        if self.linear_probe and max(self.processes, self.gpus or 1) > 1:
            raise UserError(
                "--linear-probe trains in one process", "leave out --processes and --gpus", exit_code=2
            )

    def to_dict(self) -> dict[str, Any]:
        """Returns the options as plain values, those that are None left out."""
        return {
            name: str(value) if isinstance(value, Path) else value
            for name, value in dataclasses.asdict(self).items()
            if value is not None
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainConfig:
        """Makes the options from what `to_dict` returned."""
        paths = {
            field.name: Path(values[field.name])
            for field in dataclasses.fields(cls)
            if field.name in values and "Path" in str(field.type)
        }
        return cls(**{**values, **paths})

    def save(self, path: Path, notes: Sequence[str] = ()) -> None:
        """Writes the options as TOML: `alexnet-fast train --config` reads it back.

        Args:
            path: The file.
            notes: Lines of comment to begin with.
        """
        write_toml(path, self.to_dict(), notes)
