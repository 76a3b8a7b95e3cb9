"""The GPU graph is the CPU's graph with another device: constructed and serialized where there is no GPU."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from nvidia.dali import Pipeline

from alexnet_fast.data import open_data
from alexnet_fast.pipelines.dali_graph import build_graph
from alexnet_fast.pipelines.loader import LoaderConfig, View, make_loader
from alexnet_fast.pipelines.plan import Schedule
from alexnet_fast.pipelines.spec import AugmentSpec

VIEWS = pytest.mark.parametrize("view", ["train", "centre", "square"])


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
        graph = build_graph(AugmentSpec(), view, device=device, batch_size=8, threads=2, region=region)
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
    schedule = Schedule(pictures=len(val), batch_size=8, shuffle=view == "train")

    def pixels(device: str) -> torch.Tensor:
        config = LoaderConfig(device=torch.device(device))
        loader = make_loader(val, AugmentSpec(), view, schedule, config)
        return torch.cat([batch.images.float().cpu() for batch in loader.epoch(0)])

    assert (pixels("cuda") - pixels("cpu")).abs().max() <= 2


@pytest.mark.gpu
def test_half_precision_arrives_channels_last_without_a_copy(two_classes: Path) -> None:
    val = open_data(two_classes).val
    schedule = Schedule(pictures=len(val), batch_size=8, shuffle=False)
    config = LoaderConfig(device=torch.device("cuda"), half=True)
    batch = next(make_loader(val, AugmentSpec(), "centre", schedule, config).epoch(0))
    assert batch.images.dtype == torch.float16
    assert batch.images.is_contiguous(memory_format=torch.channels_last)


def run_once(graph: Pipeline, names: list[Path], draws: np.ndarray | None) -> np.ndarray:
    """Feeds an open graph one batch and returns the pixels."""
    inputs: dict[str, object] = {"names": [np.frombuffer(bytes(name), np.uint8) for name in names]}
    if draws is not None:
        inputs["draws"] = list(draws)
    (pixels,) = graph.run(**inputs)
    return np.array(pixels.as_tensor()).astype(np.float32)


@VIEWS
def test_decoding_a_region_gives_the_pixels_of_decoding_the_whole(odd_pictures: Path, view: View) -> None:
    """At most one level of difference, on at most one value in a thousand, for every kind of picture."""
    names = sorted(odd_pictures.iterdir())
    draws = np.random.default_rng(1).random((len(names), 6), np.float32) if view == "train" else None
    spec = AugmentSpec(mean=(0.0, 0.0, 0.0))
    whole, part = (
        run_once(
            build_graph(
                spec,
                view,
                device="cpu",
                batch_size=len(names),
                threads=2,
                prefetch=1,
                region=region,
            ),
            names,
            draws,
        )
        for region in (False, True)
    )
    difference = np.abs(whole - part)
    assert difference.max() <= 1.001
    assert (difference > 0.5).mean() <= 1e-3


@pytest.mark.parametrize("region", [True, False])
def test_both_ways_of_decoding_serialize_for_the_gpu(region: bool) -> None:
    graph = build_graph(AugmentSpec(), "train", device="gpu", batch_size=8, threads=2, region=region)
    assert (b"decoders__ImageSlice" in graph.serialize()) is region
