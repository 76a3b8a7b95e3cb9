"""Some 2,000 small image files: container x mode x orientation's form x subsampling x depth.

Each is called after what it is. `upright` of a name is the orientation that its file asks for.
"""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin, TiffImagePlugin

SIDE = 48
Form = tuple[str, Callable[[int], bytes]]


def base(width: int = 60, height: int = SIDE) -> Image.Image:
    """An image that no turn leaves alike: soft colours, a red corner and a blue one."""
    random = np.random.default_rng(7)
    small = Image.fromarray(random.integers(0, 256, (7, 9, 3), dtype=np.uint8))
    pixels = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)).copy()
    pixels[: height // 4, : width // 4] = (255, 0, 0)
    pixels[-height // 4 :, -width // 4 :] = (0, 0, 255)
    return Image.fromarray(pixels)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Encodes an image."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def segment(marker: int, data: bytes) -> bytes:
    """One segment of a JPEG."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(image: Image.Image, *, before: bytes = b"", behind: bytes = b"") -> bytes:
    """A PNG with chunks before and behind its pixels."""
    content = encoded(image, "PNG")
    return content[:33] + before + content[33:-12] + behind + content[-12:]


def tiff_block(
    value: int, order: str = "<", kind: int = 3, count: int = 1, entries: int = 1, gap: int = 0
) -> bytes:
    """A TIFF directory that says an orientation, as EXIF has it."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8 + gap) + bytes(gap)
    size = {1: "B3x", 3: "H2x", 4: "I", 6: "b3x", 8: "h2x", 9: "i"}[kind]
    entry = struct.pack(order + "HHI" + size, 0x112, kind, count, value)
    other = struct.pack(order + "HHIHH", 0x100, 3, 1, 5, 0)
    return head + struct.pack(order + "H", entries + 1) + other + entry * entries + bytes(4)


def xmp_packet(inner: str) -> bytes:
    """An XMP packet with something about TIFF in it."""
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" {inner}</rdf:RDF>'
        "</x:xmpmeta>"
    ).encode()


EXIF: list[Form] = [
    ("little", tiff_block),
    ("big", lambda value: tiff_block(value, ">")),
    ("long", lambda value: tiff_block(value, kind=4)),
    ("big-long", lambda value: tiff_block(value, ">", kind=4)),
    ("byte", lambda value: tiff_block(value, kind=1)),
    ("signed", lambda value: tiff_block(value, kind=8)),
    ("twice", lambda value: tiff_block(value, entries=2)),
    ("far", lambda value: tiff_block(value, gap=30)),
]
XMP: list[Form] = [
    ("attribute", lambda value: xmp_packet(f'tiff:Orientation="{value}"/>')),
    ("element", lambda value: xmp_packet(f"><tiff:Orientation>{value}</tiff:Orientation></rdf:Description>")),
    ("quotes", lambda value: xmp_packet(f"tiff:Orientation = '{value}'/>")),
]
# Values that say nothing, and those that turn, mirror or do neither.
VALUES = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9)


def files() -> Iterator[tuple[str, bytes]]:
    """Yields (name, content) of each."""
    for make in (_jpegs, _jpeg_colours, _pngs, _png_depths, _webps, _tiffs, _others):
        yield from make()


def _jpegs() -> Iterator[tuple[str, bytes]]:
    """Orientation in JPEGs, in every form and at several places."""
    plain = {
        "grey": encoded(base().convert("L"), "JPEG", quality=90),
        "444": encoded(base(), "JPEG", quality=90, subsampling=0),
        "420": encoded(base(67, 51), "JPEG", quality=90, subsampling=2, progressive=True),
    }
    for (kind, content), value in itertools.product(plain.items(), VALUES):
        for form, block in EXIF:
            exif = segment(0xE1, b"Exif\0\0" + block(value))
            yield f"exif-{form}-{value}-{kind}.jpg", content[:20] + exif + content[20:]
        for form, packet in XMP:
            xmp = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet(value))
            yield f"xmp-{form}-{value}-{kind}.jpg", content[:20] + xmp + content[20:]
        exif, other = (segment(0xE1, b"Exif\0\0" + tiff_block(one)) for one in (value, 3))
        silent = segment(0xE1, b"Exif\0\0" + tiff_block(value).replace(b"\x12\x01", b"\x13\x01"))
        xmp = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp_packet(f'tiff:Orientation="{value}"/>'))
        scan = content.index(b"\xff\xda")
        yield f"exif-first-{value}-{kind}.jpg", content[:2] + exif + content[2:]
        yield f"exif-last-{value}-{kind}.jpg", content[:scan] + exif + content[scan:]
        yield f"exif-behind-{value}-{kind}.jpg", content[:-2] + exif + content[-2:]
        yield f"two-exif-{value}-{kind}.jpg", content[:20] + exif + other + content[20:]
        yield f"exif-before-xmp-{value}-{kind}.jpg", content[:20] + other + xmp + content[20:]
        yield f"xmp-before-exif-{value}-{kind}.jpg", content[:20] + xmp + other + content[20:]
        yield f"silent-exif-xmp-{value}-{kind}.jpg", content[:20] + silent + xmp + content[20:]


def _jpeg_colours() -> Iterator[tuple[str, bytes]]:
    """Colours, subsampling and markers of JPEGs."""
    quality = itertools.product(("L", "RGB", "CMYK"), (0, 1, 2), (False, True), (30, 75, 95, 100))
    for mode, subsampling, progressive, level in quality:
        for size in ((60, 48), (61, 49), (48, 48), (51, 77)):
            image, how = base(*size).convert(mode), {"quality": level, "progressive": progressive}
            if mode != "CMYK":
                how |= {"subsampling": subsampling}
            elif subsampling:
                continue
            name = f"{mode}-{subsampling}-{'progressive' if progressive else 'baseline'}-{level}"
            yield f"{name}-{size[0]}x{size[1]}.jpg", encoded(image, "JPEG", **how)
    colour, ink = encoded(base(), "JPEG", subsampling=0), encoded(base().convert("CMYK"), "JPEG")
    for name, content in {"colour": colour, "ink": ink, "grey": encoded(base().convert("L"), "JPEG")}.items():
        bare = content[:2] + content[20:] if content[2:4] == b"\xff\xe0" else _without(content, 0xEE)
        jfif = colour[2:20]
        yield f"{name}-bare.jpg", bare
        yield f"{name}-jfif.jpg", bare[:2] + jfif + bare[2:]
        for transform in (0, 1, 2, 3):
            adobe = segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([transform]))
            yield f"{name}-adobe-{transform}.jpg", bare[:2] + adobe + bare[2:]
            yield f"{name}-jfif-adobe-{transform}.jpg", bare[:2] + jfif + adobe + bare[2:]
            yield f"{name}-short-adobe-{transform}.jpg", bare[:2] + segment(0xEE, b"Adobe\0\x64") + bare[2:]
        for numbers in (b"RGB", b"\0\1\2", b"\1\2\3", b"\1\1\1", b"CMY"):
            if name == "colour":
                yield f"colour-numbers-{numbers.hex()}.jpg", _numbered(bare, numbers)
                yield (
                    f"colour-jfif-numbers-{numbers.hex()}.jpg",
                    _numbered(bare[:2] + jfif + bare[2:], numbers),
                )
        for extra in (0xE2, 0xE3, 0xEC, 0xED, 0xEF, 0xFE, 0xE0, 0xE1):
            yield f"{name}-extra-{extra:x}.jpg", content[:2] + segment(extra, b"something") + content[2:]
        yield f"{name}-filled.jpg", content[:2] + b"\xff\xff\xff" + content[2:]
        yield f"{name}-trailing.jpg", content + bytes(300)
        yield f"{name}-no-end.jpg", content[:-2]
        yield f"{name}-cut.jpg", content[: len(content) * 2 // 3]
        yield f"{name}-profile.jpg", _with_profile(content)
    yield "restarts.jpg", encoded(base(), "JPEG", restart_marker_rows=1)
    yield "optimised.jpg", encoded(base(), "JPEG", optimize=True)
    image, other = base(), base(70, 90)
    yield "telephone.jpg", encoded(image, "MPO", save_all=True, append_images=[other])


def _without(content: bytes, marker: int) -> bytes:
    """A JPEG less one of its segments."""
    at = content.index(bytes([0xFF, marker]))
    return content[:at] + content[at + 2 + int.from_bytes(content[at + 2 : at + 4], "big") :]


def _numbered(content: bytes, numbers: bytes) -> bytes:
    """A JPEG whose components have other numbers."""
    changed = bytearray(content)
    frame, scan = content.index(b"\xff\xc0") + 10, content.index(b"\xff\xda") + 5
    for place, number in enumerate(numbers):
        changed[frame + 3 * place] = number
        changed[scan + 2 * place] = number
    return bytes(changed)


def _with_profile(content: bytes) -> bytes:
    """A JPEG with a colour profile."""
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return content[:2] + segment(0xE2, b"ICC_PROFILE\0\1\1" + profile) + content[2:]


def _pngs() -> Iterator[tuple[str, bytes]]:
    """Orientation in PNGs."""
    images = {"RGB": base(), "L": base().convert("L"), "RGBA": _clear(base()), "P": base().quantize(16)}
    for (mode, image), value in itertools.product(images.items(), VALUES):
        for form, block in EXIF:
            exif = chunk(b"eXIf", block(value))
            yield f"exif-{form}-{value}-{mode}.png", png(image, before=exif)
        yield f"exif-behind-{value}-{mode}.png", png(image, behind=chunk(b"eXIf", tiff_block(value)))
        for form, packet in XMP:
            text = b"XML:com.adobe.xmp\0\0\0\0\0" + packet(value)
            yield f"xmp-{form}-{value}-{mode}.png", png(image, before=chunk(b"iTXt", text))
        for kind, data in (
            ("exif", b"Exif\0\0" + tiff_block(value)),
            ("APP1", b"Exif\0\0" + tiff_block(value)),
            ("xmp", xmp_packet(f'tiff:Orientation="{value}"/>')),
        ):
            hexadecimal = f"\n{kind}\n{len(data):8}\n{data.hex()}\n".encode()
            head = f"Raw profile type {kind}".encode() + b"\0"
            yield f"raw-{kind}-{value}-{mode}.png", png(image, before=chunk(b"tEXt", head + hexadecimal))
            packed = chunk(b"zTXt", head + b"\0" + zlib.compress(hexadecimal))
            yield f"raw-packed-{kind}-{value}-{mode}.png", png(image, behind=packed)


def _clear(image: Image.Image) -> Image.Image:
    """An image that fades out from left to right."""
    shades = np.linspace(0, 255, image.width).astype(np.uint8)
    faded = image.copy()
    faded.putalpha(Image.fromarray(np.tile(shades, (image.height, 1))))
    return faded


def _png_depths() -> Iterator[tuple[str, bytes]]:
    """Depths, colour types, interlacing and transparency of PNGs."""
    random = np.random.default_rng(3)
    width, height = 56, SIDE
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
    depths = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
    for kind, of_kind in depths.items():
        for depth in of_kind:
            row_bytes = -(-width * channels[kind] * depth // 8)
            rows = b"".join(b"\0" + random.bytes(row_bytes) for _ in range(height))
            head = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
            palette = chunk(b"PLTE", random.bytes(3 * min(256, 2**depth))) if kind == 3 else b""
            clear = {
                0: [struct.pack(">H", value) for value in (0, 1, 2**depth - 1)],
                2: [struct.pack(">HHH", 1, 2, 3), rows[1:7] if depth == 16 else bytes(6)],
                3: [b"\0", b"\xff\0", b"\x80" * min(256, 2**depth)],
            }.get(kind, [])
            for place, transparent in enumerate([b"", *(chunk(b"tRNS", value) for value in clear)]):
                for name, more in (("", b""), ("-gamma", chunk(b"gAMA", struct.pack(">I", 100_000)))):
                    yield (
                        f"type-{kind}-depth-{depth}-{place}{name}.png",
                        b"\x89PNG\r\n\x1a\n"
                        + chunk(b"IHDR", head)
                        + more
                        + palette
                        + transparent
                        + chunk(b"IDAT", zlib.compress(rows))
                        + chunk(b"IEND", b""),
                    )
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "nothing")
    for mode, size, level in itertools.product(("L", "RGB"), ((60, 48), (48, 48), (49, 77)), (0, 6, 9)):
        name = f"plain-{mode}-{size[0]}x{size[1]}-{level}.png"
        yield name, encoded(base(*size).convert(mode), "PNG", compress_level=level)
    yield "text.png", encoded(base(), "PNG", pnginfo=info, dpi=(72, 72))
    yield "cut.png", encoded(base(), "PNG")[:-200]
    yield "no-end.png", encoded(base(), "PNG")[:-12]
    first = base(64, SIDE)
    yield "animated.png", encoded(first, "PNG", save_all=True, append_images=[base(64, SIDE).rotate(180)])


def _webps() -> Iterator[tuple[str, bytes]]:
    """WebP: lossy and lossless, with and without alpha, metadata and odd sizes."""
    for lossless, clear, width in itertools.product((False, True), (False, True), range(50, 60)):
        image = _clear(base(width)) if clear else base(width)
        name = f"{'lossless' if lossless else 'lossy'}{'-clear' if clear else ''}-{width}"
        yield f"{name}.webp", encoded(image, "WEBP", lossless=lossless, quality=80)
        for value in (1, 3, 6):
            exif = tiff_block(value)
            yield f"{name}-exif-{value}.webp", encoded(image, "WEBP", lossless=lossless, exif=exif)
            xmp = xmp_packet(f'tiff:Orientation="{value}"/>')
            yield f"{name}-xmp-{value}.webp", encoded(image, "WEBP", lossless=lossless, xmp=xmp)
    frames = [base(50), base(50).rotate(180)]
    yield "animated.webp", encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:])
    yield "cut.webp", encoded(base(), "WEBP")[:-100]


def _tiffs() -> Iterator[tuple[str, bytes]]:
    """TIFF: modes, compression, orientation in its own tag and in XMP."""
    image = base()
    inks = {mode: image.convert(mode) for mode in ("1", "L", "RGB", "CMYK", "YCbCr", "LAB")}
    sixteen = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    modes = {
        **inks,
        "P": image.quantize(16),
        "RGBA": _clear(image),
        "LA": _clear(image).convert("LA"),
        "I;16": sixteen,
        "I": Image.fromarray(np.asarray(image.convert("L")).astype(np.int32) * 1000),
        "F": Image.fromarray(np.asarray(image.convert("L")).astype(np.float32) / 255),
        "F-levels": Image.fromarray(np.asarray(image.convert("L")).astype(np.float32)),
    }
    for (mode, one), value in itertools.product(modes.items(), VALUES):
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[0x112] = value
        yield f"{mode}-{value}.tif", encoded(one, "TIFF", tiffinfo=tags)
        packet = TiffImagePlugin.ImageFileDirectory_v2()
        packet[700] = xmp_packet(f'tiff:Orientation="{value}"/>')
        packet.tagtype[700] = 1
        yield f"{mode}-xmp-{value}.tif", encoded(one, "TIFF", tiffinfo=packet)
    ways = itertools.product(("tiff_lzw", "tiff_deflate", "packbits", "jpeg"), ("L", "RGB"), (1, 3, 5, 6, 8))
    for compression, mode, value in ways:
        how = {"compression": compression, "tiffinfo": {0x112: value}}
        yield f"{compression}-{mode}-{value}.tif", encoded(modes[mode], "TIFF", **how)
    for (form, packet), value, other in itertools.product(XMP, (1, 6, 8), (0, 1, 3, 6)):
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[0x112], tags[700] = other, packet(value)
        tags.tagtype[700] = 1
        yield f"RGB-{other}-before-xmp-{form}-{value}.tif", encoded(image, "TIFF", tiffinfo=tags)
    yield "big.tif", encoded(image, "TIFF", big_tiff=True)
    associated = bytearray(encoded(_clear(image), "TIFF"))
    associated[associated.index(struct.pack("<HHIHH", 338, 3, 1, 2, 0)) + 8] = 1
    yield "associated.tif", bytes(associated)
    yield "white-is-0.tif", encoded(sixteen, "TIFF", tiffinfo={262: 0})
    yield "cut.tif", encoded(image, "TIFF")[:-500]


def _others() -> Iterator[tuple[str, bytes]]:
    """BMP, PNM and JPEG 2000."""
    image = base()
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        one = _clear(image) if mode == "RGBA" else image.convert(mode)
        yield f"{mode}.bmp", encoded(one, "BMP")
    for mode in ("L", "LA", "RGB", "RGBA", "I;16"):
        one = image.convert("L") if mode == "I;16" else _clear(image).convert(mode)
        if mode == "I;16":
            one = Image.fromarray(np.asarray(one).astype(np.uint16) * 257)
        yield f"{mode}.jp2", encoded(one, "JPEG2000")
    random = np.random.default_rng(1)
    for most in (1, 3, 31, 100, 255, 256, 1000, 4095, 65535):
        for kind, channels in ((5, 1), (6, 3)):
            values = random.integers(0, most + 1, 50 * SIDE * channels)
            packed = values.astype(np.uint8 if most < 256 else ">u2").tobytes()
            yield f"P{kind}-{most}.pnm", b"P%d 50 %d %d\n" % (kind, SIDE, most) + packed
            text = " ".join(map(str, values.tolist())).encode()
            yield f"P{kind - 3}-{most}.pnm", b"P%d 50 %d %d\n" % (kind - 3, SIDE, most) + text
    yield "bits.pbm", b"P4 56 48\n" + random.bytes(7 * SIDE)
