"""The DALI graphs: one definition for the CPU and the GPU.

A graph reads files by name and gets its random numbers from outside (`plan.BatchPlan`), so it holds no state
that a checkpoint would have to keep.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from nvidia.dali import Pipeline, fn, math, types

from alexnet_fast.pipelines.spec import AugmentSpec

Device = Literal["cpu", "gpu"]
View = Literal["train", "centre", "square"]
Source = Callable[[], tuple[list[Any], ...]]

# Largest picture of ImageNet, 5980 x 6430 (MLPerf): decoding memory is taken once, not picture by picture.
_PREALLOCATE = {"preallocate_width_hint": 5980, "preallocate_height_hint": 6430}


def build_graph(  # noqa: PLR0913 - all by name; each is a property of the graph
    spec: AugmentSpec,
    view: View,
    *,
    device: Device,
    batch_size: int,
    threads: int,
    half: bool = False,
    device_id: int | None = None,
    prefetch: int = 2,
    source: Source | None = None,
) -> Pipeline:
    """Defines a graph; nothing is built or run yet.

    Args:
        spec: Geometry and normalisation.
        view: "train" (random crop, flip, jitter), "centre" (the single crop) or "square" (uint8, uncropped,
            for the ten crops).
        device: Where pictures are decoded and everything after.
        batch_size: Largest batch.
        threads: DALI's worker threads.
        half: Normalised pixels in float16 instead of float32.
        device_id: CUDA device; None defines a graph that can be serialized, and on "cpu" run, without a GPU.
        prefetch: Batches prepared ahead.
        source: Returns the next batch: file names as uint8 arrays, and for "train" the draws as float32
            arrays; None leaves the inputs "names" and "draws" open.

    Returns:
        A pipeline with one output in HWC order: float (N, crop, crop, 3), or uint8 (N, resize, resize, 3).
    """
    graph = Pipeline(
        batch_size=batch_size,
        num_threads=threads,
        device_id=device_id if device == "gpu" else None,
        prefetch_queue_depth=prefetch,
        exec_dynamic=True,
        set_affinity=device == "gpu",
    )
    with graph:
        names, *draws = _inputs(source, view)
        picture = _upright_and_small(names, spec, device)
        dtype = types.FLOAT16 if half else types.FLOAT
        graph.set_outputs(
            _training_view(picture, draws[0], spec, dtype)
            if draws
            else _still_view(picture, spec, view, dtype)
        )
    return graph


def _inputs(source: Source | None, view: View) -> list[Any]:
    """Declares the inputs of a view: file names, and draws where something is random."""
    kinds = [types.UINT8, types.FLOAT] if view == "train" else [types.UINT8]
    if source is not None:
        return list(
            fn.external_source(source, num_outputs=len(kinds), batch=True, dtype=kinds, ndim=[1] * len(kinds))
        )
    return [
        fn.external_source(name=name, dtype=kind, ndim=1)
        for name, kind in zip(("names", "draws"), kinds, strict=False)
    ]


def _upright_and_small(names: Any, spec: AugmentSpec, device: Device) -> Any:
    """Reads, decodes (EXIF applied) and resizes: the shorter side becomes `spec.resize`."""
    encoded = fn.io.file.read(names)
    gpu: dict[str, Any] = {"device": "mixed", **_PREALLOCATE} if device == "gpu" else {}
    # Fancy upsampling is what libjpeg does by default: the GPU's chroma then matches the CPU's.
    picture = fn.decoders.image(
        encoded, output_type=types.RGB, adjust_orientation=True, jpeg_fancy_upsampling=True, **gpu
    )
    # The whole source maps onto the rounded size, as in Pillow, instead of keeping a fractional scale.
    return fn.resize(
        picture,
        resize_shorter=float(spec.resize),
        interp_type=types.INTERP_TRIANGULAR,
        subpixel_scale=False,
    )


def _still_view(picture: Any, spec: AugmentSpec, view: View, dtype: Any) -> Any:
    """Cuts the uint8 square or the normalised centre crop."""
    # 0.5 truncated is (length - side) // 2, the centre of every loader.
    centre: dict[str, Any] = {"crop_pos_x": 0.5, "crop_pos_y": 0.5, "rounding": "truncate"}
    if view == "square":
        return fn.crop(picture, crop=(spec.resize, spec.resize), **centre)
    return fn.crop_mirror_normalize(picture, mean=list(spec.mean), **centre, **_normalised(spec, dtype))


def _training_view(picture: Any, draws: Any, spec: AugmentSpec, dtype: Any) -> Any:
    """Cuts, mirrors, jitters and normalises in one operator, as the draws say."""
    shape = picture.shape()
    mean = types.Constant(list(spec.mean), dtype=types.FLOAT)
    return fn.crop_mirror_normalize(
        picture,
        crop_pos_y=_crop_position(draws[0], shape[0], spec.crop),
        crop_pos_x=_crop_position(draws[1], shape[1], spec.crop),
        mirror=fn.cast(draws[2], dtype=types.INT32),
        # Adding the jitter to every pixel is subtracting a mean that is smaller by it.
        mean=mean - draws[3:6],
        **_normalised(spec, dtype),
    )


def _normalised(spec: AugmentSpec, dtype: Any) -> dict[str, Any]:
    """Returns what both normalised views share."""
    return {
        "crop": (spec.crop, spec.crop),
        "std": list(spec.std),
        "dtype": dtype,
        "output_layout": "HWC",
    }


def _crop_position(position: Any, length: Any, crop: int) -> Any:
    """Turns a uniform number into DALI's relative crop position, as `geometry.crop_start` places it."""
    room = fn.cast(length, dtype=types.FLOAT) - float(crop)
    start = math.min(room, math.floor(position * (room + 1.0)))
    return start / math.max(room, 1.0)
