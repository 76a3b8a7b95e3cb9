"""One row per epoch in metrics.csv and TensorBoard; a resumed run leaves neither gaps nor repeats."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alexnet_fast.errors import UserError, system_reason
from alexnet_fast.training.metrics import EpochMetrics
from alexnet_fast.training.tensorboard import TensorBoard
from alexnet_fast.utils.atomic import write_atomically
from alexnet_fast.utils.special_files import check_plain

_TYPES: dict[str, Any] = {
    field.name: int if field.type == "int" else float for field in dataclasses.fields(EpochMetrics)
}


class MetricsLog:
    """Writes the rows of a run.

    Args:
        metrics: metrics.csv.
        tensorboard: Directory of the event files.
        rows: The finished epochs according to the checkpoint. Further rows of the file are dropped, since
            their epochs will run again. Rows that the file lacks, because the run was killed between
            checkpoint and file, are added.
    """

    def __init__(self, metrics: Path, tensorboard: Path, rows: Sequence[EpochMetrics] = ()) -> None:
        self._metrics = metrics
        self.rows = list(rows)
        # TensorBoard gets a row before the file does. A row that the file lacks may or may not be there.
        drawn = min(len(rows), len(read_metrics(metrics))) if metrics.exists() else 0
        self.tensorboard = TensorBoard(tensorboard, drawn)
        for row in self.rows[drawn:]:
            self.tensorboard.add_epoch(row)
        self._save()

    def add(self, row: EpochMetrics) -> None:
        """Adds an epoch; called after its checkpoint, which has the row too."""
        self.rows.append(row)
        self.tensorboard.add_epoch(row)
        self._save()

    def close(self) -> None:
        """Closes the event file."""
        self.tensorboard.close()

    def _save(self) -> None:
        """Rewrites the whole of metrics.csv, which is small, so that it never ends within a row."""
        text = io.StringIO()
        table = csv.DictWriter(text, fieldnames=list(_TYPES), lineterminator="\n")
        table.writeheader()
        table.writerows(dataclasses.asdict(row) for row in self.rows)
        write_atomically(self._metrics, text.getvalue().encode())


def read_metrics(path: Path) -> list[EpochMetrics]:
    """Reads metrics.csv.

    Raises:
        UserError: The file is missing or is not the metrics.csv of a run.
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
    """Returns the best epoch: highest validation accuracy, then lowest validation loss."""
    return max(rows, key=lambda row: (row.val_top1, -row.val_loss))
