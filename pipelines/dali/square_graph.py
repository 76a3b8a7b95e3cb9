"""The DALI graph of a server: encoded images in, the squares that a network takes out.

Training computes the geometry of each image outside of its graph (`windows`); here it is inside, since a
server that is not ours runs the graph alone.
"""

from __future__ import annotations

from typing import Any

from nvidia.dali import Pipeline, fn, types

from alexnet_fast.pipelines.dali.graph import Device
from alexnet_fast.pipelines.decoder import DecoderSettings

ENCODED = "encoded"


def build_square_graph(
    side: int, *, device: Device, batch_size: int, threads: int, device_id: int | None = None
) -> Pipeline:
    """Defines the graph; nothing is built or run yet.

    Args:
        side: Length in pixels of the shorter side after resizing, and of the square.
        device: Where images are decoded and resized.
        batch_size: Largest batch.
        threads: DALI's worker threads.
        device_id: CUDA device; None defines a graph that can be serialized, and on "cpu" run, without a GPU.

    Returns:
        A pipeline with the open input "encoded" (uint8, files, which zeros may follow) and one output, uint8
        (N, side, side, 3), RGB.
    """
    # Requests come when they come: nothing is prepared ahead.
    graph = Pipeline(
        batch_size=batch_size,
        num_threads=threads,
        device_id=device_id,
        prefetch_queue_depth=1,
        exec_dynamic=True,
    )
    decoder: dict[str, Any] = DecoderSettings().arguments() if device == "gpu" else {}
    with graph:
        encoded = fn.external_source(name=ENCODED, dtype=types.UINT8, ndim=1)
        image = fn.decoders.image(encoded, output_type=types.RGB, adjust_orientation=True, **decoder)
        small = fn.resize(
            image, resize_shorter=side, interp_type=types.INTERP_TRIANGULAR, subpixel_scale=False
        )
        # Truncated, the middle is where `pillow_image.centre_square` has it.
        graph.set_outputs(fn.crop(small, crop=(side, side), rounding="truncate"))
    return graph
