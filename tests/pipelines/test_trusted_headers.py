"""DALI can parse every file that it gets unchanged, whichever byte of the header is altered.

A header that it cannot parse ends the process in a batch of 32 or more; a body that it cannot decode doesn't.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from nvidia.dali import fn, pipeline_def, types
from PIL import Image

from alexnet_fast.pipelines.transcode import trusted_size

# What DALI says of a body; anything else that it says is of a header.
OF_A_BODY = "Failed to decode sample"


def encoded(kind: str, mode: str = "RGB", **options: object) -> bytes:
    random = np.random.default_rng(0)
    blocks = random.integers(0, 255, (9, 12, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    file = io.BytesIO()
    Image.fromarray(blocks).convert(mode).save(file, kind, **options)
    return file.getvalue()


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


FILES = {
    "JPEG": lambda: encoded("JPEG"),
    "turned JPEG": lambda: encoded("JPEG", exif=turned()),
    "progressive JPEG": lambda: encoded("JPEG", progressive=True),
    "grey JPEG": lambda: encoded("JPEG", "L"),
    "full colour JPEG": lambda: encoded("JPEG", subsampling=0),
    "PNG": lambda: encoded("PNG"),
    "grey PNG": lambda: encoded("PNG", "L"),
    "WebP": lambda: encoded("WEBP"),
    "lossless WebP": lambda: encoded("WEBP", lossless=True),
}


@pytest.fixture
def decode() -> Callable[[bytes], str]:
    """Decodes a file with DALI alone; returns its error, "" if there is none."""
    current = [b""]

    @pipeline_def(batch_size=1, num_threads=1, device_id=None, exec_async=False, exec_pipelined=False)
    def graph():
        source = lambda: [np.frombuffer(current[0], np.uint8)]  # noqa: E731
        return fn.decoders.image(fn.external_source(source=source, dtype=types.UINT8), device="cpu")

    pipeline = graph()

    def run(content: bytes) -> str:
        nonlocal pipeline
        current[0] = content
        try:
            pipeline.run()
        except RuntimeError as error:
            # It is of no use any more.
            pipeline = graph()
            return str(error).partition("encountered:")[2].strip() or str(error)
        return ""

    return run


def with_another_byte(content: bytes, places: int, values: int) -> Iterator[bytes]:
    """Yields files that differ in one of the first bytes."""
    for place in range(min(len(content), places)):
        old = content[place]
        others = dict.fromkeys((old ^ 1, 0, old ^ 0x20, 0xFF, 1, 2, 3, 0x7F, 0x80, 0xFE, old ^ 0x80))
        for value in [value for value in others if value != old][:values]:
            yield content[:place] + bytes([value]) + content[place + 1 :]


@pytest.mark.parametrize(
    ("places", "values"),
    [pytest.param(64, 4, id="few"), pytest.param(700, 11, id="many", marks=pytest.mark.soak)],
)
@pytest.mark.parametrize("kind", FILES)
def test_no_changed_byte_of_a_header_gets_by(
    kind: str, places: int, values: int, decode: Callable[[bytes], str]
) -> None:
    whole = FILES[kind]()
    assert trusted_size(whole) is not None
    assert decode(whole) == ""
    trusted = [file for file in with_another_byte(whole, places, values) if trusted_size(file) is not None]
    assert trusted
    found = {file[:40]: said for file in trusted if (said := decode(file)) and OF_A_BODY not in said}
    assert found == {}


@pytest.mark.parametrize("kind", FILES)
def test_every_byte_of_the_signature_counts(kind: str) -> None:
    whole = FILES[kind]()
    for place in range({"W": 4, "P": 8}.get(kind.rsplit(maxsplit=1)[-1][0], 3)):
        assert trusted_size(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]) is None
