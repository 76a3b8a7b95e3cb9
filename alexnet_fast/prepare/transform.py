"""Makes the prepared file of an image: bytes in, bytes out."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import math
import os
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import Image

from alexnet_fast.errors import UserError, system_reason
from alexnet_fast.pipelines.color import WHITE, color_text, parse_color
from alexnet_fast.pipelines.color_stats import ColorSums
from alexnet_fast.pipelines.cpu.pillow import (
    MAX_PIXELS,
    BadImageError,
    centre_square,
    decode,
    shrink,
    too_large,
)
from alexnet_fast.pipelines.geometry import resized
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.prepare.source_image import Location, modification_time, read_location
from alexnet_fast.scan.inspect import Header, read_header
from alexnet_fast.utils.arrays import Pixels

Encoding = Literal["jpeg", "raw"]

# libjpeg's JPEG_MAX_DIMENSION.
_LONGEST_SIDE = 65_500


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResizeConfig:
    """How images are prepared; every output has the shorter side `size`, be it smaller or larger before.

    Args:
        size: Pixels of the shorter side.
        center_crop: Only the centre square, as in the paper; otherwise the aspect ratio is kept.
        quality: JPEG quality, 1 to 100. Chroma is halved in both directions up to 100, Pillow's default, as
            in nearly every photograph: storing more of it than the source had adds bytes and no detail.
        encoding: "jpeg", or "raw" for uint8 arrays (H, W, 3) in .npy files.
        background: Colour behind transparent pixels, as `parse_color` takes it.

    Raises:
        UserError: A value is out of range.
    """

    size: int = 256
    center_crop: bool = False
    quality: int = 90
    encoding: Encoding = "jpeg"
    background: str = "#ffffff"

    def __post_init__(self) -> None:
        if not 1 <= self.size <= 8192:
            raise UserError(f"--size {self.size} is not a size", "give 1 to 8192 pixels", exit_code=2)
        if not 1 <= self.quality <= 100:
            raise UserError(f"--quality {self.quality} is not a quality", "give 1 to 100", exit_code=2)
        object.__setattr__(self, "background", color_text(parse_color(self.background)))

    @property
    def suffix(self) -> str:
        """Extension of the prepared files."""
        return ".jpg" if self.encoding == "jpeg" else ".npy"

    def to_dict(self) -> dict[str, Any]:
        """Returns the recipe as plain JSON values."""
        return dataclasses.asdict(self)

    def prepare(self, content: bytes) -> bytes:
        """Makes the prepared file of an image file.

        A file that is already as it should be is copied byte for byte: encoding again would lose quality.

        Raises:
            BadImageError: The image cannot be decoded, or would become too large.
        """
        header = read_header(content)
        self._check_longer_side(header)
        if self._is_prepared(header):
            return content
        image = decode(io.BytesIO(content), parse_color(self.background))
        spec = AugmentSpec(resize=self.size, crop=self.size)
        small = Image.fromarray(centre_square(image, spec)) if self.center_crop else shrink(image, spec)
        return self._encode(small)

    def pixels(self, content: bytes) -> Pixels:
        """Decodes a prepared file to uint8 (H, W, 3).

        Raises:
            BadImageError: The file is damaged, or made with another recipe.
        """
        if self.encoding == "raw":
            array = np.load(io.BytesIO(content), allow_pickle=False)
        else:
            array = np.asarray(decode(io.BytesIO(content), WHITE))
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
            raise BadImageError("not a prepared image")
        if min(array.shape[:2]) != self.size or (self.center_crop and array.shape[0] != array.shape[1]):
            raise BadImageError("not of the prepared size")
        pixels: Pixels = array
        return pixels

    def _is_prepared(self, header: Header) -> bool:
        """Returns whether nothing has to be changed."""
        return (
            self.encoding == "jpeg"
            and header.kind == "JPEG"
            and header.mode == "RGB"
            and header.orientation not in range(2, 9)
            and min(header.width, header.height) == self.size
            and (header.width == header.height or not self.center_crop)
        )

    def _check_longer_side(self, header: Header) -> None:
        """Checks that the longer side will fit into a file."""
        size = resized(header.width, header.height, self.size)
        if max(size) > _LONGEST_SIDE or math.prod(size) > MAX_PIXELS:
            raise BadImageError(too_large((header.width, header.height), size))

    def _encode(self, image: Image.Image) -> bytes:
        """Returns the bytes of a file."""
        file = io.BytesIO()
        if self.encoding == "raw":
            np.save(file, np.asarray(image), allow_pickle=False)
        else:
            image.save(file, "JPEG", quality=self.quality)
        return file.getvalue()


class Task(NamedTuple):
    """One image to be made.

    Args:
        location: Location of the source image.
        target: Full path of the prepared file.
        number: Its position in the list of all images.
    """

    location: Location
    target: str
    number: int


class Made(NamedTuple):
    """What is known of a prepared file.

    Args:
        sha256: SHA-256 of its bytes.
        colours: Sums of its pixels as they will be decoded.
    """

    sha256: str
    colours: ColorSums


@dataclasses.dataclass(frozen=True)
class ImageWorker:
    """Makes prepared files.

    Args:
        recipe: How the files are made.
        work: Folder for unfinished files, on the file system of the targets.
    """

    recipe: ResizeConfig
    work: str

    def __call__(self, task: Task) -> Made:
        """Makes one file, unless an earlier run did.

        A prepared file has its source's modification time, so that a source that has changed is noticed.

        Raises:
            BadImageError: The source cannot be used.
            UserError: The file cannot be written.
        """
        changed = modification_time(task.location)
        target = Path(task.target)
        return self._earlier(target, changed) or self._make(task, target, changed)

    def _earlier(self, target: Path, changed: int) -> Made | None:
        """Returns what an earlier run has made of this source, if it is whole."""
        try:
            if target.is_symlink() or int(target.stat().st_mtime) != changed:
                return None
            return self._known(target.read_bytes())
        except (OSError, BadImageError, ValueError):
            return None

    def _make(self, task: Task, target: Path, changed: int) -> Made:
        """Makes a file and moves it into its place when it is whole."""
        content = self.recipe.prepare(read_location(task.location))
        made = self._known(content)
        unfinished = Path(self.work, f"{os.getpid()}-{task.number}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            unfinished.write_bytes(content)
            os.utime(unfinished, (changed, changed))
            unfinished.replace(target)
        except OSError as error:
            raise UserError(
                f"cannot write {target}: {system_reason(error)}", "check the folder and the disk"
            ) from error
        return made

    def _known(self, content: bytes) -> Made:
        """Decodes and adds up a prepared file."""
        colours = ColorSums.of(self.recipe.pixels(content))
        return Made(hashlib.sha256(content).hexdigest(), colours)
