"""The DALI graphs: one definition for the CPU and the GPU.

What a graph does to each image is computed outside for a whole batch at once
(`crop_windows.view_windows`, `cpu.finish.changes_of`). So it holds no state that a checkpoint would have to
keep, and no operators that work on single numbers: a dozen of those took as long as decoding. The functions
that build it are rewritten by DALI, so that an `if` on an input sends each image its own way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from nvidia.dali import Pipeline, fn, pipeline_def, types

from alexnet_fast.pipelines.crop_windows import View
from alexnet_fast.pipelines.loader import DecoderSettings
from alexnet_fast.pipelines.prefetch import InputKind
from alexnet_fast.pipelines.spec import AugmentSpec

Device = Literal["cpu", "gpu"]
Part = Literal["reading", "decoding", "resizing"]
Source = Callable[[], Mapping[str, Any]]
Kinds = dict[str, tuple[Any, int]]

# Inputs by name: type and dimensions of an image's value.
_SOURCES: dict[InputKind, Kinds] = {
    "bytes": {"encoded": (types.UINT8, 1)},
    "regions": {"pixels": (types.UINT8, 3)},
}
_PART = {"start": (types.INT32, 1), "end": (types.INT32, 1)}
_VIEW = {
    "roi_start": (types.FLOAT, 1),
    "roi_end": (types.FLOAT, 1),
    "size": (types.FLOAT, 1),
    "needs_resize": (types.BOOL, 0),
}
_CHANGES = {"mirror": (types.INT32, 0), "mean": (types.FLOAT, 1)}
_COLORS = {"matrix": (types.FLOAT, 2)}


def build_graph(  # noqa: PLR0913 - all by name; each is a property of the graph
    spec: AugmentSpec,
    view: View,
    *,
    device: Device,
    batch_size: int,
    threads: int,
    half: bool = False,
    region: bool | None = None,
    normalize: bool | None = None,
    device_id: int | None = None,
    prefetch: int = 2,
    decoder: DecoderSettings | None = None,
    source: Source | None = None,
    input_kind: InputKind = "bytes",
    stop_after: Part | None = None,
) -> Pipeline:
    """Defines a graph; does not build or run it.

    Args:
        spec: Normalisation and colours; the geometry comes with each batch.
        view: "train" (random crop, flip, jitter), "eval" (the single crop) or "square" (uint8, uncropped,
            for the ten crops).
        device: Where images are decoded and everything after.
        batch_size: Largest batch.
        threads: DALI's worker threads.
        half: Normalised pixels in float16 instead of float32.
        region: Decode only what the view shows, instead of the whole image; by default on the CPU alone,
            since a GPU's hardware decoder takes whole images.
        normalize: Mirror, jitter and normalise in the graph; by default on the GPU alone, since
            `cpu.finish.normalize` is faster on a CPU. A "square" is never normalised.
        device_id: CUDA device; None defines a graph that can be serialized, and on "cpu" run, without a GPU.
        prefetch: Batches prepared ahead.
        decoder: How a GPU decodes.
        source: Returns the inputs of the next batch by name: those of `input_kind`, fields of `CropWindows`,
            and fields of `Changes` if the graph normalises; None leaves these inputs open.
        input_kind: "bytes" ("encoded" images, uint8), or "regions" ("pixels" of the parts that the windows
            name, uint8 HWC: nothing is decoded).
        stop_after: Leave out everything after a part of the work, to measure what the parts cost.

    Returns:
        A pipeline with one output in HWC order: uint8 (N, side, side, 3), or float if it normalises.
    """
    by_region = device == "cpu" if region is None else region
    finish = view != "square" and (device == "gpu" if normalize is None else normalize)
    kinds = _inputs_of(spec, view, input_kind, normalize=finish, stop_after=stop_after)
    # Made here: what is made inside the graph's function is rewritten by DALI and slow ever after.
    feed = None if source is None else _in_order(source, kinds)
    settings = decoder or DecoderSettings()

    @pipeline_def(  # type: ignore[untyped-decorator, unused-ignore]
        batch_size=batch_size,
        num_threads=threads,
        device_id=device_id if device == "gpu" else None,
        prefetch_queue_depth=prefetch,
        exec_dynamic=True,
        enable_conditionals=True,
        set_affinity=device == "gpu" and settings.affinity,
    )
    def graph() -> Any:
        inputs = _inputs(feed, kinds)
        (raw,) = (inputs[name] for name in _SOURCES[input_kind])
        if stop_after == "reading":
            return raw
        if input_kind == "regions":
            image = raw.gpu() if device == "gpu" else raw
        else:
            image = _decode(raw, inputs, by_region, settings.arguments() if device == "gpu" else {})
        if stop_after == "decoding":
            return image
        cut = _resize(image, inputs)
        if stop_after == "resizing" or not finish:
            return cut
        return _normalize(cut, inputs, spec, types.FLOAT16 if half else types.FLOAT)

    built: Pipeline = graph()
    return built


def _inputs_of(
    spec: AugmentSpec, view: View, input_kind: InputKind, *, normalize: bool, stop_after: Part | None
) -> Kinds:
    """Returns the types of the inputs: what is read, and fields of `CropWindows` and `Changes`."""
    kinds = _SOURCES[input_kind]
    if stop_after == "reading":
        return kinds
    if input_kind != "regions":
        kinds = kinds | _PART
    if stop_after == "decoding":
        return kinds
    kinds = kinds | _VIEW
    if stop_after == "resizing" or not normalize:
        return kinds
    jitters = view == "train" and spec.color_jitter is not None
    return kinds | _CHANGES | (_COLORS if jitters else {})


def _inputs(feed: Callable[[], tuple[Any, ...]] | None, kinds: Kinds) -> dict[str, Any]:
    """Declares the inputs of a graph."""
    if feed is None:
        return {
            name: fn.external_source(name=name, dtype=dtype, ndim=dimensions, layout=_layout(name))
            for name, (dtype, dimensions) in kinds.items()
        }
    outputs = fn.external_source(
        feed,
        num_outputs=len(kinds),
        batch=True,
        dtype=[dtype for dtype, _ in kinds.values()],
        ndim=[dimensions for _, dimensions in kinds.values()],
        layout=[_layout(name) for name in kinds],
    )
    return {name: outputs[position] for position, name in enumerate(kinds)}


def _layout(name: str) -> str:
    """Returns the layout of an input; only pixels have one."""
    return "HWC" if name == "pixels" else ""


def _in_order(source: Source, kinds: Kinds) -> Callable[[], tuple[Any, ...]]:
    """Returns a source of the inputs in the order in which they are declared."""

    def feed() -> tuple[Any, ...]:
        inputs = source()
        return tuple(inputs[name] for name in kinds)

    return feed


def _decode(encoded: Any, inputs: dict[str, Any], by_region: bool, device: dict[str, Any]) -> Any:
    """Decodes the part of each file that its window names: RGB, upright by EXIF.

    Args:
        encoded: The files.
        inputs: The windows.
        by_region: Decode that part alone; else the whole image, and cut it afterwards.
        device: Arguments of a decoder that is not on the CPU.
    """
    kind: dict[str, Any] = {"output_type": types.RGB, "adjust_orientation": True, **device}
    part: dict[str, Any] = {"axes": [0, 1], "start": inputs["start"], "end": inputs["end"]}
    if by_region:
        return fn.decoders.image_slice(encoded, **part, **kind)
    return fn.slice(fn.decoders.image(encoded, **kind), **part)


def _resize(image: Any, inputs: dict[str, Any]) -> Any:
    """Resizes the decoded part to the view, at the scale of the whole image.

    So the pixels are those of decoding, resizing and cutting, but for rounding: one level on about one value
    in 10,000. An image of the right size is not resized at all.
    """
    if inputs["needs_resize"]:
        cut = fn.resize(
            image,
            size=inputs["size"],
            roi_start=inputs["roi_start"],
            roi_end=inputs["roi_end"],
            interp_type=types.INTERP_TRIANGULAR,
            subpixel_scale=False,
        )
    else:
        cut = image
    return cut


def _normalize(cut: Any, inputs: dict[str, Any], spec: AugmentSpec, dtype: Any) -> Any:
    """Mirrors, jitters and normalises in one operator, after one more if there is colour jitter."""
    if "matrix" in inputs:
        cut = fn.coord_transform(cut, M=inputs["matrix"], dtype=types.FLOAT)
    return fn.crop_mirror_normalize(
        cut,
        mirror=inputs["mirror"],
        mean=inputs["mean"],
        std=list(spec.std),
        dtype=dtype,
        output_layout="HWC",
    )


ENCODED = "encoded"


def build_square_graph(
    side: int, *, device: Device, batch_size: int, threads: int, device_id: int | None = None
) -> Pipeline:
    """Defines the graph that unpacks served images; does not build or run it.

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
        # Truncated, the middle is where `cpu.pillow.centre_square` has it.
        graph.set_outputs(fn.crop(small, crop=(side, side), rounding="truncate"))
    return graph
