"""One row an epoch, in metrics.csv and in TensorBoard; a resumed run continues both without a seam."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alexnet_fast.errors import UserError, system_reason
from alexnet_fast.training.metrics import EpochMetrics, Metrics
from alexnet_fast.training.tensorboard import TensorBoard
from alexnet_fast.utils.atomic import write_atomically
from alexnet_fast.utils.special_files import check_plain

_TYPES: dict[str, Any] = {
    field.name: int if field.type == "int" else float for field in dataclasses.fields(EpochMetrics)
}


class MetricsLog:
    """The rows of a run.

    Args:
        metrics: metrics.csv.
        tensorboard: Folder of the event files.
        rows: Epochs done already, as the checkpoint has them. Rows of the file beyond them come from epochs
            that will be run again and are dropped; rows that the file lacks, because the run was cut off
            between checkpoint and file, are added.
    """

    def __init__(self, metrics: Path, tensorboard: Path, rows: Sequence[EpochMetrics] = ()) -> None:
        self._metrics = metrics
        self.rows = list(rows)
        # A row is drawn before it is written: what the file has was drawn, what it lacks may have been.
        drawn = min(len(rows), len(read_metrics(metrics))) if metrics.exists() else 0
        self.tensorboard = TensorBoard(tensorboard, drawn)
        for row in self.rows[drawn:]:
            self.tensorboard.draw(row)
        self._save()

    def add(self, row: EpochMetrics) -> None:
        """Adds an epoch; called after its checkpoint, which has the row too."""
        self.rows.append(row)
        self.tensorboard.draw(row)
        self._save()

    def close(self) -> None:
        """Closes the event file."""
        self.tensorboard.close()

    def _save(self) -> None:
        """Writes metrics.csv anew: it is small, and so it is never half a row."""
        text = io.StringIO()
        table = csv.DictWriter(text, fieldnames=list(_TYPES), lineterminator="\n")
        table.writeheader()
        table.writerows(dataclasses.asdict(row) for row in self.rows)
        write_atomically(self._metrics, text.getvalue().encode())


def read_metrics(path: Path) -> list[EpochMetrics]:
    """Reads metrics.csv.

    Raises:
        UserError: It is missing or is not a run's.
    """
    try:
        check_plain(path)
        with path.open(newline="", encoding="utf-8") as file:
            return [
                EpochMetrics(**{name: kind(row[name]) for name, kind in _TYPES.items()})
                for row in csv.DictReader(file)
            ]
    except FileNotFoundError as error:
        raise UserError(f"no such file: {path}", "give the folder of a run", exit_code=2) from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {system_reason(error)}", "give the folder of a run") from error
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path} is not the metrics.csv of a run ({error})") from error


def best_row(rows: list[EpochMetrics]) -> EpochMetrics:
    """Returns the epoch whose weights are kept: highest validation accuracy, then lowest validation loss."""
    return max(rows, key=lambda row: (row.val_top1, -row.val_loss))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Timing:
    """Where the time of an epoch went.

    Args:
        training: Seconds of training.
        waiting: Share of them that was spent waiting for data, 0..1.
        whole: Seconds of training and validation.
    """

    training: float
    data_wait: float
    whole: float


def as_row(
    *,
    epoch: int,
    step: int,
    lr: float,
    train: Metrics,
    val: Metrics,
    timing: Timing,
    bad: int,
) -> EpochMetrics:
    """Puts an epoch's figures together."""
    return EpochMetrics(
        epoch=epoch,
        step=step,
        lr=lr,
        train_loss=train.loss,
        train_top1=train.top1,
        val_loss=val.loss,
        val_top1=val.top1,
        val_top5=val.top5,
        images_per_second=train.images / timing.training if timing.training else 0.0,
        data_wait=timing.data_wait,
        seconds=timing.whole,
        bad_images=bad,
    )
