"""What a training run is told; saved with the run as config.toml."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from alexnet_fast.errors import UserError
from alexnet_fast.models.spec import Initial
from alexnet_fast.pipelines.color import colour_text, parse_colour
from alexnet_fast.training.on_resume import (
    AVERAGE,
    BEGINNING,
    NETWORK,
    OPTIMIZER,
    ORDER,
    POSITION,
    PREPROCESSING,
    changes,
    free,
    stays,
)
from alexnet_fast.utils.ranges import check_fields
from alexnet_fast.utils.toml import write_toml

Amp = Literal["auto", "off", "fp16", "bf16"]
Colours = Literal["original", "lighting", "data", "off"]

_PATHS = ("data", "run", "leave_out", "labels", "label_encoding", "weights")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Options of `alexnet-fast train`; the defaults are those of Krizhevsky et al. 2012, sections 4 and 5.

    Each field says what `--resume` may do to it, see `training.on_resume`.

    Args:
        data: Folder of images.
        run: Folder that the run is written to.
        model: A name of `alexnet_fast.models`.
        init: How the first weights are drawn, see `models.initial`; None takes the model's way.
        weights: Run folder or file of weights to begin with; None begins with fresh ones.
        transfer: The last layer begins anew and learns alone for `freeze_epochs`, as with `features`; then
            the whole network learns.
        freeze_epochs: Epochs of a transfer in which only the last layer learns.
        unfreeze_lr: What the learning rate is multiplied by once all of it learns.
        features: Only the last layer learns, on what the layer before it says about each image's centre,
            computed once.
        epochs: Most epochs; 90 in the paper.
        max_steps: Most optimiser steps, or None; the run ends with whichever comes first.
        batch_size: Images an optimiser step, over all processes and all backward passes of it.
        accumulate: Backward passes an optimiser step; each takes its part of the batch.
        lr: Learning rate at the start.
        optimizer: "sgd", "adam", "adamw" or "lars".
        momentum: Of SGD and LARS; of Adam, the first beta.
        nesterov: Whether SGD's momentum is Nesterov's.
        weight_decay: On all parameters; see `decay_bias`.
        decay_bias: Whether biases and the parameters of norm layers have weight decay too, as in the paper.
        dropout: Overrides the model's; None keeps it.
        loss: "cross-entropy"; "smoothed", the same with a tenth of each label spread over all classes; or
            "svm", the multi-class hinge loss.
        label_smoothing: Share of the label that is spread over all classes, 0..1, instead of none or a tenth.
        mixup: Parameter of the Beta distribution that images are mixed by; 0 mixes none.
        ema: Decay of the moving average of the weights, which is then validated and kept; 0 for none.
        schedule: "plateau" lowers the learning rate when validation stops improving, as the paper did;
            "cosine" lowers it from step to step towards 0; "step" lowers it every `step_epochs`.
        factor: What "plateau" and "step" multiply the learning rate by; 0.1 in the paper.
        patience: Epochs without a lower validation error before "plateau" lowers the learning rate.
        drops: How often "plateau" does; three times in the paper. Then the patience ends the training.
        step_epochs: Epochs between two falls of "step".
        warmup_epochs: Epochs, or a part of one, over which the learning rate rises in a line from nothing.
        bn_batches: Training batches that batch norm is measured on after each epoch; 0 keeps the running
            averages. Networks without batch norm need none.
        resize: Shorter side of the images; None takes the model's.
        crop: Input side of the network; None takes the model's.
        pca: Colour jitter: the original constants, the weaker "lighting" ones, those of the data, or none.
        mean: Subtracted colour: ImageNet's or that of the data.
        background: Colour that is seen where an image is transparent, as `parse_colour` takes it.
        flip: Whether half of the training images are mirrored.
        random_resized_crop: A random area of a random shape instead of the paper's crop.
        min_scale: Smallest share of the image in such an area; 0.08 in Szegedy et al. 2014.
        brightness: Random share by which levels are scaled, 0 to 1.
        contrast: Random share by which the distance from the middle level is scaled, 0 to 1.
        saturation: Random share by which the distance from grey is scaled, 0 to 1.
        hue: Random share of a full turn of the hue, 0 to 0.5.
        progressive: Course of the input side, `START:END` or `START:END:EPOCHS`; None keeps it.
        val_fraction: Share of each class to validate on where there is no val/ folder.
        leave_out: File of images to leave out, or None.
        layout: Layout of the data set, one of `data.layouts.find.KINDS`; None to look.
        labels: JSON of image id -> label, for images that stand in no class folders.
        label_encoding: JSON of label -> index, with `labels`.
        image_key: Field of WebDataset samples that is the image; None for the first of the formats.
        label_key: Field of WebDataset samples that holds the label; None for cls, then json.
        dali: Load with DALI; otherwise with Pillow in worker processes.
        device: "auto", "cpu", "cuda" or "cuda:N".
        amp: Mixed precision: what the device has, or none, or a type by name.
        compile: Whether the network runs compiled by `torch.compile`.
        cuda_graphs: Whether forward and backward pass are recorded once and replayed.
        threads: DALI threads or worker processes.
        hw_decoder_load: Share of the JPEGs that a GPU's hardware decoder takes; other settings of the decoder
            are `pipelines.decoder.DecoderSettings`.
        on_bad_image: "fail" or "skip".
        seed: Of weights, data order and augmentation.
        checkpoint_steps: Optimiser steps between two checkpoints within an epoch; 0 for none.
        checkpoint_minutes: Minutes between two checkpoints within an epoch; 0 for none.
        keep: How many of the last checkpoints stay, besides the best and that of the last epoch's end.
        processes: Processes that train together on this machine's CPU.
        gpus: Processes that train together on this machine's GPUs, one each; None for one process.
        log_every: Steps between two readings of loss and accuracy; the device is not waited for in between.

    Raises:
        UserError: A value is out of its range (`alexnet_fast.utils.ranges`), or options conflict.
    """

    data: Path = free()
    run: Path = free()
    model: str = stays("alexnet", NETWORK)
    init: Initial | None = stays(None, BEGINNING)
    weights: Path | None = stays(None, BEGINNING)
    transfer: bool = stays(False, BEGINNING)
    freeze_epochs: int = stays(1, BEGINNING)
    unfreeze_lr: float = changes(0.1)
    features: bool = stays(False, BEGINNING)
    epochs: int = changes(90)
    max_steps: int | None = changes(None)
    batch_size: int = stays(128, POSITION)
    accumulate: int = stays(1, POSITION)
    lr: float = changes(0.01)
    optimizer: Literal["sgd", "adam", "adamw", "lars"] = stays("sgd", OPTIMIZER)
    momentum: float = changes(0.9)
    nesterov: bool = changes(False)
    weight_decay: float = changes(5e-4)
    decay_bias: bool = stays(True, OPTIMIZER)
    dropout: float | None = changes(None)
    loss: Literal["cross-entropy", "smoothed", "svm"] = changes("cross-entropy")
    label_smoothing: float = changes(0.0)
    mixup: float = changes(0.0)
    ema: float = stays(0.0, AVERAGE)
    schedule: Literal["plateau", "cosine", "step"] = changes("plateau")
    factor: float = changes(0.1)
    patience: int = changes(5)
    drops: int = changes(3)
    step_epochs: int = changes(30)
    warmup_epochs: float = changes(0.0)
    bn_batches: int = changes(32)
    resize: int | None = stays(None, PREPROCESSING)
    crop: int | None = stays(None, PREPROCESSING)
    pca: Colours = stays("original", PREPROCESSING)
    mean: Literal["imagenet", "data"] = stays("imagenet", PREPROCESSING)
    background: str = stays("#ffffff", PREPROCESSING)
    flip: bool = stays(True, PREPROCESSING)
    random_resized_crop: bool = stays(False, PREPROCESSING)
    min_scale: float = stays(0.08, PREPROCESSING)
    brightness: float = stays(0.0, PREPROCESSING)
    contrast: float = stays(0.0, PREPROCESSING)
    saturation: float = stays(0.0, PREPROCESSING)
    hue: float = stays(0.0, PREPROCESSING)
    progressive: str | None = stays(None, PREPROCESSING)
    val_fraction: float = free(0.1)
    leave_out: Path | None = free(None)
    layout: str | None = free(None)
    labels: Path | None = free(None)
    label_encoding: Path | None = free(None)
    image_key: str | None = free(None)
    label_key: str | None = free(None)
    dali: bool = changes(True)
    device: str = free("auto")
    amp: Amp = changes("auto")
    compile: bool = changes(False)
    cuda_graphs: bool = changes(False)
    threads: int = free(2)
    hw_decoder_load: float = changes(0.65)
    on_bad_image: Literal["fail", "skip"] = free("fail")
    seed: int = stays(0, ORDER)
    checkpoint_steps: int = free(0)
    checkpoint_minutes: float = free(10.0)
    keep: int = free(2)
    processes: int = free(1)
    gpus: int | None = free(None)
    log_every: int = free(20)

    def __post_init__(self) -> None:
        object.__setattr__(self, "background", colour_text(parse_colour(self.background)))
        check_fields(self)
        self._check_together()
        self._check_weights()

    def _check_together(self) -> None:
        """Refuses options that contradict each other."""
        if self.nesterov and (self.optimizer != "sgd" or not self.momentum):
            raise UserError("--nesterov needs --optimizer sgd and a --momentum above 0", exit_code=2)
        if self.loss == "svm" and self.label_smoothing:
            raise UserError(
                "--label-smoothing belongs to cross-entropy", "leave it out with --loss svm", exit_code=2
            )
        if self.warmup_epochs >= self.epochs:
            raise UserError(
                f"--warmup-epochs {self.warmup_epochs:g} leaves nothing of {self.epochs} epochs",
                "give fewer, or more --epochs",
                exit_code=2,
            )

    def _check_weights(self) -> None:
        """Refuses what does not go with weights, or without them."""
        way = "--transfer" if self.transfer else "--features"
        if self.transfer and self.features:
            raise UserError("--transfer and --features are two ways to train", "give one", exit_code=2)
        if (self.transfer or self.features) and self.weights is None:
            raise UserError(f"{way} needs weights to begin with", "give --weights FILE or RUN", exit_code=2)
        if self.features and self.progressive:
            raise UserError(
                "--features sees every image once, in one size", "leave out --progressive", exit_code=2
            )
        if self.features and max(self.processes, self.gpus or 1) > 1:
            raise UserError(
                "--features trains one layer, in one process", "leave out --processes and --gpus", exit_code=2
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
        paths: dict[str, Any] = {name: Path(values[name]) for name in _PATHS if name in values}
        return cls(**{**values, **paths})

    def save(self, path: Path, notes: Sequence[str] = ()) -> None:
        """Writes the options as TOML: `alexnet-fast train --config` reads it back.

        Args:
            path: The file.
            notes: Lines of comment to begin with.
        """
        write_toml(path, self.to_dict(), notes)
