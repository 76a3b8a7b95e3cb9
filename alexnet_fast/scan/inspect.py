"""One file or member of a tar examined: bad, odd or in order."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import io
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError

from alexnet_fast.data.image_list import ARRAY_SUFFIX, FileLocation, Location, TarLocation
from alexnet_fast.data.shard_fields import DEFAULT_FIELDS, LISTED, ShardFields
from alexnet_fast.data.shard_files import in_shard, split_of_tar
from alexnet_fast.data.split_names import split_of
from alexnet_fast.data.webdataset import field_reason, read_shard
from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.color import WHITE
from alexnet_fast.pipelines.cpu.pillow import (
    DECODING_ERRORS,
    FORMATS,
    MAX_PIXELS,
    BadImageError,
    decode,
    reason_of,
)
from alexnet_fast.pipelines.io import ArrayFile, read_bytes
from alexnet_fast.pipelines.orientation import orientation_of

_JPEG = (".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif")
# Formats by Pillow's name, and the endings that go with each. An MPO (a telephone's image with a second one
# for depth) is opened as the JPEG that it begins with.
EXTENSIONS = {
    "JPEG": _JPEG,
    "MPO": _JPEG,
    "JPEG2000": (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
    "PNG": (".png", ".apng"),
    "BMP": (".bmp", ".dib"),
    "DIB": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "GIF": (".gif",),
}

_BITS_PER_SAMPLE_TAG = 258


@dataclasses.dataclass(frozen=True, kw_only=True)
class Header:
    """Size and kind of an image.

    Args:
        kind: Pillow's name of the format.
        width: In pixels, as stored.
        height: In pixels, as stored.
        mode: Pillow's mode.
        orientation: EXIF orientation, 1 if there is none.
        sixteen_bit: More than 8 bits a channel.
        frames: Number of images in the file.
        transparent: Has transparent pixels or could have.
    """

    kind: str
    width: int
    height: int
    mode: str
    orientation: int
    sixteen_bit: bool
    frames: int
    transparent: bool


def read_header(content: bytes) -> Header:
    """Reads the header of an image, and decodes nothing.

    Raises:
        BadImageError: The content is no image of a known format, or has too many pixels to decode.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = Image.open(io.BytesIO(content), formats=FORMATS)
        except UnidentifiedImageError as error:
            raise BadImageError("not an image") from error
        except Image.DecompressionBombError as error:
            raise BadImageError(f"more than {MAX_PIXELS} pixels") from error
        except DECODING_ERRORS as error:
            raise BadImageError(reason_of(error)) from error
        with image, _named_errors():
            if image.width * image.height > MAX_PIXELS:
                pixels = image.width * image.height
                raise BadImageError(
                    f"{image.width} x {image.height} are {pixels} pixels, more than {MAX_PIXELS}"
                )
            return Header(
                kind=image.format or "",
                width=image.width,
                height=image.height,
                mode=image.mode,
                orientation=orientation_of(image),
                sixteen_bit=_sixteen_bit(image, content),
                frames=int(getattr(image, "n_frames", 1)),
                transparent=image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info,
            )


@contextlib.contextmanager
def _named_errors() -> Iterator[None]:
    """Turns what a damaged file makes Pillow raise into a bad image."""
    try:
        yield
    except DECODING_ERRORS as error:
        raise BadImageError(reason_of(error)) from error


def _sixteen_bit(image: Image.Image, content: bytes) -> bool:
    """Returns whether a channel has more than 8 bits; Pillow's mode says so for grey images alone."""
    if image.mode.startswith(("I", "F")):
        return True
    if image.format == "PNG":
        return content[24] == 16  # the bit depth in IHDR, https://www.w3.org/TR/png-3/#11IHDR
    if image.format == "TIFF":
        bits = image.getexif().get(_BITS_PER_SAMPLE_TAG, 8)
        return bool(max(bits if isinstance(bits, tuple) else (bits,)) > 8)
    return False


class Member(NamedTuple):
    """An image in a tar.

    Args:
        location: Where.
        name: As the tar has it.
        listed: What `--exclude` calls it: the split of the data set that its tar belongs to, and its name.
    """

    location: TarLocation
    name: str
    listed: str

    @property
    def suffix(self) -> str:
        """The name's ending, in small letters."""
        return PurePosixPath(self.name).suffix.lower()


class Row(NamedTuple):
    """What a scan says of a file, or of members of a tar.

    Args:
        file: Its name.
        what: What is said.
        members: How many members are meant.
    """

    file: str
    what: str
    members: int = 1


class TarCount(NamedTuple):
    """What became of the members of a tar: they are images, labels, ignored or unusable, each once.

    Args:
        file: The tar, below the folder that is scanned.
        members: What it holds, folders and links too.
        images: Those that are tried.
        labels: Those that label an image.
        ignored: Those that are in no sample, and fields that are neither image nor label.
        unusable: Those of samples that cannot be used.
    """

    file: str
    members: int
    images: int
    labels: int
    ignored: int
    unusable: int


@dataclasses.dataclass
class InTars:
    """What some tars hold.

    Args:
        members: The images and arrays.
        bad: Samples and tars that cannot be used.
        odd: What is odd about the tars.
        ignored: Members that are in no sample, and fields that are neither image nor label.
        counts: What became of the members of each tar.
    """

    members: list[Member] = dataclasses.field(default_factory=list)
    bad: list[Row] = dataclasses.field(default_factory=list)
    warnings: list[Row] = dataclasses.field(default_factory=list)
    ignored: list[Row] = dataclasses.field(default_factory=list)
    counts: list[TarCount] = dataclasses.field(default_factory=list)

    def look_into(self, root: Path, tar: str, fields: ShardFields = DEFAULT_FIELDS) -> None:
        """Adds what a tar holds.

        Args:
            root: The folder that is scanned.
            tar: Path of the tar below it.
            fields: The fields that are a sample's image and label.
        """
        path = root / tar
        try:
            split, found = _split(tar), read_shard(path, LISTED, fields)
        except UserError as error:
            self.bad.append(Row(tar, error.problem))
            return
        where = f" (in {path.name})"
        for sample in found.samples:
            location = TarLocation(str(path), sample.offset, sample.size)
            self.members.append(Member(location, sample.name, _listed(split, sample.name)))
        for problem in found.problems:
            self.bad.append(Row(_listed(split, problem.name), problem.error.problem, problem.members))
        self.warnings += [Row(tar, what) for what in found.warnings]
        self.ignored += [Row(_listed(split, name), reason + where) for name, reason in found.ignored]
        self.ignored += [Row(tar, field_reason(field), count) for field, count in sorted(found.other.items())]
        unused = len(found.ignored) + found.other.total()
        counted = (found.members, len(found.samples), found.labels, unused, found.unusable)
        self.counts.append(TarCount(tar, *counted))


def told_apart(members: Iterable[Member]) -> list[Member]:
    """Returns the members of all tars, those whose name several tars have with their tar in front."""
    listed = list(members)
    counts = collections.Counter((Path(m.location.path).parent, m.listed) for m in listed)
    return [
        m if counts[Path(m.location.path).parent, m.listed] == 1 else m._replace(listed=_in_its_shard(m))
        for m in listed
    ]


def _in_its_shard(member: Member) -> str:
    """Returns what a member is called with its tar in front."""
    split = member.listed[: -len(member.name)].rstrip("/")
    return _listed(split, in_shard(Path(member.location.path), member.name))


def _split(tar: str) -> str:
    """Returns the split of a tar: the folder of a split that it stands in, or the split in its name."""
    above = PurePosixPath(tar).parts[:-1]
    return above[0] if above and split_of(above[0]) else split_of_tar(Path(tar))


def _listed(split: str, name: str) -> str:
    return f"{split}/{name}" if split else name


def check_array(location: Location) -> None:
    """Reads an array whole.

    Raises:
        BadImageError: The file is no array, of another kind than images, or cut off.
    """
    with ArrayFile(location) as array:
        array.region((0, 0), array.shape())


HUGE_PIXELS = 25_000_000


class ImageReport(NamedTuple):
    """What was found out about a file.

    Args:
        image: Whether training would list it.
        error: Why it cannot be used; None where it can.
        odd: What is unusual about it.
    """

    image: bool
    error: str | None = None
    warnings: tuple[str, ...] = ()


def examine(task: str | Member) -> ImageReport:
    """Reads and decodes a file, or a member of a tar.

    Args:
        task: A path, or a member.

    Raises:
        Exception: Whatever a decoder raises for a file that is damaged in a way of its own.
    """
    location, suffix = (
        (task.location, task.suffix)
        if isinstance(task, Member)
        else (FileLocation(task), Path(task).suffix.lower())
    )
    try:
        if suffix == ARRAY_SUFFIX:
            check_array(location)
            return ImageReport(image=True)
        return _examine_content(read_bytes(location), suffix)
    except BadImageError as error:
        return ImageReport(True, str(error))


def _examine_content(content: bytes, suffix: str) -> ImageReport:
    """Decodes an image.

    Raises:
        BadImageError: Nothing can be made of it.
    """
    header = read_header(content)
    warnings = oddities(header, suffix)
    decode(io.BytesIO(content), WHITE)
    return ImageReport(True, warnings=warnings)


def oddities(header: Header, suffix: str) -> tuple[str, ...]:
    """Returns what is unusual about an image, in words.

    Args:
        header: Its header.
        suffix: The file's ending, in small letters.
    """
    pixels = header.width * header.height
    found = (
        (suffix not in EXTENSIONS[header.kind], f"{header.kind} called {suffix}"),
        (header.mode == "CMYK", "CMYK"),
        (header.orientation in range(2, 9), f"EXIF orientation {header.orientation}"),
        (header.sixteen_bit, "16-bit"),
        (header.frames > 1, f"animated: {header.frames} images in one file"),
        (pixels > HUGE_PIXELS, f"huge: {header.width} x {header.height} are {pixels / 1e6:.0f} megapixels"),
        (header.transparent, "alpha"),
        (header.mode in ("P", "PA"), "palette"),
    )
    return tuple(what for is_so, what in found if is_so)
