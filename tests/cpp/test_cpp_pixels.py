"""C++ and Python decode the same file to the same pixels."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from installed import Built, command, must
from PIL import Image, features

import image_matrix
from alexnet_fast.pipelines.cpu.pillow import BadImageError, centre_square, decode
from alexnet_fast.pipelines.spec import AugmentSpec

# C++ follows Pillow 13, which changed the order of rows and columns; Python 3.10 has an older Pillow.
AS_PILLOW = int(Image.__version__.split(".")[0]) >= 13
LARGEST_DIFFERENCE = 0 if AS_PILLOW else 1


def difference(built: Built, files: list[Path], side: int) -> int:
    """Returns the largest difference between C++ and Python, in levels."""
    spec = AugmentSpec(resize=side, crop=side)
    wanted = np.stack([centre_square(decode(file), spec) for file in files])
    got = np.frombuffer(must(built.probe, "squares", side, *files), np.uint8).reshape(wanted.shape)
    return int(np.abs(got.astype(int) - wanted).max())


@pytest.mark.parametrize(
    "side", [pytest.param(1, marks=pytest.mark.slow), 43, 64, pytest.param(227, marks=pytest.mark.slow), 256]
)
def test_a_hundred_images(built, hundred, side):
    assert features.check_feature("libjpeg_turbo"), "Pillow decodes with another library"
    assert difference(built, hundred, side) <= LARGEST_DIFFERENCE


@pytest.mark.parametrize(
    "size",
    [(2000, 31), (29, 1501), (257, 256), (256, 256), (333, 271), (3, 2), (1, 1), (16, 700), (1200, 801)],
)
def test_odd_sizes(built, photographs, tmp_path, size):
    photographs[0].resize(size).save(tmp_path / "odd.jpg", quality=90)
    for side in (16, 64, 256):
        assert difference(built, [tmp_path / "odd.jpg"], side) <= LARGEST_DIFFERENCE


def exif(entries: bytes, count: int) -> bytes:
    return b"Exif\0\0II*\0\x08\0\0\0" + count.to_bytes(2, "little") + entries


def entry(tag: int, kind: int, count: int, value: int) -> bytes:
    numbers = ((tag, 2), (kind, 2), (count, 4), (value, 4))
    return b"".join(number.to_bytes(size, "little") for number, size in numbers)


@pytest.mark.parametrize(
    "segment",
    [
        exif(entry(0x112, 3, 1, 6), 1),
        exif(entry(0x112, 4, 1, 8), 1),
        pytest.param(
            exif(entry(0x112, 3, 1, 6) + entry(0x112, 3, 1, 3), 2),
            marks=pytest.mark.skipif(not AS_PILLOW, reason="Pillow before 13 takes the other of two tags"),
        ),
        exif(entry(0x100, 3, 1, 6) + entry(0x112, 3, 1, 5), 2),
        exif(entry(0x112, 3, 1, 6), 40),
        exif(entry(0x112, 3, 1, 77), 1),
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x07\0\0\0\0\0\0",
        b'http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation="6"/>',
        b"http://ns.adobe.com/xap/1.0/\0<tiff:Orientation>3</tiff:Orientation>",
        b"http://ns.adobe.com/xap/1.0/\0<tiff:Orientation>",
    ],
)
def test_every_form_of_orientation_is_read(built, photographs, tmp_path, segment):
    plain = io.BytesIO()
    photographs[0].resize((90, 60)).save(plain, "JPEG")
    marker = b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment
    (tmp_path / "turned.jpg").write_bytes(plain.getvalue()[:2] + marker + plain.getvalue()[2:])
    assert difference(built, [tmp_path / "turned.jpg"], 43) == 0


def test_every_jpeg_of_the_matrix(built, tmp_path):
    """About 860 files: all orientations, colours, subsamplings and markers, accepted and refused alike."""
    taken, refused = [], []
    for name, contents in image_matrix.files():
        if name.endswith(".jpg"):
            (tmp_path / name).write_bytes(contents)
            (taken if is_image(contents) else refused).append(tmp_path / name)
    assert len(taken) > 800
    assert difference(built, taken, image_matrix.SIDE) <= LARGEST_DIFFERENCE
    for file in refused:
        answer = command(built.probe, "squares", image_matrix.SIDE, file)
        assert answer.returncode, file


def is_image(contents: bytes) -> bool:
    try:
        decode(io.BytesIO(contents))
    except BadImageError:
        return False
    return True


def test_a_file_that_is_cut_off_is_refused_where_python_refuses_it(built, photographs, tmp_path):
    file = tmp_path / "small.jpg"
    photographs[1].resize((24, 16)).save(file, quality=60)
    whole = file.read_bytes()
    wanted = [length for length in range(len(whole), -1, -1) if is_image(whole[:length])]
    got = [int(line) for line in must(built.probe, "prefixes", file).split()]
    assert got == wanted
    assert got == [len(whole)]


def with_size(contents: bytes, width: int, height: int) -> bytes:
    """Writes another size into the frame header of a baseline JPEG."""
    at = contents.index(b"\xff\xc0") + 5
    return contents[:at] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + contents[at + 4 :]


def test_what_cannot_be_decoded_is_one_clear_line(built, photographs, tmp_path):
    whole = io.BytesIO()
    photographs[0].resize((64, 48)).save(whole, "JPEG")
    png = io.BytesIO()
    photographs[0].resize((64, 48)).save(png, "PNG")
    for contents, reason in (
        (whole.getvalue()[:-300], "the file is cut off"),
        (b"", "the file is cut off"),
        (b"no image", "Not a JPEG file"),
        (png.getvalue(), "Not a JPEG file"),
        (
            with_size(whole.getvalue(), 65_500, 65_500),
            "65500 x 65500 pixels, more than the limit of 89478485",
        ),
        (with_size(whole.getvalue(), 0, 48), "Empty JPEG image"),
    ):
        (tmp_path / "bad.jpg").write_bytes(contents)
        done = command(built.probe, "squares", 32, tmp_path / "bad.jpg")
        assert done.returncode == 1
        (line,) = done.stderr.decode().splitlines()
        assert line.startswith(str(tmp_path / "bad.jpg"))
        assert reason in line


def test_scans_without_end_are_refused(built, photographs, tmp_path):
    whole = io.BytesIO()
    photographs[0].resize((64, 48)).convert("L").save(whole, "JPEG", progressive=True)
    contents = whole.getvalue()
    last_scan = contents[contents.rindex(b"\xff\xda") : -2]
    (tmp_path / "many.jpg").write_bytes(contents[:-2] + last_scan * 200 + contents[-2:])
    done = command(built.probe, "squares", 32, tmp_path / "many.jpg")
    assert done.returncode == 1
    assert b"more than 100 scans" in done.stderr
