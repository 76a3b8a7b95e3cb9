"""The GPU graph is the CPU graph on another device; it is built and serialized without a GPU."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nvidia.dali import Pipeline, fn, types

from alexnet_fast.data import open_data
from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.augment.color_jitter import ColorJitter
from alexnet_fast.pipelines.color import WHITE
from alexnet_fast.pipelines.cpu.finish import changes_of, normalize
from alexnet_fast.pipelines.crop_windows import View, view_windows
from alexnet_fast.pipelines.dali.graph import build_graph
from alexnet_fast.pipelines.factory import make_loader
from alexnet_fast.pipelines.loader import DecoderSettings, LoaderConfig
from alexnet_fast.pipelines.sampler import EpochSampler
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.pipelines.transcode import for_dali

VIEWS = pytest.mark.parametrize("view", ["train", "eval", "square"])


@VIEWS
@pytest.mark.parametrize("half", [True, False])
def test_the_gpu_graph_serializes_without_a_gpu(view: View, half: bool) -> None:
    graph = build_graph(AugmentSpec(), view, device="gpu", batch_size=128, threads=4, half=half)
    text = graph.serialize()
    assert b"decoders__Image" in text
    assert b"mixed" in text


@VIEWS
@pytest.mark.parametrize("region", [True, False])
def test_cpu_and_gpu_graphs_have_the_same_operators(view: View, region: bool) -> None:
    def operators(device: str) -> list[str]:
        graph = build_graph(
            AugmentSpec(), view, device=device, batch_size=8, threads=2, region=region, normalize=True
        )
        names = re.findall(
            r"[A-Za-z_]*(?:Read|Image|ImageSlice|Resize|Slice|Normalize)\b", str(graph.serialize())
        )
        return sorted(names)

    assert operators("cpu") == operators("gpu")
    assert any(name.endswith("ImageSlice") for name in operators("cpu")) is region


def test_the_cpu_graph_never_names_the_gpu() -> None:
    assert (
        b"mixed" not in build_graph(AugmentSpec(), "train", device="cpu", batch_size=8, threads=2).serialize()
    )


@pytest.mark.gpu
@VIEWS
def test_gpu_pixels_are_cpu_pixels(two_classes: Path, view: View) -> None:
    val = open_data(two_classes).val
    sampler = EpochSampler(num_images=len(val), batch_size=8, shuffle=view == "train")

    def pixels(device: str) -> torch.Tensor:
        config = LoaderConfig(device=torch.device(device))
        loader = make_loader(val, AugmentSpec(), view, sampler, config)
        return torch.cat([batch.images.float().cpu() for batch in loader.epoch(0)])

    assert (pixels("cuda") - pixels("cpu")).abs().max() <= 2


@pytest.mark.gpu
def test_half_precision_arrives_channels_last_without_a_copy(two_classes: Path) -> None:
    val = open_data(two_classes).val
    sampler = EpochSampler(num_images=len(val), batch_size=8, shuffle=False)
    config = LoaderConfig(device=torch.device("cuda"), half=True)
    batch = next(make_loader(val, AugmentSpec(), "eval", sampler, config).epoch(0))
    assert batch.images.dtype == torch.float16
    assert batch.images.is_contiguous(memory_format=torch.channels_last)


def run_once(graph: Pipeline, names: list[Path], **inputs: object) -> np.ndarray:
    """Feeds an open graph one batch and returns the pixels."""
    (pixels,) = graph.run(encoded=contents_of(names), **inputs)
    return np.array(pixels.as_tensor()).astype(np.float32)


def contents_of(files: list[Path]) -> list[np.ndarray]:
    """Returns files as DALI may have them."""
    return [np.frombuffer(for_dali(file.read_bytes(), WHITE).content, np.uint8) for file in files]


def sizes_of(files: list[Path]) -> np.ndarray:
    """Returns height and width of each upright image."""
    return np.array([for_dali(file.read_bytes(), WHITE).size for file in files], np.int64)


def drawn(images: int, spec: AugmentSpec) -> np.ndarray:
    """Returns the random parameters of an epoch."""
    sampler = EpochSampler(num_images=images, batch_size=images, shuffle=True, seed=1)
    return next(sampler.epoch(0, spec)).random_params


def decode_resize_crop(files: list[Path], sizes: np.ndarray, random_params: np.ndarray | None) -> np.ndarray:
    """The plain way: decode and resize whole images to 256, then cut a random 224."""
    graph = Pipeline(batch_size=len(files), num_threads=2, device_id=None, prefetch_queue_depth=1)
    with graph:
        encoded = fn.external_source(name="encoded", dtype=types.UINT8, ndim=1)
        image = fn.decoders.image(encoded, output_type=types.RGB)
        resized = fn.resize(
            image, resize_shorter=256.0, interp_type=types.INTERP_TRIANGULAR, subpixel_scale=False
        )
        graph.set_outputs(resized)
    (pixels,) = graph.run(encoded=contents_of(files))
    found = []
    for position in range(len(files)):
        image = np.array(pixels[position])
        room = np.array(image.shape[:2]) - 224
        top, left = (
            room // 2
            if random_params is None
            else np.floor(random_params[position, :2] * (room + 1)).astype(int)
        )
        found.append(image[top : top + 224, left : left + 224])
    return np.stack(found).astype(np.float32)


@pytest.mark.parametrize("region", [True, False], ids=["region decoded", "whole decoded"])
@pytest.mark.parametrize("view", ["train", "eval"])
def test_the_pixels_are_those_of_decoding_resizing_and_cutting(
    odd_images: Path, view: View, region: bool
) -> None:
    """At most one level of difference, on at most one value in a thousand, for every kind of image."""
    files = sorted(odd_images.iterdir())
    sizes, spec = sizes_of(files), AugmentSpec()
    random_params = drawn(len(files), spec)
    graph = build_graph(spec, view, device="cpu", batch_size=len(files), threads=2, prefetch=1, region=region)
    ours = run_once(graph, files, **view_windows(sizes, random_params, spec, view).dali_inputs())
    plain = decode_resize_crop(files, sizes, random_params if view == "train" else None)
    difference = np.abs(ours - plain)
    print(f"largest {difference.max():.0f}, on {(difference > 0).mean():.6f} of the values")
    assert difference.max() <= 1
    assert (difference > 0).mean() <= 1e-3


@pytest.mark.parametrize(
    "spec",
    [
        AugmentSpec(),
        AugmentSpec(std=(58.0, 57.0, 56.0)),
        AugmentSpec(color_jitter=ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)),
    ],
    ids=["paper", "scaled", "distorted"],
)
def test_the_graphs_own_normalisation_is_that_of_the_cpu_path(odd_images: Path, spec: AugmentSpec) -> None:
    """A GPU normalises in the graph, a CPU after it; here the same graph runs on the CPU."""
    files = sorted(odd_images.glob("*.jpg"))
    random_params, options = (
        drawn(len(files), spec),
        {"device": "cpu", "batch_size": len(files), "threads": 2},
    )
    windows = view_windows(sizes_of(files), random_params, spec, "train").dali_inputs()
    changes = changes_of(random_params, spec, random=True)
    fed = {"mirror": changes.mirror.astype(np.int32), "mean": changes.mean}
    if changes.matrix is not None:
        fed["matrix"] = changes.matrix
    graph = build_graph(spec, "train", prefetch=1, normalize=True, **options)
    inside = run_once(graph, files, **windows, **fed)
    pixels = run_once(build_graph(spec, "train", prefetch=1, **options), files, **windows).astype(np.uint8)
    after = normalize(torch.from_numpy(pixels), changes, spec).permute(0, 2, 3, 1).numpy()
    print(f"largest difference {np.abs(inside - after).max():.2g}")
    np.testing.assert_allclose(inside, after, rtol=0, atol=2e-4)


@pytest.mark.parametrize("region", [True, False])
def test_both_ways_of_decoding_serialize_for_the_gpu(region: bool) -> None:
    graph = build_graph(AugmentSpec(), "train", device="gpu", batch_size=8, threads=2, region=region)
    assert (b"decoders__ImageSlice" in graph.serialize()) is region


def test_color_jitter_is_one_more_operator_on_the_gpu() -> None:
    distorted = AugmentSpec(color_jitter=ColorJitter(hue=0.1))
    graphs = [
        build_graph(spec, "train", device="gpu", batch_size=8, threads=2).serialize()
        for spec in (AugmentSpec(), distorted)
    ]
    assert [b"CoordTransform" in graph for graph in graphs] == [False, True]


def test_decoder_settings_reach_the_gpus_decoder() -> None:
    def graph(**settings: Any) -> bytes:
        decoder = DecoderSettings(**settings)
        built = build_graph(AugmentSpec(), "train", device="gpu", batch_size=8, threads=2, decoder=decoder)
        text: bytes = built.serialize()
        return text

    usual = graph()
    assert struct.pack("<f", 0.65) in usual
    assert struct.pack("<f", 0.99) in graph(hardware_load=0.99)
    for setting in ("width_hint", "height_hint", "device_padding", "host_padding"):
        assert graph(**{setting: 4242}) != usual
    assert graph(fancy_upsampling=False) != usual
    cpu = build_graph(AugmentSpec(), "train", device="cpu", batch_size=8, threads=2).serialize()
    assert b"hw_decoder_load" not in cpu


def test_a_share_above_one_is_refused() -> None:
    with pytest.raises(UserError, match="--hw-decoder-load 1.5 is no fraction"):
        DecoderSettings(hardware_load=1.5)
