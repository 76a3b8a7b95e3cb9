"""What `AlexNet.fit` returns: a row an epoch, as Keras has it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from alexnet_fast.training.metrics_log import EpochMetrics

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
        from alexnet_fast.plots.png import png_bytes

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
        from alexnet_fast.plots.png import save_png

        figure = curves(self._rows)
        if file is not None:
            save_png(figure, Path(file))
        return Plot(figure)
