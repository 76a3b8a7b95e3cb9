"""Pictures and arrays inside tars, and arrays in files of their own."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import NamedTuple

from alexnet_fast.data.picture_list import ARRAY_ENDING, PICTURE_ENDINGS
from alexnet_fast.data.places import Place, TarPlace
from alexnet_fast.data.tar_samples import part_of, tar_samples
from alexnet_fast.pipelines.place_bytes import ArrayFile

TAR_ENDING = ".tar"


class Member(NamedTuple):
    """A picture in a tar.

    Args:
        place: Where.
        name: As the tar has it.
    """

    place: TarPlace
    name: str

    @property
    def ending(self) -> str:
        """The name's ending, in small letters."""
        return PurePosixPath(self.name).suffix.lower()

    @property
    def listed(self) -> str:
        """What `--leave-out` calls it: the part of the data set that its tar belongs to, and its name."""
        part = part_of(Path(self.place.path))
        return f"{part}/{self.name}" if part else self.name


def members_of(tar: Path) -> list[Member]:
    """Lists the pictures and arrays of a tar.

    Raises:
        UserError: It is damaged, or a sample lacks its class or its picture.
    """
    samples = tar_samples(tar, PICTURE_ENDINGS | {ARRAY_ENDING})
    return [Member(TarPlace(str(tar), sample.offset, sample.size), sample.name) for sample in samples]


def check_array(place: Place) -> None:
    """Reads an array whole.

    Raises:
        BadPictureError: It is none, of another kind than pictures, or cut off.
    """
    with ArrayFile(place) as array:
        array.region((0, 0), array.shape())
