"""The demo's data set: 2,624 photographs of solar cells, laid out as train/, val/ and test/.

The images are those of `elpv-dataset` (Buerhop-Lutz et al. 2018; Deitsch et al. 2019), 300 x 300 pixels,
grey, CC-BY-NC-SA 4.0: they are installed as an extra and linked to, never copied or shipped.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from alexnet_fast.errors import UserError, system_reason
from alexnet_fast.utils.atomic import make_folder

# Shares of each class; the rest is for training.
VAL_SHARE = 0.1
TEST_SHARE = 0.1

CAVEAT = (
    "Cells are split one by one, class by class. The data set does not say which cells belong to one solar "
    "module, so cells of one module may sit on both sides of the split, which flatters the accuracy."
)


def lay_out_cells(folder: Path) -> Path:
    """Links the images into `folder`/train, val and test, each with mono/ and poly/.

    The split depends on the file names alone, and each part has each class in the same proportion.

    Returns:
        The folder.

    Raises:
        UserError: The package is not installed, or the folder cannot be written.
    """
    for kind, images in _by_class(_package_folder()).items():
        shuffled = sorted(images, key=lambda path: hashlib.sha256(path.name.encode()).digest())
        test, val = (round(share * len(shuffled)) for share in (TEST_SHARE, VAL_SHARE))
        parts = {"test": shuffled[:test], "val": shuffled[test : test + val], "train": shuffled[test + val :]}
        for part, files in parts.items():
            _link(files, folder / part / kind)
    return folder


def _package_folder() -> Path:
    """Finds the installed images."""
    try:
        import elpv_dataset
    except ImportError as error:
        raise UserError(
            "the demo's images are not installed (elpv-dataset)", "pip install 'alexnet-fast[demo]'"
        ) from error
    return Path(elpv_dataset.__file__).parent / "data"


def _by_class(folder: Path) -> dict[str, list[Path]]:
    """Reads labels.csv: a file name, the probability of a defect and the kind of cell, split by blanks."""
    found: dict[str, list[Path]] = {}
    for line in (folder / "labels.csv").read_text(encoding="utf-8").splitlines():
        name, _, kind = line.split()
        found.setdefault(kind, []).append(folder / name)
    return found


def _link(files: list[Path], folder: Path) -> None:
    """Links files into a folder; what is there already is left alone, unless it leads nowhere.

    Raises:
        UserError: The folder cannot be written, or takes no links.
    """
    make_folder(folder)
    try:
        for link, file in ((folder / file.name, file) for file in files):
            if not link.exists():
                # A link into an environment that has been moved or made anew elsewhere.
                link.unlink(missing_ok=True)
                link.symlink_to(file)
    except OSError as error:
        raise UserError(
            f"cannot link the images into {folder}: {system_reason(error)}", "give another --output"
        ) from error
