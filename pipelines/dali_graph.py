"""The DALI graphs: one definition for the CPU and the GPU.

A graph reads files by name and gets its random numbers from outside (`plan.BatchPlan`), so it holds no state
that a checkpoint would have to keep. The functions that build it are rewritten by DALI, so that an `if` on a
picture's size sends each picture its own way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from nvidia.dali import Pipeline, fn, math, pipeline_def, types

from alexnet_fast.pipelines.reading import Reading
from alexnet_fast.pipelines.spec import AugmentSpec

Device = Literal["cpu", "gpu"]
View = Literal["train", "centre", "square"]
Part = Literal["reading", "decoding", "resizing"]
Source = Callable[[], tuple[list[Any], ...]]

# Name, type and axes of the graph's inputs besides the draws, by what is read.
_COLUMNS: dict[Reading, list[tuple[str, Any, int]]] = {
    "files": [("names", types.UINT8, 1)],
    "bytes": [("encoded", types.UINT8, 1)],
    "regions": [("pixels", types.UINT8, 3), ("places", types.FLOAT, 1)],
}

# Largest picture of ImageNet, 5980 x 6430 (MLPerf): decoding memory is taken once, not picture by picture.
_PREALLOCATE = {"preallocate_width_hint": 5980, "preallocate_height_hint": 6430}

# Pixels decoded around a window besides the reach of the resizing filter: room for rounding.
_SPARE = 2.0


def build_graph(  # noqa: PLR0913 - all by name; each is a property of the graph
    spec: AugmentSpec,
    view: View,
    *,
    device: Device,
    batch_size: int,
    threads: int,
    half: bool = False,
    region: bool | None = None,
    device_id: int | None = None,
    prefetch: int = 2,
    source: Source | None = None,
    reading: Reading = "files",
    stop_after: Part | None = None,
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
        region: Decode and resize only what the view shows, instead of the whole picture; by default on the
            CPU alone, since a GPU's hardware decoder takes whole pictures.
        device_id: CUDA device; None defines a graph that can be serialized, and on "cpu" run, without a GPU.
        prefetch: Batches prepared ahead.
        source: Returns the next batch: what `reading` says, and for "train" the draws as float32 arrays; None
            leaves the inputs "names" (or "encoded", or "pixels" and "places") and "draws" open.
        reading: What comes in: "files" (names, uint8), "bytes" (encoded pictures, uint8), or "regions"
            (pixels, uint8 HWC, and float32 (5,) as in `array_window.ArrayWindow`).
        stop_after: Leave out everything after a part of the work, to measure what the parts cost.

    Returns:
        A pipeline with one output in HWC order: float (N, crop, crop, 3), or uint8 (N, resize, resize, 3).
    """
    by_region = device == "cpu" if region is None else region
    locate, resize = (_locate_region, _resize_region) if by_region else (_locate_whole, _resize_whole)
    dtype = types.FLOAT16 if half else types.FLOAT

    @pipeline_def(  # type: ignore[untyped-decorator, unused-ignore]
        batch_size=batch_size,
        num_threads=threads,
        device_id=device_id if device == "gpu" else None,
        prefetch_queue_depth=prefetch,
        exec_dynamic=True,
        enable_conditionals=True,
        set_affinity=device == "gpu",
    )
    def graph() -> Any:
        inputs, draws = _inputs(source, view, reading)
        encoded = fn.io.file.read(inputs[0]) if reading == "files" else inputs[0]
        if stop_after == "reading":
            return encoded
        side = spec.resize if view == "square" else spec.crop
        if reading == "regions":
            picture, window = _on_device(encoded, device), _given_window(inputs[1], side)
        else:
            size = fn.cast(fn.peek_image_shape(encoded), dtype=types.FLOAT)
            window = locate(_window(size[0], size[1], spec.resize, side, draws))
            picture = _decode(encoded, window, device)
        if stop_after == "decoding":
            return picture
        cut = _resize_region(picture, window) if reading == "regions" else resize(picture, window)
        if view == "square" or stop_after == "resizing":
            return cut
        return _normalised(cut, draws, spec, dtype)

    built: Pipeline = graph()
    return built


def _inputs(source: Source | None, view: View, reading: Reading) -> tuple[list[Any], Any]:
    """Declares the inputs of a view: what is read, and draws (else None) where something is random."""
    random = view == "train"
    columns = [*_COLUMNS[reading], ("draws", types.FLOAT, 1)] if random else list(_COLUMNS[reading])
    if source is None:
        found = [
            fn.external_source(name=name, dtype=kind, ndim=axes, layout="HWC" if axes == 3 else None)
            for name, kind, axes in columns
        ]
    else:
        found = fn.external_source(
            source,
            num_outputs=len(columns),
            batch=True,
            dtype=[kind for _, kind, _ in columns],
            ndim=[axes for _, _, axes in columns],
            layout=["HWC" if axes == 3 else "" for _, _, axes in columns],
        )
    return (found[:-1], found[-1]) if random else (found, None)


def _on_device(pixels: Any, device: Device) -> Any:
    """Moves pixels that need no decoding to where decoded ones would be."""
    return pixels.gpu() if device == "gpu" else pixels


def _given_window(view: Any, side: int) -> dict[str, Any]:
    """Returns what `_resize_region` needs to know of a region that was cut from an array."""
    return {"roi_start": view[0:2], "roi_end": view[2:4], "needed": view[4] != 0.0, "side": side}


def _window(height: Any, width: Any, shorter: int, side: int, draws: Any) -> dict[str, Any]:
    """Says which part of an upright picture a view shows.

    Args:
        height: Of the file, in pixels.
        width: Of the file, in pixels.
        shorter: Length of the shorter side after resizing.
        side: Side of the view, in pixels after resizing.
        draws: Random numbers, or None for the centre.

    Returns:
        "height", "width" of the file; "tall", "wide" after resizing; "top", "left" and "side" of the view
        after resizing; "needed", whether anything has to be resized.
    """
    scale = float(shorter) / math.min(height, width)
    # As `geometry.resized`; the centre as `length - side >> 1`, the random place as `geometry.crop_start`.
    tall, wide = math.floor(height * scale + 0.5), math.floor(width * scale + 0.5)
    if draws is None:
        top, left = math.floor((tall - side) * 0.5), math.floor((wide - side) * 0.5)
    else:
        top = math.min(tall - side, math.floor(draws[0] * (tall - side + 1.0)))
        left = math.min(wide - side, math.floor(draws[1] * (wide - side + 1.0)))
    return {
        "height": height,
        "width": width,
        "tall": tall,
        "wide": wide,
        "top": top,
        "left": left,
        "side": side,
        "needed": math.min(height, width) != float(shorter),
    }


def _locate_region(window: dict[str, Any]) -> dict[str, Any]:
    """Adds where the view lies in the file and which part of the file to decode for it."""
    needed = window["needed"]
    rows = _source_span(window["height"], window["tall"], window["top"], window["side"], needed)
    columns = _source_span(window["width"], window["wide"], window["left"], window["side"], needed)
    return {
        **window,
        "roi_start": fn.stack(rows[0] - rows[2], columns[0] - columns[2]),
        "roi_end": fn.stack(rows[1] - rows[2], columns[1] - columns[2]),
        "start": fn.cast(fn.stack(rows[2], columns[2]), dtype=types.INT32),
        "end": fn.cast(fn.stack(rows[3], columns[3]), dtype=types.INT32),
    }


def _source_span(length: Any, resized: Any, start: Any, side: int, needed: Any) -> tuple[Any, Any, Any, Any]:
    """Maps a view back to the file along one axis.

    Args:
        length: Of the file.
        resized: Its length after resizing.
        start: Of the view, after resizing.
        side: Of the view, after resizing.
        needed: Whether anything has to be resized.

    Returns:
        Where the view begins and ends in the file (fractions of pixels), and the whole pixels to decode.
    """
    scale = length / resized
    begin, end = start * scale, (start + side) * scale
    # The filter reaches as far as the scale; without resizing exactly the view is decoded.
    reach = fn.cast(needed, dtype=types.FLOAT) * (math.max(scale, 1.0) + _SPARE)
    return begin, end, math.max(math.floor(begin - reach), 0.0), math.min(math.ceil(end + reach), length)


def _locate_whole(window: dict[str, Any]) -> dict[str, Any]:
    """Adds nothing: the whole file is decoded."""
    return window


def _decode(encoded: Any, window: dict[str, Any], device: Device) -> Any:
    """Decodes the part of each file that the window names, or the whole: RGB, upright by EXIF.

    Fancy upsampling is what libjpeg does by default: the GPU's chroma then matches the CPU's.
    """
    gpu: dict[str, Any] = {"device": "mixed", **_PREALLOCATE} if device == "gpu" else {}
    kind: dict[str, Any] = {
        "output_type": types.RGB,
        "adjust_orientation": True,
        "jpeg_fancy_upsampling": True,
        **gpu,
    }
    if "start" in window:
        return fn.decoders.image_slice(encoded, axes=[0, 1], start=window["start"], end=window["end"], **kind)
    return fn.decoders.image(encoded, **kind)


def _resize_region(picture: Any, window: dict[str, Any]) -> Any:
    """Resizes the decoded region to the view, at the scale of the whole picture.

    So the pixels are those of decoding, resizing and cutting, but for rounding: one level on about one value
    in 10,000. A picture of the right size is not resized at all.
    """
    if window["needed"]:
        cut = fn.resize(
            picture,
            size=[float(window["side"]), float(window["side"])],
            roi_start=window["roi_start"],
            roi_end=window["roi_end"],
            interp_type=types.INTERP_TRIANGULAR,
            subpixel_scale=False,
        )
    else:
        cut = picture
    return cut


def _resize_whole(picture: Any, window: dict[str, Any]) -> Any:
    """Resizes the whole picture where that is needed, and cuts the view."""
    if window["needed"]:
        small = fn.resize(
            picture,
            size=fn.stack(window["tall"], window["wide"]),
            interp_type=types.INTERP_TRIANGULAR,
            subpixel_scale=False,
        )
    else:
        small = picture
    corner = fn.cast(fn.stack(window["top"], window["left"]), dtype=types.INT32)
    return fn.slice(small, start=corner, shape=[window["side"], window["side"]], axes=[0, 1])


def _normalised(cut: Any, draws: Any, spec: AugmentSpec, dtype: Any) -> Any:
    """Mirrors, jitters and normalises in one operator, as the draws say; None for none of it."""
    mean = types.Constant(list(spec.mean), dtype=types.FLOAT)
    common: dict[str, Any] = {"std": list(spec.std), "dtype": dtype, "output_layout": "HWC"}
    if draws is None:
        return fn.crop_mirror_normalize(cut, mean=list(spec.mean), **common)
    # Adding the jitter to every pixel is subtracting a mean that is smaller by it.
    mirror = fn.cast(draws[2], dtype=types.INT32)
    return fn.crop_mirror_normalize(cut, mirror=mirror, mean=mean - draws[3:6], **common)
