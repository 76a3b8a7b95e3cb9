"""What a training run is told; saved with the run as config.toml."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Literal

from alexnet_fast.errors import UserError
from alexnet_fast.files import write_atomically

Amp = Literal["auto", "off", "fp16", "bf16"]
Colours = Literal["original", "lighting", "data", "off"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Options of `alexnet-fast train`; the defaults are those of Krizhevsky et al. 2012, sections 4 and 5.

    Args:
        data: Folder of pictures.
        run: Folder that the run is written to.
        model: A name of `alexnet_fast.models`.
        epochs: Most epochs; 90 in the paper.
        batch_size: Pictures an optimiser step, over all processes and all backward passes of it.
        accumulate: Backward passes an optimiser step; each takes its part of the batch.
        lr: Learning rate at the start.
        momentum: Of SGD.
        weight_decay: Of SGD, on all parameters.
        dropout: Overrides the model's; None keeps it.
        schedule: "plateau" divides the learning rate by 10 when validation stops improving, as the paper did;
            "cosine" lowers it from epoch to epoch towards 0.
        patience: Epochs without a lower validation error before the learning rate is divided by 10.
        drops: How often it is divided; three times in the paper. Then the patience ends the training.
        bn_batches: Training batches that batch norm is measured on after each epoch; 0 keeps the running
            averages. Networks without batch norm need none.
        resize: Shorter side of the pictures; None takes the model's.
        crop: Input side of the network; None takes the model's.
        pca: Colour jitter: the original constants, the weaker "lighting" ones, those of the data, or none.
        mean: Subtracted colour: ImageNet's or that of the data.
        val_fraction: Share of each class to validate on where there is no val/ folder.
        dali: Load with DALI; otherwise with Pillow in worker processes.
        device: "auto", "cpu", "cuda" or "cuda:N".
        amp: Mixed precision: what the device has, or none, or a type by name.
        threads: DALI threads or worker processes.
        on_bad_image: "fail" or "skip".
        seed: Of weights, data order and augmentation.
        checkpoint_steps: Optimiser steps between two checkpoints within an epoch; 0 for none.
        checkpoint_minutes: Minutes between two checkpoints within an epoch; 0 for none.
        keep: How many of the last checkpoints stay, besides the best and that of the last epoch's end.
        processes: Processes that train together on this machine's CPU.
        gpus: Processes that train together on this machine's GPUs, one each; None for one process.
        log_every: Steps between two readings of loss and accuracy; the device is not waited for in between.
    """

    data: Path
    run: Path
    model: str = "alexnet"
    epochs: int = 90
    batch_size: int = 128
    accumulate: int = 1
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    dropout: float | None = None
    schedule: Literal["plateau", "cosine"] = "plateau"
    patience: int = 5
    drops: int = 3
    bn_batches: int = 32
    resize: int | None = None
    crop: int | None = None
    pca: Colours = "original"
    mean: Literal["imagenet", "data"] = "imagenet"
    val_fraction: float = 0.1
    dali: bool = True
    device: str = "auto"
    amp: Amp = "auto"
    threads: int = 2
    on_bad_image: Literal["fail", "skip"] = "fail"
    seed: int = 0
    checkpoint_steps: int = 0
    checkpoint_minutes: float = 10.0
    keep: int = 2
    processes: int = 1
    gpus: int | None = None
    log_every: int = 20

    def __post_init__(self) -> None:
        for name in ("epochs", "patience", "accumulate", "keep", "processes", "gpus", "log_every"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise UserError(f"{_option(name)} must be 1 or more", exit_code=2)
        for name in (
            "lr",
            "momentum",
            "weight_decay",
            "drops",
            "bn_batches",
            "seed",
            "checkpoint_steps",
            "checkpoint_minutes",
        ):
            if getattr(self, name) < 0:
                raise UserError(f"{_option(name)} must not be negative", exit_code=2)

    def to_dict(self) -> dict[str, Any]:
        """Returns the options as plain values, those that are None left out."""
        return {
            name: str(value) if isinstance(value, Path) else value
            for name, value in dataclasses.asdict(self).items()
            if value is not None
        }

    def save(self, path: Path) -> None:
        """Writes the options as TOML: `alexnet-fast train --config` reads it back."""
        # A JSON string, number or boolean is a TOML value too.
        lines = [f"{name} = {json.dumps(value)}\n" for name, value in self.to_dict().items()]
        write_atomically(path, "".join(lines).encode())


def _option(name: str) -> str:
    """Returns a field as its command line option."""
    return "--" + name.replace("_", "-")
