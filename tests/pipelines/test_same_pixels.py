"""Every reader gives the same upright pixels for every container and every form of metadata.

The readers: DALI's loader, the plain one, the server, the Python interface and `prepare`. The C++ library is
compared in `tests/cpp`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from same_pixels import differences, loaded_by_dali, loaded_by_pillow, prepared, preprocessed, served

import image_matrix
from alexnet_fast.pipelines.cpu.pillow import decode
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.pipelines.transcode import trusted_size

SPEC = AugmentSpec(resize=image_matrix.SIDE, crop=image_matrix.SIDE)
# One of each kind: what DALI decodes itself, and what Pillow decodes for it.
FEW = (
    "RGB-2-progressive-75-60x48.jpg",
    "exif-big-6-444.jpg",
    "xmp-element-8-420.jpg",
    "ink-bare.jpg",
    "ink-jfif-adobe-2.jpg",
    "raw-packed-exif-5-RGB.png",
    "type-0-depth-4-2.png",
    "exif-little-6-RGBA.png",
    "lossless-53-exif-6.webp",
    "lossy-clear-50.webp",
    "F-7.tif",
    "LAB-3.tif",
    "P6-31.pnm",
    "I;16.jp2",
)
# Where a name says which orientation its file has; in the last form EXIF's, and XMP's where EXIF says none.
NAMED = re.compile(
    r"(?:exif|xmp)-\w+-(\d)-(?:RGB\.png|444\.jpg)|raw.*-(\d)-RGB\.png|(?:tiff_lzw-)?RGB-(?:xmp-)?(\d)\.tif"
    r"|lossless-\d+-(?:exif|xmp)-(\d)\.webp|RGB-(\d)-before-xmp-\w+-(\d)\.tif"
)
# EXIF 2.32 (CIPA DC-008), table "Orientation": what turns the stored pixels upright.
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored.transpose(1, 0, 2), 2),
    8: np.rot90,
}


def check_all(directory: Path, files: dict[str, bytes]) -> set[str]:
    """Compares every reader with DALI's loader; returns the images that all accept."""
    for name, content in files.items():
        (directory / name).write_bytes(content)
    names = sorted(files)
    taken = loaded_by_dali(directory, names, SPEC)
    for reader in (loaded_by_pillow, served, preprocessed, prepared):
        assert differences(taken, reader(directory, names, SPEC)) == {}, reader.__name__
    return set(taken)


@pytest.fixture(scope="module")
def matrix() -> dict[str, bytes]:
    return dict(image_matrix.files())


@pytest.mark.slow
def test_every_reader_makes_the_same_of_some_two_thousand_files(
    matrix: dict[str, bytes], tmp_path: Path
) -> None:
    assert len(matrix) > 2300
    trusted = {name for name, content in matrix.items() if trusted_size(content)}
    taken = check_all(tmp_path, matrix)
    refused = matrix.keys() - taken
    print(f"{len(trusted)} decoded by DALI, {len(refused)} refused")
    # What is cut off, and numbers without a scale.
    assert all(re.search(r"cut|no-end|^I-|^F-levels", name) for name in refused), refused
    assert len(trusted) > 300


@pytest.mark.slow
def test_they_are_upright(matrix: dict[str, bytes]) -> None:
    checked = 0
    for name, content in matrix.items():
        match = NAMED.fullmatch(name)
        if match is None or (name.startswith("exif-behind") and name.endswith("jpg")):
            continue
        said = [int(value) for value in match.groups() if value is not None]
        value = next((one for one in said if 1 <= one <= 8), 1)
        stored = _stored(name)
        wanted = UPRIGHT.get(value, lambda pixels: pixels)(stored)
        found = np.asarray(decode(io.BytesIO(content), SPEC.background))
        assert found.shape == wanted.shape, name
        assert np.array_equal(found, wanted), name
        checked += 1
    assert checked > 400


def _stored(name: str) -> np.ndarray:
    """The pixels of a file of the matrix before they are turned."""
    if name.startswith("lossless"):
        return np.asarray(image_matrix.base(int(name.split("-")[1])))
    if name.endswith(".jpg"):
        plain = image_matrix.encoded(image_matrix.base(), "JPEG", quality=90, subsampling=0)
        return np.asarray(Image.open(io.BytesIO(plain)))
    return np.asarray(image_matrix.base())


def test_every_reader_makes_the_same_of_one_of_each_kind(tmp_path: Path) -> None:
    files = {name: content for name, content in image_matrix.files() if name in FEW}
    assert check_all(tmp_path, files) == set(FEW)
