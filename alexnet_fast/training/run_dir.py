"""The folder of a training run: which file lies where."""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path

from alexnet_fast.errors import UserError
from alexnet_fast.utils.atomic import make_folder


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """Paths of a run.

    Args:
        root: The folder.
    """

    root: Path

    @property
    def config(self) -> Path:
        """Resolved options."""
        return self.root / "config.toml"

    @property
    def classes(self) -> Path:
        """Class map."""
        return self.root / "classes.json"

    @property
    def log(self) -> Path:
        """What the console showed."""
        return self.root / "log.txt"

    @property
    def metrics(self) -> Path:
        """One row an epoch."""
        return self.root / "metrics.csv"

    @property
    def tensorboard(self) -> Path:
        """Event files."""
        return self.root / "tensorboard"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.root / "checkpoints"

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return self.checkpoints / "last.pt"

    @property
    def best(self) -> Path:
        """The checkpoint with the highest validation accuracy."""
        return self.checkpoints / "best.pt"

    @property
    def images(self) -> Path:
        """Names of the images that the run began with."""
        return self.root / "images.txt.gz"

    @property
    def features(self) -> Path:
        """Folder of the vectors that `--features` trains on."""
        return self.root / "features"

    @property
    def diverged(self) -> Path:
        """Where the loss was no number any more; only until the run is beyond it."""
        return self.root / "diverged.json"

    @property
    def lock(self) -> Path:
        """Held by the process that writes here."""
        return self.root / ".lock"

    @property
    def blocked(self) -> Path:
        """Images that a decoder died of, which the run decodes no more."""
        return self.root / "blocked_images.json"

    def decoding(self, rank: int) -> Path:
        """What one process is decoding just now; see `pipelines.decoding_record`."""
        return self.root / f".decoding-{rank}"

    @property
    def decoding_pattern(self) -> str:
        """Matches the names of those files."""
        return ".decoding-*"

    @property
    def weights(self) -> Path:
        """Weights of the best checkpoint alone."""
        return self.root / "model.safetensors"

    def exists(self) -> bool:
        """Tells whether a run was started here."""
        return self.config.exists() or self.last.exists()

    def check(self, *, resume: bool) -> None:
        """Refuses a folder that holds a run.

        Raises:
            UserError: It does, and `resume` is not set.
        """
        if self.exists() and not resume:
            raise UserError(
                f"{self.root} holds a run already", "give --resume to go on, or another --run DIR"
            )

    def make(self) -> None:
        """Makes the folder.

        Raises:
            UserError: It cannot be made.
        """
        make_folder(self.checkpoints)

    def clear_partial(self) -> None:
        """Removes files that a killed process did not finish; only the holder of the lock may call it."""
        for path in self.root.rglob(".*.partial"):
            path.unlink(missing_ok=True)


def new_run(model: str) -> Path:
    """Returns a folder for a run of a model, named after the moment: two that begin in one second differ."""
    return Path("runs") / f"{model}-{datetime.datetime.now().astimezone():%Y%m%d-%H%M%S-%f}"
