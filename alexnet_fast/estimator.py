"""A network as an object with `fit` and `predict`, for notebooks and scripts.

    model = AlexNet("images", "labels.json", "indices.json")
    history = model.fit(epochs=5)
    model.predict_n("photo.jpg", n=5)

It is a face of what the command line does: `fit` is `alexnet-fast train`, `predict` is `alexnet-fast
predict`, and what it leaves behind is a run folder.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from alexnet_fast.download.cache import FetchConfig, fetch
from alexnet_fast.download.download import is_address
from alexnet_fast.errors import UserError, arguments_called
from alexnet_fast.inference.classifier import NetClassifier, predict_file
from alexnet_fast.pipelines.cpu.pillow import BadImageError
from alexnet_fast.pipelines.ten_crop import Crops
from alexnet_fast.runtime.prediction import top_k
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.data import make_spec, measured_colors, open_splits
from alexnet_fast.training.metrics import EpochMetrics
from alexnet_fast.training.precision import choose_precision
from alexnet_fast.training.run_dir import RunDir, new_run
from alexnet_fast.utils.arrays import Probabilities
from alexnet_fast.utils.ranges import OPTION_RANGES, shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure


# Keras's names of what metrics.csv has.
_NAMES = {
    "loss": "train_loss",
    "accuracy": "train_top1",
    "val_loss": "val_loss",
    "val_accuracy": "val_top1",
    "val_top_5_accuracy": "val_top5",
    "learning_rate": "lr",
}


class Plot:
    """A figure that a notebook shows as an image, whatever backend matplotlib has there.

    Args:
        figure: What is shown.
    """

    def __init__(self, figure: Figure) -> None:
        self.figure = figure

    def _repr_png_(self) -> bytes:
        """Returns the image; IPython asks for it by this name."""
        from alexnet_fast.plots.style import png_bytes

        return png_bytes(self.figure)


class FitHistory:
    """Loss and accuracy by epoch.

    Args:
        rows: One an epoch.

    Attributes:
        epoch: Numbers of the epochs, counted from 0 as in Keras.
        history: Lists of "loss", "accuracy", "val_loss", "val_accuracy", "val_top_5_accuracy" and
            "learning_rate", a value an epoch. Accuracies are shares, of one crop.
    """

    def __init__(self, rows: Sequence[EpochMetrics]) -> None:
        self._rows = tuple(rows)
        self.epoch = [row.epoch - 1 for row in rows]
        self.history: dict[str, list[float]] = {
            name: [float(getattr(row, column)) for row in rows] for name, column in _NAMES.items()
        }

    def plot(self, file: str | Path | None = None) -> Plot:
        """Draws the curves; needs matplotlib.

        Args:
            file: A PNG to write; it is written over. None to write nothing.

        Returns:
            The image, which a notebook shows; `figure` is matplotlib's.

        Raises:
            UserError: There is no epoch, matplotlib is missing or the file cannot be written.
        """
        from alexnet_fast.plots.curves import curves
        from alexnet_fast.plots.style import save_png

        figure = curves(self._rows)
        if file is not None:
            save_png(figure, Path(file))
        return Plot(figure)


if TYPE_CHECKING:
    from alexnet_fast.pipelines.color_stats import ColorStats
    from alexnet_fast.pipelines.spec import PcaJitter, Triple

# What the arguments and `fit` say; any other field of `TrainConfig` may be given by name.
_NOT_OPTIONS = frozenset({"data", "run", "labels", "label_encoding", "dali", "device", "epochs"})


class AlexNet:
    """A network and the images that it learns from; nothing is trained before `fit`.

    Labels are checked and mean and principal components of the training images are measured at once.

    Args:
        data_path: Folder of images in any form that `alexnet-fast train` reads, or the https address of an
            archive of one.
        label_path: JSON of image id -> label, where the images stand in no class folders.
        label_encoding: JSON of label -> index, with `label_path`: the order of the outputs.
        run: Folder of the run; by default runs/MODEL-DATE-TIME, made by `fit`.
        resume: Whether `run` may hold a run, which `fit` goes on with and `predict` uses.
        device: "auto", "cpu", "cuda" or "cuda:N".
        loader: "dali" or "torch" (Pillow in worker processes).
        fetching: Limits, checksum and allowances of an address.
        options: Any other option of `alexnet-fast train`, such as `model`, `batch_size` or `seed`.

    Raises:
        UserError: Images, labels or options do not allow it.
    """

    @arguments_called(data="data_path", labels="label_path")
    def __init__(
        self,
        data_path: str | Path,
        label_path: str | Path | None = None,
        label_encoding: str | Path | None = None,
        *,
        run: str | Path | None = None,
        resume: bool = False,
        device: str = "auto",
        loader: Literal["dali", "torch"] = "dali",
        fetching: FetchConfig | None = None,
        **options: Any,
    ) -> None:
        if loader not in ("dali", "torch"):
            raise UserError(f"loader={loader!r} is none", 'give "dali" or "torch"', exit_code=2)
        _check_known(options)
        for name in ("exclude", "weights"):
            if options.get(name) is not None:
                options[name] = Path(options[name])
        remote = isinstance(data_path, str) and is_address(data_path)
        self._config = TrainConfig(
            data=fetch(str(data_path), fetching) if remote else Path(data_path),
            run=Path(run) if run is not None else new_run(options.get("model", "alexnet")),
            labels=None if label_path is None else Path(label_path),
            label_encoding=None if label_encoding is None else Path(label_encoding),
            device=device,
            dali=loader == "dali",
            **{"pca_jitter": "data", "mean": "data", **options},
        )
        # A batch that nobody gave is made to fit the images.
        self._adaptable = () if "batch_size" in options else ("batch_size",)
        self._dir = RunDir(self._config.run)
        self._dir.check(resume=resume)
        self._classifier: NetClassifier | None = None
        self._colours = self._measure()

    @property
    def run(self) -> Path:
        """Folder of the run: checkpoints, weights, log, metrics, TensorBoard."""
        return self._config.run

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the outputs, index 0 first."""
        return self._classes

    @property
    def mean(self) -> Triple:
        """Mean R, G, B of the training images, on the 0..255 scale."""
        return self._colours.mean

    @property
    def pca(self) -> PcaJitter:
        """Principal components of the training images' colours."""
        return self._colours.jitter

    def fit(self, epochs: int = 90) -> FitHistory:
        """Trains; called again, it goes on with `epochs` more.

        Training may end earlier, when validation has stopped improving. What an interrupt leaves is a
        checkpoint, and the next call goes on from there.

        Args:
            epochs: How many, at most.

        Returns:
            Loss and accuracy of these epochs.

        Raises:
            UserError: It cannot go on.
        """
        from alexnet_fast.training.metrics_log import read_metrics

        before = read_metrics(self._dir.metrics) if self._dir.metrics.exists() else []
        done = before[-1].epoch if before else 0
        epochs = _number("epochs", epochs)
        config = dataclasses.replace(self._config, epochs=done + epochs)
        self._train(config)
        self._classifier = None
        return FitHistory([row for row in read_metrics(self._dir.metrics) if row.epoch > done])

    def predict(
        self, image: str | Path, *, crops: Crops | None = None, jitter: bool = False
    ) -> Probabilities:
        """Returns the probability of every class, float32 (classes,), with the best weights so far.

        Args:
            image: An image file.
            crops: "ten" or "single"; by default ten, where the network's input is smaller than the image.
            jitter: Whether each crop gets a colour shift of its own, as in training.

        Raises:
            UserError: Nothing is trained yet, or the file is no image.
        """
        classifier = self._trained()
        try:
            return predict_file(classifier, Path(image), crops or classifier.crops[0], jitter=jitter)
        except BadImageError as error:
            raise UserError(f"{image} cannot be classified: {error}", "give an image file") from error

    def predict_n(
        self, image: str | Path, n: int = 5, *, crops: Crops | None = None, jitter: bool = False
    ) -> list[str]:
        """Returns the labels of the `n` likeliest classes, likeliest first; see `predict`."""
        n = _number("n", n, of="top")
        answer = self.predict(image, crops=crops, jitter=jitter)
        return [guess.label for guess in top_k(answer, self._trained().classes, n)]

    def _measure(self) -> ColorStats:
        """Lists the images and measures the colours of those that are trained on."""
        from alexnet_fast.training.checkpoint.model_io import read_pretrained
        from alexnet_fast.training.data import starting_input
        from alexnet_fast.utils.device import choose_device

        config = self._config
        splits = open_splits(config)
        self._classes = splits.classes.names
        precision = choose_precision(config.amp, choose_device(config.device))
        plain = dataclasses.replace(config, pca_jitter="original", mean="imagenet")
        own = starting_input(config, read_pretrained(config.weights) if config.weights else None)
        return measured_colors(config, splits, make_spec(plain, splits, precision, own), precision)

    def _train(self, config: TrainConfig) -> None:
        """Trains here, or in processes that are started for it."""
        from alexnet_fast.training.console import training_line
        from alexnet_fast.training.distributed.launcher import train_in_processes
        from alexnet_fast.training.run import train

        processes = config.gpus or config.processes
        how: dict[str, Any] = {"resume": self._dir.exists(), "adaptable": self._adaptable}
        if processes > 1:
            train_in_processes(config, processes, **how)
            return
        with training_line(config.epochs) as line:
            train(config, **how, on_progress=line, colours=self._colours)

    def _trained(self) -> NetClassifier:
        """Returns the network with its best weights.

        Raises:
            UserError: There are none yet.
        """
        from alexnet_fast.training.checkpoint.model_io import load_trained

        if self._classifier is None:
            if not self._dir.last.exists():
                raise UserError("this network has not been trained yet", "call fit(epochs) first")
            trained = load_trained(self.run)
            self._classifier = NetClassifier(trained, device=self._config.device, amp="off")
        return self._classifier


def _number(argument: str, value: int, of: str | None = None) -> int:
    """Returns an argument that is a number in the range of an option; by default that of its own name.

    Raises:
        UserError: It is no such number.
    """
    try:
        return int(OPTION_RANGES[of or argument].take(value))
    except ValueError as error:
        raise UserError(f"{argument}={shown(value)} does not fit", str(error), exit_code=2) from error


def _check_known(options: dict[str, Any]) -> None:
    """Refuses options that training does not have.

    Raises:
        UserError: There is one.
    """
    known = [field.name for field in dataclasses.fields(TrainConfig) if field.name not in _NOT_OPTIONS]
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else "see alexnet-fast train --help"
            raise UserError(f"AlexNet has no option {name}", hint, exit_code=2)
