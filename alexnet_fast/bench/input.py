"""Speed of the input: our loaders, decoding alone, the baselines, and the cost of each stage."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from alexnet_fast.bench.interleave import (
    OnProgress,
    Rates,
    ignore_progress,
    rate_of,
    run_interleaved,
    summarize,
)
from alexnet_fast.bench.report import IMAGES_PER_SECOND, compared, main_figure
from alexnet_fast.bench.run_baselines import Baseline, running_baselines
from alexnet_fast.data import ImageList
from alexnet_fast.pipelines.crop_windows import View
from alexnet_fast.pipelines.dali.graph import Part
from alexnet_fast.pipelines.factory import make_loader
from alexnet_fast.pipelines.loader import Kind, LoaderConfig
from alexnet_fast.pipelines.sampler import EpochSampler
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.utils.ranges import check_fields

NAMES: dict[Kind, str] = {"dali": "DALI", "torch": "Pillow, DataLoader"}
LIMIT = "DALI, decoding alone"

_PARTS: tuple[Part, ...] = ("reading", "decoding", "resizing")

# Marks a candidate that decodes and does nothing else.
_ALONE = "decoding alone"

# Minimum number of images per epoch; the folder is repeated. Epochs of a full data set are long, and their
# ends cost nothing.
_EPOCH = 4000


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputBench:
    """What `bench input` measures.

    Args:
        image_list: Real images.
        spec: The training preprocessing.
        config: Kind, device and workers of the loader that is measured.
        batch_size: Images per batch.
        runs: Counted turns per candidate.
        seconds: Length of a turn.
        baselines: Folder of the baselines' scripts, or None.
        compare: The same images in other formats, by name: the measured loader loads them too.

    Raises:
        UserError: A number is outside its range.
    """

    image_list: ImageList
    spec: AugmentSpec
    config: LoaderConfig
    batch_size: int
    runs: int
    seconds: float = 1.0
    baselines: Path | None = None
    compare: Mapping[str, ImageList] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def repeat(self) -> int:
        """Number of times that an epoch repeats the images."""
        return -(-_EPOCH // len(self.image_list))

    @functools.cached_property
    def epoch(self) -> ImageList:
        """The images of an epoch."""
        return self.image_list.select(list(range(len(self.image_list))) * self.repeat)

    @functools.cached_property
    def sampler(self) -> EpochSampler:
        """The epochs that everyone loads."""
        return EpochSampler(num_images=len(self.epoch), batch_size=self.batch_size, shuffle=True)

    def turn(self, stream: Iterator[int], _: int) -> float:
        """Measures a stream of batch sizes for one turn; returns images per second."""
        return rate_of(stream, self.seconds, self.config.workers)


def measure_input(bench: InputBench, on_progress: OnProgress = ignore_progress) -> dict[str, Any]:
    """Lets all candidates load in turns.

    Args:
        bench: What is measured.
        on_progress: Called after each turn with the turns done and all turns.

    Returns:
        The figures of `alexnet-fast bench input --json`, without hardware and versions.

    Raises:
        UserError: The baselines' folder is not usable.
        BaselineError: A baseline ends during its turn.
    """
    with _baselines(bench) as (baselines, missing):
        named = {name_beside(baseline.name, bench.config.device.type): baseline for baseline in baselines}
        turns = {name: _turns_of(baseline, bench.seconds) for name, baseline in named.items()}
        rates = run_interleaved({**_ours(bench), **turns}, bench.runs, on_progress)
    ours = NAMES[bench.config.kind]
    others = [name for name in NAMES.values() if name != ours]
    others += [_beside(ours, name) for name in bench.compare]
    limit = [LIMIT] if LIMIT in rates else []
    rows = compared(rates, ours, IMAGES_PER_SECOND, [*others, *limit, *named])
    alone = [row for row in rows if _ALONE in row["name"]]
    return {
        "loader": bench.config.kind,
        "device": bench.config.device.type,
        "workers": bench.config.workers,
        "batch_size": bench.batch_size,
        "images": len(bench.image_list),
        **main_figure(rates[ours], IMAGES_PER_SECOND),
        "compared": rows,
        "decoding_alone": max(alone, key=lambda row: row[IMAGES_PER_SECOND], default=None),
        "microseconds_per_image": _costs(rates),
        "not_run": missing,
        "baselines": {name: baseline.versions for name, baseline in named.items()},
    }


def name_beside(name: str, device: str) -> str:
    """Returns the name of a baseline in the table: its script loads on the CPU, even if ours uses a GPU.

    Args:
        name: The name that its script reports.
        device: Our device, "cpu" or "cuda".
    """
    return name if device == "cpu" else f"{name}, on the CPU"


def _costs(rates: Rates) -> dict[str, float]:
    """Returns the time that each stage adds per image in DALI, in microseconds of the whole machine.

    Arrays have no such stages: nothing is decoded.
    """
    if LIMIT not in rates:
        return {}
    ends = [f"up to {part}" for part in _PARTS] + [NAMES["dali"]]
    times = [0.0] + [1e6 / summarize(rates[name]).median for name in ends]
    parts = (*_PARTS, "normalising")
    return {part: after - before for part, before, after in zip(parts, times, times[1:], strict=False)}


def _baselines(
    bench: InputBench,
) -> contextlib.AbstractContextManager[tuple[list[Baseline], dict[str, str]]]:
    """Starts the baselines, if there are any, with the same work for each."""
    if bench.baselines is None:
        return contextlib.nullcontext(([], {}))
    options = {
        "threads": bench.config.workers,
        "batch-size": bench.batch_size,
        "resize": bench.spec.resize,
        "crop": bench.spec.crop,
        "repeat": bench.repeat,
    }
    arguments = [f"--{name}={value}" for name, value in options.items()]
    return running_baselines(bench.baselines, [str(bench.image_list.root), *arguments])


def _turns_of(baseline: Baseline, seconds: float) -> Callable[[int], float]:
    """Returns a baseline's script as a candidate."""
    return lambda _: baseline.turn(seconds)


def _ours(bench: InputBench) -> dict[str, Callable[[int], float]]:
    """Returns our candidates: both loaders, decoding alone, and the graph cut off after each stage."""
    streams = {name: _loaded(bench, kind) for kind, name in NAMES.items()}
    if bench.image_list.encoding == "image":
        streams |= {
            LIMIT: _cut_off(bench, "decoding", "square", region=False),
            **{f"up to {part}": _cut_off(bench, part, "train") for part in _PARTS},
        }
    for name, images in bench.compare.items():
        other = dataclasses.replace(bench, image_list=images)
        streams[_beside(NAMES[bench.config.kind], name)] = _loaded(other, bench.config.kind)
    return {name: functools.partial(bench.turn, stream) for name, stream in streams.items()}


def _beside(ours: str, name: str) -> str:
    """Returns the name of the measured loader on another format of the images."""
    return f"{ours}, {name}"


def _loaded(bench: InputBench, kind: Kind) -> Iterator[int]:
    """Yields the batch sizes of a loader, epoch after epoch."""
    config = dataclasses.replace(bench.config, kind=kind)
    loader = make_loader(bench.epoch, bench.spec, "train", bench.sampler, config)
    return (len(batch.labels) for epoch in itertools.count() for batch in loader.epoch(epoch))


def _cut_off(bench: InputBench, part: Part, view: View, *, region: bool | None = None) -> Iterator[int]:
    """Yields the batch sizes of our graph up to a stage, epoch after epoch."""
    from alexnet_fast.pipelines.dali.loader import DaliLoader

    loader = DaliLoader(
        bench.epoch, bench.spec, view, bench.sampler, bench.config, stop_after=part, region=region
    )
    return itertools.chain.from_iterable(loader.benchmark_stages(epoch) for epoch in itertools.count())
