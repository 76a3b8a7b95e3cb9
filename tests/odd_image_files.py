"""Odd images: everything that people's folders hold besides baseline JPEGs."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def write_odd_images(directory: Path, photographs: list[Image.Image]) -> None:
    """Writes one image of each kind, named after the kind."""
    china, flower = photographs

    def save(image: Image.Image, name: str, **options: object) -> None:
        image.save(directory / name, **options)

    save(china, "baseline-420.jpg", quality=90)
    save(china, "chroma-444.jpg", quality=90, subsampling=0)
    save(china, "chroma-422.jpg", quality=90, subsampling=1)
    save(flower, "progressive.jpg", quality=90, progressive=True)
    save(china.convert("L"), "grey.jpg", quality=90)
    save(flower.convert("CMYK"), "cmyk.jpg", quality=90)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        save(china.resize((320, 213)), f"exif-{orientation}.jpg", quality=90, exif=exif)
    save(flower.resize((3, 2)), "tiny.png")
    save(china.resize((1, 1)), "one-pixel.png")
    save(china.resize((2000, 31)), "very-wide.jpg", quality=90)
    save(flower.resize((29, 1501)), "very-tall.jpg", quality=90)
    save(china.resize((257, 256)), "one-too-wide.jpg", quality=90)
    save(china.resize((256, 256)), "exact.jpg", quality=90)
    save(china.resize((333, 271)), "odd-size.jpg", quality=90)
    save(flower.quantize(64), "palette.png")
    save(flower.convert("RGBA"), "alpha.png")
    save(china.convert("LA"), "grey-alpha.png")
    save(china, "plain.bmp")
    save(china, "plain.tif")
    save(china, "plain.ppm")
    save(china.convert("L"), "plain.pgm")
    save(flower, "wavelet.jp2")
    save(flower, "lossless.webp", lossless=True)
    save(flower, "png-called.jpg", format="PNG")
    sixteen = np.asarray(china.convert("L")).astype(np.uint16) * 257
    save(Image.fromarray(sixteen), "sixteen-bit.png")
    colour = np.asarray(china).astype(np.uint16) * 257 + 100
    (directory / "sixteen-bit-colour.png").write_bytes(sixteen_bit_png(np.minimum(colour, 65000)))


def sixteen_bit_png(pixels: np.ndarray) -> bytes:
    """Encodes uint16 (H, W, 3) as PNG, which Pillow cannot do."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
