"""Time of a ten-crop prediction in onnxruntime per layer, and the depth to which sharing pays.

    python -m benchmarks.layer_times --threads 2

The first table is onnxruntime's own profile of `model.onnx` and of the same file without the shared stem. The
second cuts the network off after each convolution, and lets three forms of what is left take turns: crop by
crop, shared as `export` would, and shared as far down as the geometry allows.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import torch

from alexnet_fast.bench.interleave import ratio, run_interleaved, summarize
from alexnet_fast.bench.network import BenchModel, fresh_network
from alexnet_fast.bench.report import machine, machine_line
from alexnet_fast.export.config import GraphConfig, StemForm
from alexnet_fast.export.onnx.model import build_model, serialize
from alexnet_fast.runtime.metadata import INPUT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# onnxruntime's threads keep spinning after a call.
_PAUSE_S = 0.2
# Operators that only move numbers, and those that onnxruntime adds around its own layout.
_COPIES = ("Slice", "Concat", "Pad", "Split")
_LAYOUTS = ("ReorderInput", "ReorderOutput")
_LAYER = re.compile(r"(conv|relu|bn|norm|pool|fc)(\d+)")
Candidate = Callable[[int], float]
STEMS: tuple[StemForm, ...] = ("plain", "shared", "eager")


def main() -> None:
    """Measures a network of the family with fresh weights and prints both tables."""
    parser = argparse.ArgumentParser(description="Layers of a ten-crop answer in onnxruntime.")
    parser.add_argument("--model", default="alexnet")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=15)
    given = parser.parse_args()
    network = fresh_network(given.model)
    lines = [f"{machine_line(machine())}; onnxruntime {onnxruntime.__version__}, {given.threads} threads"]
    lines += layer_table(network, given.threads, given.runs)
    lines += depth_table(network, given.threads, given.runs)
    print("\n".join(lines))  # noqa: T201 - what it is for


def layer_table(network: BenchModel, threads: int, runs: int) -> list[str]:
    """Renders the milliseconds of each layer, crop by crop and shared; medians over the runs."""
    with tempfile.TemporaryDirectory() as directory:
        profiles = {stem: Profiled(network, stem, threads, Path(directory)) for stem in ("plain", "shared")}
        run_interleaved({stem: profiled.run for stem, profiled in profiles.items()}, runs)
        times_by_stem = {stem: profiled.layers() for stem, profiled in profiles.items()}
    rows = list(dict.fromkeys(row for times in times_by_stem.values() for row in times))
    lines = [f"{'median milliseconds of ' + str(runs):28s} {'crop by crop':>14s} {'shared':>8s}"]
    for row in rows:
        plain, shared = (times_by_stem[stem].get(row, 0.0) for stem in ("plain", "shared"))
        lines.append(f"{row:28s} {plain:14.2f} {shared:8.2f}")
    sums = [sum(times.values()) for times in times_by_stem.values()]
    return [*lines, f"{'sum':28s} {sums[0]:14.2f} {sums[1]:8.2f}"]


class Profiled:
    """One form of a network in a session that profiles itself.

    Args:
        network: The network.
        stem: Form of the shared stem.
        threads: Threads of the session.
        directory: Folder for the profile.
    """

    def __init__(self, network: BenchModel, stem: StemForm, threads: int, directory: Path) -> None:
        options = _options(threads)
        options.enable_profiling = True
        options.profile_file_prefix = str(directory / stem)
        self._session, self._images = _session(network, stem, options)
        self._runs = 0

    def run(self, number: int) -> float:
        """Classifies an image."""
        self._runs += 1
        return _milliseconds(self._session, self._images, number)

    def layers(self) -> dict[str, float]:
        """Returns the milliseconds of each row, medians over all runs but the first; ends the session."""
        file = Path(self._session.end_profiling())
        events = [event for event in json.loads(file.read_text("utf-8")) if event.get("cat") == "Node"]
        nodes = len(events) // self._runs
        runs = [events[first : first + nodes] for first in range(nodes, len(events), nodes)]
        sums = [_sums(run) for run in runs]
        return {row: statistics.median(row_times[row] for row_times in sums) for row in sums[0]}


def _sums(events: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Adds up the milliseconds of one run's nodes by row."""
    rows: dict[str, float] = {}
    for event in events:
        row = row_of(event["name"], event["args"]["op_name"])
        rows[row] = rows.get(row, 0.0) + event["dur"] / 1e3
    return rows


def row_of(name: str, operator: str) -> str:
    """Returns the row of a node in onnxruntime's profile.

    Args:
        name: Such as "relu1/top_nchwc_kernel_time": a convolution carries the name of the ReLU fused with it.
        operator: Such as "Conv".
    """
    if operator in _LAYOUTS:
        return "onnxruntime's layout"
    place = name.removeprefix("fused ").split("/")[0]
    match = _LAYER.match(place)
    if match is None:
        return "images and crops" if place.startswith(("images", "crops")) else "average"
    kind, number = match.groups()
    if operator in _COPIES:
        return f"copies of layer {number}"
    return f"conv{number}" if operator == "Conv" and kind != "norm" else f"{kind}{number}"


def depth_table(network: BenchModel, threads: int, runs: int) -> list[str]:
    """Renders the cost of the network down to each convolution, in three forms that take turns."""
    lines = [f"{'down to':8s} {'crop by crop':>14s} {'as exported':>12s} {'shared':>8s}  shared of exported"]
    for depth, cut in cut_networks(network).items():
        candidates: dict[str, Candidate] = {stem: _candidate(cut, stem, threads) for stem in STEMS}
        times = run_interleaved(candidates, runs)
        plain, shared, eager = (summarize(times[stem]).median for stem in STEMS)
        over = ratio(times["eager"], times["shared"])
        spread = f"{over.median:.2f} ({over.low:.2f} to {over.high:.2f})"
        lines.append(f"{depth:8s} {plain:14.1f} {shared:12.1f} {eager:8.1f}  {spread}")
    return lines


def cut_networks(network: BenchModel) -> dict[str, BenchModel]:
    """Returns the network cut off after each convolution and its pointwise layers, with a small output."""
    layers = dict(network.net.named_children())
    names = list(layers)
    cuts = {}
    for depth in [name for name in names if name.startswith("conv")]:
        last = names.index(depth) + 1
        while names[last].startswith(("relu", "bn", "norm")):
            last += 1
        shortened = torch.nn.Sequential()
        for name in names[:last]:
            shortened.add_module(name, layers[name])
        side = network.spec.crop
        with torch.inference_mode():
            features = shortened(torch.zeros(1, 3, side, side)).numel()
        shortened.add_module("flatten", torch.nn.Flatten())
        shortened.add_module("fc8", torch.nn.Linear(features, 2))
        cuts[depth] = dataclasses.replace(network, net=shortened.eval(), classes=2)
    return cuts


def _candidate(network: BenchModel, stem: StemForm, threads: int) -> Candidate:
    session, images = _session(network, stem, _options(threads))
    return lambda number: _milliseconds(session, images, number)


def _options(threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return options


def _session(network: BenchModel, stem: StemForm, options: Any) -> tuple[Any, Any]:
    """Opens one form of a network, with an image for it."""
    model = build_model(network.net, network.metadata("ten"), GraphConfig(stem=stem))
    session = onnxruntime.InferenceSession(serialize(model), options, providers=["CPUExecutionProvider"])
    side = network.spec.resize
    return session, np.random.default_rng(0).integers(0, 256, (1, side, side, 3), np.uint8)


def _milliseconds(session: Any, images: Any, number: int) -> float:
    del number
    time.sleep(_PAUSE_S)
    started = time.perf_counter()
    session.run(None, {INPUT: images})
    return (time.perf_counter() - started) * 1e3


if __name__ == "__main__":
    main()
