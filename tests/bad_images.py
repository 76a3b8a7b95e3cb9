"""Images that must be refused: 24 kinds, each different for every seed."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image, PngImagePlugin

from small_model import encoded

Random = np.random.Generator


def noise(random: Random, side: int = 120) -> Image.Image:
    """An image of coarse random colours."""
    return Image.fromarray(random.integers(0, 256, (12, 12, 3), dtype=np.uint8)).resize((side, side))


def png(width: int, height: int, data: bytes, *more: bytes) -> bytes:
    """A PNG (RGB, 8 bits) that claims a size and holds any compressed data."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def cut(content: bytes, random: Random) -> bytes:
    """The first part of a file, between a fifth and four fifths of it."""
    return content[: int(len(content) * random.uniform(0.2, 0.8))]


def frames(random: Random, kind: str) -> bytes:
    """An animation of three frames."""
    first, *rest = (noise(random, 64) for _ in range(3))
    return encoded(first, kind, save_all=True, append_images=rest, duration=100)


def png_bomb(random: Random) -> bytes:
    """13,400 x 13,400 black pixels in half a megabyte."""
    side = 13_400 - int(random.integers(100))
    stream = zlib.compressobj(1)
    row = bytes(1 + 3 * side)
    return png(side, side, b"".join(stream.compress(row) for _ in range(side)) + stream.flush())


def jpeg_of_size(random: Random, width: int, height: int) -> bytes:
    """A small JPEG whose header claims another size."""
    content = bytearray(encoded(noise(random), "JPEG"))
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(content)


def webp_of_size(width: int, height: int, flags: int = 0) -> bytes:
    """A WebP whose extended header claims a size."""
    body = bytes([flags, 0, 0, 0]) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    data = b"WEBPVP8X" + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", len(data)) + data


def many_scans(random: Random) -> bytes:
    """A progressive JPEG whose last scan comes 300 times."""
    content = encoded(noise(random, 400), "JPEG", progressive=True)
    start = content.rindex(b"\xff\xda")
    return content[:start] + content[start:-2] * 300 + content[-2:]


def text_bomb(random: Random) -> bytes:
    """A PNG with 80 texts of a mebibyte, each a kilobyte long once it is compressed."""
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes([65 + int(random.integers(20))]) * (1 << 20), 9))
    return png(8, 8, zlib.compress(bytes(25 * 8)), *([text] * 80))


def broken_header(random: Random) -> bytes:
    """A PNG whose header does not fit its checksum."""
    content = bytearray(encoded(noise(random), "PNG"))
    content[18] ^= 1 + int(random.integers(100))
    return bytes(content)


def apng(random: Random) -> bytes:
    """An animated PNG."""
    first, *rest = (noise(random, 64) for _ in range(3))
    file = io.BytesIO()
    first.save(file, "PNG", save_all=True, append_images=rest, pnginfo=PngImagePlugin.PngInfo())
    return file.getvalue()


def random_bytes(random: Random, size: int = 5000) -> bytes:
    return random.integers(0, 256, size, dtype=np.uint8).tobytes()


def zlib_noise(random: Random, size: int) -> bytes:
    return zlib.compress(random_bytes(random, size))


def some_side(random: Random, most: int = 16_384) -> int:
    return most - int(random.integers(9))


# kind: (what the reason must hold, how one is made).
KINDS: dict[str, tuple[str, Callable[[Random], bytes]]] = {
    "text": ("not an image", lambda random: b"hello " * int(random.integers(1, 500))),
    "random bytes": ("not an image", random_bytes),
    "HTML": ("not an image", lambda random: b"<!doctype html><title>404</title>" + random_bytes(random)),
    "the start of a JPEG": ("", lambda random: b"\xff\xd8\xff\xe0" + random_bytes(random, 20)),
    "a JPEG that is cut": ("truncated", lambda random: cut(encoded(noise(random, 500), "JPEG"), random)),
    "a PNG that is cut": ("truncated", lambda random: cut(encoded(noise(random, 500), "PNG"), random)),
    "a WebP that is cut": ("", lambda random: cut(encoded(noise(random, 500), "WEBP"), random)),
    "a JPEG without an end of its tables": (
        "",
        lambda random: encoded(noise(random), "JPEG")[: 100 + int(random.integers(200))],
    ),
    "a PNG with a wrong checksum": ("", broken_header),
    "a PNG of noise": ("", lambda random: png(100, 100, random_bytes(random))),
    "a PNG without pixels": ("", lambda random: png(100 + int(random.integers(99)), 100, zlib.compress(b""))),
    "a PNG bomb": ("25000000", png_bomb),
    "a JPEG of 65,500 x 65,500": ("pixels", lambda random: jpeg_of_size(random, 65_500, 65_500)),
    "a WebP of 16,384 x 16,384": (
        "are allowed",
        lambda random: webp_of_size(16_384 - int(random.integers(9)), 16_384),
    ),
    "a PNG of 65,535 x 1": (
        "would be",
        lambda random: png(65_535, 1, zlib_noise(random, 196_606)),
    ),
    "a JPEG of 1 x 65,500": (
        "would be",
        lambda random: jpeg_of_size(random, 1, 65_500 - int(random.integers(9))),
    ),
    "an animated PNG": ("animation", apng),
    "an animated WebP": ("animation", lambda random: frames(random, "WEBP")),
    "an animated GIF": ("not an image in JPEG, PNG or WEBP", lambda random: frames(random, "GIF")),
    "a TIFF": ("not an image in JPEG, PNG or WEBP", lambda random: encoded(noise(random), "TIFF")),
    "a BMP": ("not an image in JPEG, PNG or WEBP", lambda random: encoded(noise(random), "BMP")),
    "PostScript": ("not an image in JPEG, PNG or WEBP", lambda random: encoded(noise(random), "EPS")),
    "a JPEG of 300 scans": ("scans", many_scans),
    "a PNG of long texts": ("", text_bomb),
}


def bad_image(kind: str, seed: int) -> bytes:
    """Makes one."""
    return KINDS[kind][1](np.random.default_rng([seed, *kind.encode()]))
