"""A classifier with `fit` and `predict`, for notebooks and scripts.

    model = ImageClassifier("images", model="alexnet-bn")
    history = model.fit(epochs=5)
    model.predict_n("photo.jpg", n=5)

`fit` runs `alexnet-fast train` and leaves the same run directory; `predict` runs `alexnet-fast predict`.
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
from alexnet_fast.training.context import TrainContext
from alexnet_fast.training.data import make_spec, measured_colors, open_splits
from alexnet_fast.training.metrics import EpochMetrics
from alexnet_fast.training.precision import choose_precision
from alexnet_fast.training.run_dir import RunDir, new_run
from alexnet_fast.utils.arrays import Probabilities
from alexnet_fast.utils.ranges import OPTION_RANGES, shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from alexnet_fast.pipelines.color_stats import ColorStats
    from alexnet_fast.pipelines.spec import PcaJitter, Triple

# Fields of `TrainConfig` that the constructor and `fit` set by arguments of their own.
_NOT_OPTIONS = frozenset({"data", "run", "labels", "label_encoding", "dali", "device", "epochs"})

# Keras's names of the columns of metrics.csv.
_NAMES = {
    "loss": "train_loss",
    "accuracy": "train_top1",
    "val_loss": "val_loss",
    "val_accuracy": "val_top1",
    "val_top_5_accuracy": "val_top5",
    "learning_rate": "lr",
}


class Plot:
    """A matplotlib figure that a notebook shows as an image, whatever matplotlib's backend is."""

    def __init__(self, figure: Figure) -> None:
        self.figure = figure

    def _repr_png_(self) -> bytes:
        """Returns the image; IPython asks for it by this name."""
        from alexnet_fast.plots.style import png_bytes

        return png_bytes(self.figure)


class FitHistory:
    """Loss and accuracy by epoch.

    Args:
        rows: One per epoch.

    Attributes:
        epoch: Numbers of the epochs, counted from 0 as in Keras.
        history: Lists of "loss", "accuracy", "val_loss", "val_accuracy", "val_top_5_accuracy" and
            "learning_rate", one value per epoch. Accuracies are fractions, of a single crop.
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
            file: PNG file to write or overwrite; None to write nothing.

        Returns:
            An object that a notebook shows as an image; its `figure` is matplotlib's.

        Raises:
            UserError: There is no epoch, matplotlib is missing or the file cannot be written.
        """
        from alexnet_fast.plots.curves import curves
        from alexnet_fast.plots.style import save_png

        figure = curves(self._rows)
        if file is not None:
            save_png(figure, Path(file))
        return Plot(figure)


class ImageClassifier:
    """A network and its training images; `fit` trains it.

    The constructor checks the labels and measures mean and principal components of the training images.

    Args:
        data_path: Folder of images in any format that `alexnet-fast train` reads, or the https address of an
            archive of one.
        label_path: JSON of image id -> label, for images that are not in class folders.
        label_encoding: JSON of label -> index, with `label_path`: the order of the outputs.
        run: Folder of the run; by default runs/MODEL-DATE-TIME, which `fit` makes.
        resume: Whether `run` may hold a run, which `fit` continues and `predict` uses.
        device: "auto", "cpu", "cuda" or "cuda:N".
        loader: "dali" or "torch" (Pillow in worker processes).
        fetching: Limits, checksum and allowances for an address.
        options: Any other option of `alexnet-fast train`, such as `model`, `batch_size` or `seed`.

    Raises:
        UserError: The images, labels or options are invalid, or `run` holds a run and `resume` is not set.
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
            raise UserError(f"loader={loader!r} is no loader", 'give "dali" or "torch"', exit_code=2)
        _check_known(type(self).__name__, options)
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
        # The default batch size adapts to the images.
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
        """Trains; a further call trains for `epochs` more.

        Training ends earlier if validation has stopped improving. An interrupt leaves a checkpoint, from
        which the next call resumes.

        Args:
            epochs: Maximum number of epochs.

        Returns:
            Loss and accuracy of these epochs.

        Raises:
            UserError: The run cannot be resumed, or training failed.
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
            crops: "ten" or "single"; by default ten if the network's input is smaller than the image.
            jitter: Whether to shift the colours of each crop at random, as in training.

        Raises:
            UserError: The network is not trained yet, or the file is no image.
        """
        classifier = self._trained()
        try:
            return predict_file(classifier, Path(image), crops or classifier.crops[0], jitter=jitter)
        except BadImageError as error:
            raise UserError(f"{image} cannot be classified: {error}", "give an image file") from error

    def predict_n(
        self, image: str | Path, n: int = 5, *, crops: Crops | None = None, jitter: bool = False
    ) -> list[str]:
        """Returns the labels of the top `n` classes, most probable first; see `predict`."""
        n = _number("n", n, of="top")
        probabilities = self.predict(image, crops=crops, jitter=jitter)
        return [score.label for score in top_k(probabilities, self._trained().classes, n)]

    def _measure(self) -> ColorStats:
        """Lists the images and measures the colours of the training images."""
        from alexnet_fast.training.checkpoint.model_io import read_pretrained
        from alexnet_fast.training.data import initial_input
        from alexnet_fast.utils.device import choose_device

        config = self._config
        splits = open_splits(config)
        self._classes = splits.classes.names
        precision = choose_precision(config.amp, choose_device(config.device))
        plain = dataclasses.replace(config, pca_jitter="original", mean="imagenet")
        context = TrainContext(config=plain, precision=precision)
        expected = initial_input(config, read_pretrained(config.weights) if config.weights else None)
        return measured_colors(context, splits, make_spec(context, splits, expected))

    def _train(self, config: TrainConfig) -> None:
        """Trains in this process, or in `processes` or `gpus` new ones."""
        from alexnet_fast.training.console import training_line
        from alexnet_fast.training.distributed.launcher import train_in_processes
        from alexnet_fast.training.run import train

        processes = config.gpus or config.processes
        arguments: dict[str, Any] = {"resume": self._dir.exists(), "adaptable": self._adaptable}
        if processes > 1:
            train_in_processes(config, processes, **arguments)
            return
        with training_line(config.epochs) as line:
            train(config, **arguments, on_progress=line, colours=self._colours)

    def _trained(self) -> NetClassifier:
        """Returns the network with its best weights.

        Raises:
            UserError: The network is not trained yet.
        """
        from alexnet_fast.training.checkpoint.model_io import load_trained

        if self._classifier is None:
            if not self._dir.last.exists():
                raise UserError("this network has not been trained yet", "call fit(epochs) first")
            trained = load_trained(self.run)
            self._classifier = NetClassifier(trained, device=self._config.device, amp="off")
        return self._classifier


class AlexNet(ImageClassifier):
    """The constructor of a TensorFlow AlexNet that this package replaces; see `ImageClassifier`.

        model = AlexNet(data_path, label_path, label_encoding)

    It is not the network itself, which is `alexnet_fast.models.AlexNet`.
    """


def _number(argument: str, value: int, of: str | None = None) -> int:
    """Returns an argument as a number within the range of the option of its name, or of the option `of`.

    Raises:
        UserError: The value is no such number.
    """
    try:
        return int(OPTION_RANGES[of or argument].take(value))
    except ValueError as error:
        raise UserError(f"{argument}={shown(value)} does not fit", str(error), exit_code=2) from error


def _check_known(owner: str, options: dict[str, Any]) -> None:
    """Checks the names of options.

    Raises:
        UserError: Training has no option of one of the names.
    """
    known = [field.name for field in dataclasses.fields(TrainConfig) if field.name not in _NOT_OPTIONS]
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else "see alexnet-fast train --help"
            raise UserError(f"{owner} has no option {name}", hint, exit_code=2)
