"""The profile's nodes are put into rows, all of them; networks are cut where sharing could end."""

from __future__ import annotations

import pytest
import torch

from alexnet_fast.bench.network import fresh_network
from benchmarks import layer_times
from benchmarks.layer_times import Profiled, cut_networks, depth_table, row_of


@pytest.mark.parametrize(
    ("name", "operator", "row"),
    [
        ("relu1/top_nchwc_kernel_time", "Conv", "conv1"),
        ("relu5_nchwc_kernel_time", "Conv", "conv5"),
        ("norm1/base/rows_nchwc_kernel_time", "Conv", "norm1"),
        ("norm2_kernel_time", "Div", "norm2"),
        ("pool1/columns_nchwc_kernel_time", "MaxPool", "pool1"),
        ("pool1/crop0/middle_kernel_time", "Concat", "copies of layer 1"),
        ("conv2/wide0/left_kernel_time", "Pad", "copies of layer 2"),
        ("fused fc6_kernel_time", "FusedGemm", "fc6"),
        ("ReorderOutput_token_9_kernel_time", "ReorderOutput", "onnxruntime's layout"),
        ("crops/mirror_kernel_time", "Slice", "images and crops"),
        ("probabilities_kernel_time", "ReduceMean", "average"),
    ],
)
def test_a_node_counts_to_the_row_of_its_layer(name, operator, row):
    assert row_of(name, operator) == row


def test_a_session_reports_the_time_of_every_layer(monkeypatch, tmp_path):
    monkeypatch.setattr(layer_times, "_PAUSE_S", 0)
    profiled = Profiled(fresh_network("alexnet-64"), "eager", 1, tmp_path)
    took = [profiled.run(number) for number in range(3)]
    found = profiled.layers()
    assert {"conv1", "conv5", "fc6", "fc8", "copies of layer 1", "images and crops", "average"} <= set(found)
    assert 0 < sum(found.values()) <= max(took[1:]), "nodes run one after another within the answer"


def test_a_network_is_cut_after_each_convolution():
    network = fresh_network("alexnet-64")
    cut = cut_networks(network)
    assert list(cut) == ["conv1", "conv2", "conv3", "conv4", "conv5"]
    assert [name for name, _ in cut["conv2"].net.named_children()][-3:] == ["norm2", "flatten", "fc8"]
    side = network.spec.crop
    assert cut["conv5"].net(torch.zeros(1, 3, side, side)).shape == (1, 2)


def test_every_depth_has_a_line(monkeypatch):
    monkeypatch.setattr(layer_times, "_PAUSE_S", 0)
    head, *lines = depth_table(fresh_network("alexnet-64"), 1, 1)
    assert "as exported" in head
    assert [line.split()[0] for line in lines] == ["conv1", "conv2", "conv3", "conv4", "conv5"]
