"""Images in six formats, each mutated by a number: the same number gives the same bytes."""

from __future__ import annotations

import functools
import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

Random = np.random.Generator

# What counters, sizes and offsets are replaced by.
_NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _oriented(image: Image.Image, orientation: int) -> dict[str, object]:
    exif = image.getexif()
    exif[0x0112] = orientation
    return {"exif": exif}


@functools.cache
def seeds() -> dict[str, list[bytes]]:
    """Whole files by their ending, in the forms that each format has."""
    random = np.random.default_rng(5)
    small = Image.fromarray(random.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    colour = small.resize((60, 45))
    grey, palette, bilevel = colour.convert("L"), colour.convert("P"), colour.convert("1")
    alpha, cmyk, deep = colour.convert("RGBA"), colour.convert("CMYK"), grey.convert("I;16")
    jpegs = [
        *(_saved(colour, "JPEG", subsampling=kind) for kind in (0, 1, 2)),
        *(_saved(image, "JPEG", progressive=True) for image in (colour, grey, cmyk)),
        *(_saved(image, "JPEG", quality=30, restart_marker_rows=1) for image in (colour, grey, cmyk)),
        *(_saved(colour, "JPEG", **_oriented(colour, way)) for way in (1, 3, 6)),
    ]
    pngs = [_saved(image, "PNG") for image in (colour, grey, palette, bilevel, alpha, deep)]
    webps = [
        _saved(image, "WEBP", lossless=lossless) for image in (colour, alpha) for lossless in (False, True)
    ]
    tiffs = [
        _saved(image, "TIFF", compression=how)
        for how in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits")
        for image in (colour, grey, palette, alpha, deep, cmyk)
    ]
    tiffs += [_saved(colour, "TIFF", compression="jpeg"), _saved(bilevel, "TIFF", compression="group4")]
    bmps = [_saved(image, "BMP") for image in (colour, grey, palette, bilevel, alpha)]
    pnms = [_saved(image, "PPM") for image in (colour, grey, bilevel, deep)]
    pnms += [
        b"P3 4 3 255\n" + b"10 200 30 " * 12,
        b"P2 4 3 65535\n" + b"1000 " * 12,
        b"P1 4 3\n" + b"0 1 " * 6,
    ]
    return {"jpg": jpegs, "png": pngs, "webp": webps, "tif": tiffs, "bmp": bmps, "ppm": pnms}


def _flip_bits(content: bytearray, random: Random) -> None:
    for at in random.integers(0, len(content), 1 + random.integers(12)):
        content[at] ^= 1 << random.integers(8)


def _cut(content: bytearray, random: Random) -> None:
    del content[random.integers(0, len(content)) :]


def _keep_header(content: bytearray, random: Random) -> None:
    del content[random.integers(1, min(len(content), 700)) :]


def _splice(content: bytearray, random: Random) -> None:
    kind = list(seeds())[random.integers(len(seeds()))]
    other = seeds()[kind][random.integers(len(seeds()[kind]))]
    content[random.integers(0, len(content)) :] = other[random.integers(0, len(other)) :]


def _number(content: bytearray, random: Random) -> None:
    """Another number in a place of two or four bytes, near the beginning more often than not."""
    size, order = (2, 4)[random.integers(2)], "<>"[random.integers(2)]
    end = max(1, (len(content), min(len(content), 120))[random.integers(2)] - size)
    value = _NUMBERS[random.integers(len(_NUMBERS))] & (1 << 8 * size) - 1
    struct.pack_into(order + {2: "H", 4: "I"}[size], content, random.integers(end), value)


def _huge(content: bytearray, random: Random) -> None:
    """A size in the header that the rest does not fill."""
    width, height = (int(2 ** random.uniform(0, 16)) for _ in range(2))
    for beginning, resize in _RESIZED.items():
        if content.startswith(beginning):
            resize(content, width, height)


def _jpeg_size(content: bytearray, width: int, height: int) -> None:
    for marker in (b"\xff\xc0", b"\xff\xc2"):
        if 0 <= (at := content.find(marker)) < len(content) - 9:
            struct.pack_into(">HH", content, at + 5, height & 0xFFFF, width & 0xFFFF)


def _png_size(content: bytearray, width: int, height: int) -> None:
    """With its checksum."""
    if len(content) >= 33:
        struct.pack_into(">II", content, 16, width, height)
        struct.pack_into(">I", content, 29, zlib.crc32(content[12:29]))


def _tiff_size(content: bytearray, width: int, height: int) -> None:
    order = "<" if content.startswith(b"II") else ">"
    for tag, value in ((256, width), (257, height)):
        if 0 <= (at := content.find(struct.pack(order + "H", tag))) < len(content) - 12:
            struct.pack_into(order + "HII", content, at + 2, 4, 1, value)


def _other_size(content: bytearray, width: int, height: int) -> None:
    if content.startswith(b"P"):
        content[3 : content.find(b"\n", 3)] = b"%d %d" % (width, height)
    elif len(content) >= 30:
        at, form = (18, "<II") if content.startswith(b"BM") else (26, "<HH")
        mask = 0xFFFF if form == "<HH" else 0xFFFFFFFF
        struct.pack_into(form, content, at, width & mask, (height if width % 2 else -height) & mask)


_RESIZED: dict[bytes, Callable[[bytearray, int, int], None]] = {
    b"\xff\xd8": _jpeg_size,
    b"\x89PNG": _png_size,
    b"II*\0": _tiff_size,
    b"MM\0*": _tiff_size,
    b"BM": _other_size,
    b"RIFF": _other_size,
    b"P": _other_size,
}


def _remove(content: bytearray, random: Random) -> None:
    """A stretch less: of a chunk where there is a marker, of anything else."""
    begin = random.integers(0, len(content))
    if content.startswith(b"\xff\xd8"):
        begin = max(content.find(b"\xff", begin), 0)
    del content[begin : begin + 1 + int(2 ** random.uniform(0, 10))]


def _zero(content: bytearray, random: Random) -> None:
    begin = random.integers(0, len(content))
    end = min(len(content), begin + 1 + int(2 ** random.uniform(0, 10)))
    content[begin:end] = bytes(end - begin)


def _repeat(content: bytearray, random: Random) -> None:
    begin = random.integers(0, len(content))
    content[begin:begin] = content[begin : begin + 1 + random.integers(200)] * int(random.integers(1, 20))


MUTATIONS: tuple[Callable[[bytearray, Random], None], ...] = (
    _flip_bits,
    _flip_bits,
    _cut,
    _keep_header,
    _splice,
    _number,
    _number,
    _huge,
    _remove,
    _zero,
    _repeat,
)


def mutated(seed: int, number: int) -> tuple[str, bytes]:
    """Returns an ending, and a file of that format with one to three mutations.

    Args:
        seed: Of a round.
        number: Of the file in it.
    """
    random = np.random.default_rng([seed, number])
    kind = list(seeds())[number % len(seeds())]
    content = bytearray(seeds()[kind][random.integers(len(seeds()[kind]))])
    for _ in range(random.integers(1, 4)):
        if len(content) > 8:
            MUTATIONS[random.integers(len(MUTATIONS))](content, random)
    return kind, bytes(content)
