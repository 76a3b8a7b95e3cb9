"""Unparsable files never reach a decoder in a batch of any size.

DALI's decoder ends the process where a batch of 32 or more holds a file whose header it cannot parse.
"""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.mark.parametrize(
    "sizes",
    [(128,), pytest.param((32, 64, 200, 256), marks=pytest.mark.slow)],
    ids=["one size", "more sizes"],
)
def test_unparsable_files_in_large_batches_are_named_and_the_others_used(
    tmp_path: Path, sizes: tuple[int, ...]
) -> None:
    random = np.random.default_rng(0)
    for number in range(300):
        side = 40 + number % 7
        pixels = random.integers(0, 256, (side, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"good-{number:03d}.jpg")
    whole = (tmp_path / "good-000.jpg").read_bytes()
    frame = whole.index(b"\xff\xc0")
    for name, content in {
        "empty.jpg": b"",
        "zero.jpg": b"\0",
        "text.jpg": b"garbage, not an image",
        "html.png": b"<!doctype html><title>404</title>",
        "signature.png": b"\x89PNG\r\n\x1a\nbroken",
        "start.jpg": whole[:20],
        "frameless.jpg": whole[:frame] + whole[-2:],
        "no-size.jpg": whole[: frame + 5] + bytes(4) + whole[frame + 9 :],
        "cut.jpg": whole[: len(whole) // 2],
        "cut.jp2": jpeg_2000()[:300],
        "riff.webp": b"RIFF\x10\0\0\0WEBPVP8 ",
        "directory.tif": b"II*\0\xff\xff\xff\xff",
        "header.bmp": b"BM" + bytes(60),
        "size.ppm": b"P6 0 -5 255\n",
    }.items():
        (tmp_path / f"bad-{name}").write_bytes(content)
    script = Path(__file__).with_name("bad_batches.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), *map(str, sizes)],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])


def jpeg_2000() -> bytes:
    """A whole JPEG 2000 file."""
    file = io.BytesIO()
    Image.effect_noise((96, 64), 50).save(file, "JPEG2000")
    return file.getvalue()
