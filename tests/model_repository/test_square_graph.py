"""The graph that Triton runs gives the pixels of training for any image."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from alexnet_fast.pipelines.cpu.pillow import centre_square, decode
from alexnet_fast.pipelines.dali.graph import build_square_graph
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.serve.triton.rows import padded_rows


def files(photograph: Image.Image) -> list[bytes]:
    """Sizes whose middle lies between two pixels, extreme ones, every orientation, grey and CMYK."""
    sizes = ((640, 427), (427, 640), (256, 257), (257, 256), (256, 256), (333, 271), (900, 31), (29, 801))
    made = [(photograph.resize(size), Image.Exif()) for size in sizes]
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        made.append((photograph.resize((321, 214)), exif))
    made += [(photograph.convert(mode), Image.Exif()) for mode in ("L", "CMYK")]
    encoded = []
    for image, exif in made:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=90, exif=exif)
        encoded.append(file.getvalue())
    return encoded


@pytest.mark.parametrize("side", [64, 227, 256])
def test_the_square_graph_gives_the_pixels_of_training(photographs, side):
    encoded = files(photographs[0])
    graph = build_square_graph(side, device="cpu", batch_size=len(encoded), threads=2)
    graph.build()
    graph.feed_input("encoded", list(padded_rows(encoded)))
    (squares,) = graph.run()
    spec = AugmentSpec(resize=side, crop=side)
    for place, file in enumerate(encoded):
        wanted = centre_square(decode(io.BytesIO(file)), spec)
        assert np.abs(np.asarray(squares[place]).astype(int) - wanted).max() <= 1, place


@pytest.mark.gpu
def test_the_square_graph_runs_on_a_gpu(photographs):
    encoded = files(photographs[0])[:4]
    graph = build_square_graph(64, device="gpu", batch_size=4, threads=2, device_id=0)
    graph.build()
    graph.feed_input("encoded", list(padded_rows(encoded)))
    (squares,) = graph.run()
    spec = AugmentSpec(resize=64, crop=64)
    for file, square in zip(encoded, squares.as_cpu(), strict=True):
        wanted = centre_square(decode(io.BytesIO(file)), spec)
        assert np.abs(np.asarray(square).astype(int) - wanted).max() <= 2
