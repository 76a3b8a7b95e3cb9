"""Interpretation of a file's values: levels of every depth, transparency, and colours that are not RGB."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.color import color_text, parse_color
from alexnet_fast.pipelines.cpu.pillow import BadImageError, decode
from alexnet_fast.pipelines.spec import AugmentSpec
from image_matrix import chunk, encoded

BACK = (10, 20, 30)


def pixels(content: bytes) -> list[list[int]]:
    """The first row."""
    return np.asarray(decode(io.BytesIO(content), BACK))[0].tolist()


def png(depth: int, kind: int, row: bytes, *more: bytes, width: int) -> bytes:
    """One row of a PNG."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, 1, depth, kind, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(b"\0" + row))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + data + chunk(b"IEND", b"")


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_the_transparent_level_of_a_grey_png_is_the_background(depth: int) -> None:
    most = 2**depth - 1
    levels = [0, 1, most, most // 2]
    bits = "".join(f"{level:0{depth}b}" for level in levels)
    row = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")
    for clear in levels:
        wanted = [list(BACK) if one == clear else [int(one * 255 / most + 0.5)] * 3 for one in levels]
        assert pixels(png(depth, 0, row, chunk(b"tRNS", struct.pack(">H", clear)), width=4)) == wanted


def test_the_transparent_colour_of_an_rgb_png_is_the_background() -> None:
    clear = chunk(b"tRNS", struct.pack(">HHH", 4, 5, 6))
    assert pixels(png(8, 2, bytes([1, 2, 3, 4, 5, 6]), clear, width=2)) == [[1, 2, 3], list(BACK)]
    deep = chunk(b"tRNS", struct.pack(">HHH", 40_000, 5, 6))
    row = struct.pack(">6H", 256, 512, 768, 40_000, 5, 6)
    assert pixels(png(16, 2, row, deep, width=2)) == [[1, 2, 3], list(BACK)]


def test_a_palettes_alpha_is_composited() -> None:
    colours = chunk(b"PLTE", bytes([255, 0, 0, 0, 255, 0]))
    row, alpha = bytes([0, 1]), chunk(b"tRNS", bytes([255, 0]))
    assert pixels(png(8, 3, row, colours, alpha, width=2)) == [[255, 0, 0], list(BACK)]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG2000"])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_composited(kind: str, mode: str) -> None:
    rgba = Image.new("RGBA", (8, 8), (200, 200, 200, 255))
    rgba.paste((200, 200, 200, 0), (4, 0, 8, 8))
    if (kind, mode) == ("WEBP", "LA"):
        pytest.skip("WebP has no grey")
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    row = pixels(encoded(rgba.convert(mode), kind, **options))
    assert row[0] == [200, 200, 200]
    assert row[7] == list(BACK)


def test_half_transparent_is_half_the_background() -> None:
    half = Image.new("RGBA", (1, 1), (210, 0, 130, 128))
    found = np.asarray(decode(half, BACK))[0, 0]
    assert np.abs(found - np.array([110, 10, 80])).max() <= 1


def test_associated_alpha_of_a_tiff_is_taken_out_of_the_colours() -> None:
    content = bytearray(encoded(Image.new("RGBA", (8, 8), (100, 50, 0, 128)), "TIFF"))
    content[content.index(struct.pack("<HHIHH", 338, 3, 1, 2, 0)) + 8] = 1
    # The stored colours are already multiplied: 100 of a possible 128.
    assert np.abs(np.array(pixels(bytes(content))[0]) - [105, 60, 15]).max() <= 1


def test_lab_is_srgb() -> None:
    """L* 54.29, a* 80.81, b* 69.89 (white D50) is the red of sRGB."""
    bands = [Image.new("L", (2, 2), value) for value in (138, (128 + 81) ^ 128, (128 + 70) ^ 128)]
    lab = Image.frombytes("LAB", (2, 2), Image.merge("RGB", bands).tobytes())
    assert np.abs(np.array(pixels(encoded(lab, "TIFF"))[0]) - [255, 0, 0]).max() <= 6


def test_floating_point_is_0_to_1() -> None:
    levels = np.array([[0, 0.5, 1]], np.float32)
    assert [level for level, _, _ in pixels(encoded(Image.fromarray(levels), "TIFF"))] == [0, 128, 255]
    for beyond in (levels * 255, levels - 0.1, levels * np.nan):
        with pytest.raises(BadImageError, match=r"floating-point levels from .* not 0 \(black\) to 1"):
            pixels(encoded(Image.fromarray(beyond), "TIFF"))


def test_integers_of_32_bits_are_refused() -> None:
    with pytest.raises(BadImageError, match="32 bits"):
        pixels(encoded(Image.fromarray(np.array([[0, 70_000]], np.int32)), "TIFF"))


def test_white_is_zero_in_16_bits_too() -> None:
    deep = Image.fromarray(np.array([[0, 65535]], np.uint16))
    assert pixels(encoded(deep, "TIFF", tiffinfo={262: 0})) == [[255] * 3, [0] * 3]


@pytest.mark.parametrize("most", [1, 31, 255, 1000, 65535])
def test_the_levels_of_pnm_are_shares_of_its_largest(most: int) -> None:
    assert [level for level, _, _ in pixels(b"P2 3 1 %d 0 %d %d\n" % (most, most // 2, most))] == [
        0,
        int(most // 2 / most * 255 + 0.5),
        255,
    ]


def test_damaged_metadata_do_not_make_an_image_a_bad_one() -> None:
    content = encoded(Image.new("RGB", (8, 8), (9, 9, 9)), "JPEG")
    for block in (
        b"Exif\0\0",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff",
        b"Exif\0\0garbage!",
    ):
        damaged = content[:20] + b"\xff\xe1" + struct.pack(">H", 2 + len(block)) + block + content[20:]
        assert pixels(damaged)[0] == [9, 9, 9]


def test_a_tiff_that_is_turned_is_the_same_by_its_name(tmp_path: Path) -> None:
    """Pillow maps a file that it opens by name, with the rotated shape instead of the stored one."""
    image = Image.effect_noise((30, 20), 90).convert("CMYK")
    (tmp_path / "a.tif").write_bytes(encoded(image, "TIFF", tiffinfo={0x112: 6}))
    by_name = np.asarray(decode(tmp_path / "a.tif"))
    assert np.array_equal(by_name, np.asarray(decode(io.BytesIO((tmp_path / "a.tif").read_bytes()))))
    assert np.array_equal(by_name, np.asarray(image.convert("RGB").rotate(-90, expand=True)))


@pytest.mark.parametrize("text", ["white", "#fff", "#ffffff", "rgb(255, 255, 255)", "hsl(0, 0%, 100%)"])
def test_a_colour_is_written_as_in_css(text: str) -> None:
    assert parse_color(text) == (255, 255, 255)
    assert color_text(parse_color(text)) == "#ffffff"


@pytest.mark.parametrize("text", ["", "nope", "#ffff", "#ffffff80", "transparent", "rgb(300, 0, 0)", "255"])
def test_no_colour_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="--background"):
        parse_color(text)


def test_the_background_is_part_of_the_spec() -> None:
    spec = AugmentSpec(background=(1, 2, 3))
    plain = spec.to_dict()
    assert plain["background"] == [1, 2, 3]
    assert AugmentSpec.from_dict(plain) == spec
    del plain["background"]  # As versions before this one wrote it.
    assert AugmentSpec.from_dict(plain).background == (255, 255, 255)
    for damaged in ([1, 2], [1, 2, 3, 4], "white", [1, 2, 999], None):
        with pytest.raises(UserError):
            AugmentSpec.from_dict(plain | {"background": damaged})
