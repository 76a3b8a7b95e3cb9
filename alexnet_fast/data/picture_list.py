"""A list of labelled picture files, and how it is read from class folders."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from alexnet_fast.data.class_map import ClassMap
from alexnet_fast.errors import UserError

# What DALI's image decoder reads (nvImageCodec 0.9: JPEG, JPEG 2000, PNG, BMP, TIFF, WebP, PNM); a file's
# content decides how it is decoded, its ending only whether it is listed.
PICTURE_ENDINGS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jp2", ".j2k", ".png", ".bmp", ".tif", ".tiff", ".webp"}
    | {".pnm", ".ppm", ".pgm", ".pbm"}
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PictureList:
    """Labelled pictures in a stable order.

    Args:
        root: Folder that the names are relative to.
        names: Path of each picture below `root`, with "/" between its parts.
        labels: Class index of each picture, parallel to `names`.
        classes: The names of the labels.
    """

    root: Path
    names: tuple[str, ...]
    labels: tuple[int, ...]
    classes: ClassMap

    def __len__(self) -> int:
        return len(self.names)

    def path(self, index: int) -> str:
        """Returns the full path of one picture."""
        return os.path.join(self.root, self.names[index])  # noqa: PTH118 - called for every picture of an epoch

    def counts(self) -> tuple[int, ...]:
        """Returns how many pictures each class has."""
        counts = [0] * len(self.classes)
        for label in self.labels:
            counts[label] += 1
        return tuple(counts)

    def select(self, keep: list[int]) -> PictureList:
        """Returns the pictures at the given positions, in that order."""
        return dataclasses.replace(
            self,
            names=tuple(self.names[index] for index in keep),
            labels=tuple(self.labels[index] for index in keep),
        )

    def fingerprint(self) -> str:
        """Returns a SHA-256 over names and classes: two lists with one fingerprint give one data order."""
        digest = hashlib.sha256("\n".join(self.classes.names).encode())
        for name, label in zip(self.names, self.labels, strict=True):
            digest.update(f"\n{label} {name}".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()


def class_folders(root: Path) -> list[str]:
    """Returns the names of the class folders in `root`, sorted; hidden folders are left out.

    Raises:
        UserError: `root` is missing, is no folder or cannot be read.
    """
    try:
        with os.scandir(root) as entries:
            return sorted(e.name for e in entries if not e.name.startswith(".") and e.is_dir())
    except FileNotFoundError as error:
        raise UserError(f"no such folder: {root}", "check the path", exit_code=2) from error
    except NotADirectoryError as error:
        raise UserError(
            f"{root} is a file", "give the folder that holds the class folders", exit_code=2
        ) from error
    except PermissionError as error:
        raise UserError(f"no permission to read {root}", f"chmod u+rx '{root}'") from error


def list_pictures(root: Path, classes: ClassMap) -> PictureList:
    """Lists the pictures below each class folder of `root`, class by class, sorted by name.

    Args:
        root: Folder with one folder a class; pictures may lie deeper inside.
        classes: The class map that numbers the folders.

    Raises:
        UserError: A folder is missing, empty or holds a file without read permission.
    """
    names: list[str] = []
    labels: list[int] = []
    for label, folder in enumerate(classes.names):
        found = sorted(_walk(root, folder))
        names += found
        labels += [label] * len(found)
    if not names:
        endings = " ".join(sorted(PICTURE_ENDINGS))
        raise UserError(f"no pictures in {root}", f"put one folder of pictures a class there ({endings})")
    return PictureList(root=root, names=tuple(names), labels=tuple(labels), classes=classes)


def _walk(root: Path, folder: str) -> Iterator[str]:
    """Yields the pictures below one folder, relative to `root`."""
    try:
        entries = list(os.scandir(root / folder))
    except PermissionError as error:
        raise UserError(f"no permission to read {root / folder}", f"chmod u+rx '{root / folder}'") from error
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(root, f"{folder}/{entry.name}")
        elif os.path.splitext(entry.name)[1].lower() in PICTURE_ENDINGS:  # noqa: PTH122 - called for every file
            if not os.access(entry.path, os.R_OK):
                problem = "no such file behind the link" if not entry.is_file() else "no permission to read"
                raise UserError(f"{problem} {entry.path}", f"chmod u+r '{entry.path}', or remove it")
            yield f"{folder}/{entry.name}"
