"""The GPU graph is the CPU's graph with another device: constructed and serialized where there is no GPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

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
def test_cpu_and_gpu_graphs_have_the_same_operators(view: View) -> None:
    def operators(device: str) -> list[bytes]:
        text = build_graph(AugmentSpec(), view, device=device, batch_size=8, threads=2).serialize()
        names = (b"io__file__Read", b"decoders__Image", b"Resize", b"CropMirrorNormalize", b"Crop")
        return [name for name in names if name in text]

    assert operators("cpu") == operators("gpu")


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
