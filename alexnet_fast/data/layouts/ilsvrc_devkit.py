"""ILSVRC-2012's development kit: what its classes are called, and the classes of the validation images."""

from __future__ import annotations

import dataclasses
import tarfile
from pathlib import Path

from alexnet_fast.data.layouts.matlab_file import Value, read_structs
from alexnet_fast.errors import UserError, system_reason

FOLDER = "ILSVRC2012_devkit_t12"
ARCHIVE = f"{FOLDER}.tar.gz"
_META, _TRUTH = "data/meta.mat", "data/ILSVRC2012_validation_ground_truth.txt"

# meta.mat lists the inner nodes of the tree as well; the classes of the challenge are the first 1000.
_CLASSES = 1000


@dataclasses.dataclass(frozen=True)
class Devkit:
    """What the kit says.

    Args:
        source: Folder or archive, for messages.
        wnids: WordNet number of each ILSVRC2012_ID.
        words: Words of each WordNet number.
        truth: ILSVRC2012_ID of each validation image, in the order of their names.
    """

    source: Path
    wnids: dict[int, str]
    words: dict[str, str]
    truth: tuple[int, ...]


def find_devkit(root: Path) -> Devkit | None:
    """Reads the kit in a data set's folder, unpacked or not; None where there is none.

    Raises:
        UserError: It is damaged.
    """
    if (root / FOLDER).is_dir():
        source = root / FOLDER
        contents = {name: _file(source / name) for name in (_META, _TRUTH)}
    elif (root / ARCHIVE).is_file():
        source = root / ARCHIVE
        contents = _members(source)
    else:
        return None
    try:
        structs = read_structs(contents[_META])
        truth = tuple(int(line) for line in contents[_TRUTH].split())
    except ValueError as error:
        raise UserError(f"{source} is damaged ({error})", "copy it again") from error
    return _devkit(source, structs, truth)


def _devkit(source: Path, structs: list[dict[str, Value]], truth: tuple[int, ...]) -> Devkit:
    """Puts the kit together.

    Raises:
        UserError: A class has no number or name.
    """
    wnids, words = {}, {}
    for row in structs:
        number, wnid, said = row.get("ILSVRC2012_ID"), row.get("WNID"), row.get("words")
        if not isinstance(number, float) or not isinstance(wnid, str) or not isinstance(said, str):
            raise UserError(f"{source}: a class in {_META} lacks its number or name", "copy it again")
        if number <= _CLASSES:
            wnids[int(number)], words[wnid] = wnid, said
    return Devkit(source, wnids, words, truth)


def _file(path: Path) -> bytes:
    """Reads a file of the kit.

    Raises:
        UserError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {system_reason(error)}", "unpack the development kit again"
        ) from error


def _members(source: Path) -> dict[str, bytes]:
    """Reads the two files out of the archive.

    Raises:
        UserError: It is damaged or lacks one.
    """
    contents = {}
    try:
        with tarfile.open(source, "r:gz") as archive:
            for name in (_META, _TRUTH):
                member = archive.extractfile(f"{FOLDER}/{name}")
                contents[name] = b"" if member is None else member.read()
    except (OSError, tarfile.TarError, EOFError, KeyError) as error:
        raise UserError(
            f"{source} is not ILSVRC-2012's development kit ({error})", "copy it again"
        ) from error
    return contents
