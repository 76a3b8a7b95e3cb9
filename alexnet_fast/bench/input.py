"""How fast images reach the network: our loaders, decoding alone, baselines, and what each part costs."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from alexnet_fast.bench import report
from alexnet_fast.bench.baseline import Baseline, running_baselines
from alexnet_fast.bench.interleave import Rates, figure, rate_of, run_interleaved
from alexnet_fast.data import ImageList
from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.crop_windows import View
from alexnet_fast.pipelines.dali.graph import Part
from alexnet_fast.pipelines.factory import make_loader
from alexnet_fast.pipelines.loader import Kind, LoaderConfig
from alexnet_fast.pipelines.sampler import EpochSampler
from alexnet_fast.pipelines.spec import AugmentSpec

NAMES: dict[Kind, str] = {"dali": "DALI", "torch": "Pillow, DataLoader"}
LIMIT = "DALI, decoding alone"
UNIT = "images_per_second"

_PARTS: tuple[Part, ...] = ("reading", "decoding", "resizing")

# What tells a candidate that decodes and does nothing else.
_ALONE = "decoding alone"

# Images an epoch at least, by going through the folder again and again: a full data set's epochs are long,
# and their ends cost nothing.
_EPOCH = 4000


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputBench:
    """What `bench input` measures.

    Args:
        images: Real images.
        spec: The training preprocessing.
        config: Kind, device and threads of the loader that is measured.
        batch_size: Images a batch.
        runs: Counted turns of each candidate.
        seconds: Length of a turn.
        baselines: Folder of the baselines' scripts, or None.
        compare: The same images in other forms, by name: the measured loader loads them too.

    Raises:
        UserError: There is no run, or no time for one.
    """

    images: ImageList
    spec: AugmentSpec
    config: LoaderConfig
    batch_size: int
    runs: int
    seconds: float = 1.0
    baselines: Path | None = None
    compare: Mapping[str, ImageList] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.runs < 1:
            raise UserError(f"--runs {self.runs} is no run", "give 1 or more", exit_code=2)
        if not self.seconds > 0:
            raise UserError(f"--seconds {self.seconds} is no time", "give more than 0", exit_code=2)

    @property
    def repeat(self) -> int:
        """How often an epoch goes through the images."""
        return -(-_EPOCH // len(self.images))

    @functools.cached_property
    def epoch(self) -> ImageList:
        """The images of an epoch."""
        return self.images.select(list(range(len(self.images))) * self.repeat)

    @functools.cached_property
    def sampler(self) -> EpochSampler:
        """The epochs that everyone loads."""
        return EpochSampler(num_images=len(self.epoch), batch_size=self.batch_size, shuffle=True)


def measure_input(
    bench: InputBench,
    begin: Callable[[int], object] = lambda _: None,
    on_progress: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    """Lets everyone load in turns.

    Args:
        bench: What to measure.
        begin: Receives the number of turns.
        on_progress: Called after each turn.

    Returns:
        The figures of `alexnet-fast bench input --json`, without hardware and versions.

    Raises:
        UserError: A baseline's folder is not usable.
        BaselineError: A baseline ends in its turn.
    """
    with _baselines(bench) as (baselines, missing):
        compare = {name_beside(baseline.name, bench.config.device.type): baseline for baseline in baselines}
        turns = {name: _turns_of(baseline, bench.seconds) for name, baseline in compare.items()}
        candidates = {**_ours(bench), **turns}
        begin((bench.runs + 1) * len(candidates))
        rates = run_interleaved(candidates, bench.runs, on_progress)
    ours = NAMES[bench.config.kind]
    others = [name for name in NAMES.values() if name != ours] + [
        _beside(ours, name) for name in bench.compare
    ]
    limit = [LIMIT] if LIMIT in rates else []
    compared = report.compared(rates, ours, [*others, *limit, *compare], UNIT)
    return {
        "loader": bench.config.kind,
        "device": bench.config.device.type,
        "workers": bench.config.workers,
        "batch_size": bench.batch_size,
        "images": len(bench.images),
        **report.main_figure(rates[ours], UNIT),
        "compared": compared,
        "decoding_alone": max(
            (row for row in compared if _ALONE in row["name"]), key=lambda row: row[UNIT], default=None
        ),
        "microseconds_per_image": _costs(rates),
        "not_run": missing,
        "baselines": {name: baseline.versions for name, baseline in compare.items()},
    }


def name_beside(name: str, device: str) -> str:
    """Returns what a baseline is called beside ours: its script loads on the CPU, also where ours uses a GPU.

    Args:
        name: What it calls itself.
        device: Of ours, "cpu" or "cuda".
    """
    return name if device == "cpu" else f"{name}, on the CPU"


def _costs(rates: Rates) -> dict[str, float]:
    """Returns what each part adds to the time of an image in DALI, in microseconds of the whole machine.

    Arrays have no such parts: nothing is decoded.
    """
    if LIMIT not in rates:
        return {}
    ends = [f"up to {part}" for part in _PARTS] + [NAMES["dali"]]
    times = [0.0] + [1e6 / figure(rates[name]).median for name in ends]
    parts = (*_PARTS, "normalising")
    return {part: after - before for part, before, after in zip(parts, times, times[1:], strict=False)}


@contextlib.contextmanager
def _baselines(bench: InputBench) -> Iterator[tuple[list[Baseline], dict[str, str]]]:
    """Starts the baselines where they are asked for, with the same work for each."""
    if bench.baselines is None:
        yield [], {}
        return
    options = {
        "threads": bench.config.workers,
        "batch-size": bench.batch_size,
        "resize": bench.spec.resize,
        "crop": bench.spec.crop,
        "repeat": bench.repeat,
    }
    arguments = [f"--{name}={value}" for name, value in options.items()]
    with running_baselines(bench.baselines, [str(bench.images.root), *arguments]) as found:
        yield found


def _turns_of(baseline: Baseline, seconds: float) -> Callable[[int], float]:
    """Returns a candidate: a baseline's script."""
    return lambda _: baseline.turn(seconds)


def _ours(bench: InputBench) -> dict[str, Callable[[int], float]]:
    """Returns our candidates: both loaders, decoding alone, and the graph cut off after each part."""
    streams = {name: _loaded(bench, kind) for kind, name in NAMES.items()}
    if bench.images.encoding == "image":
        streams |= {
            LIMIT: _cut_off(bench, "decoding", "square", region=False),
            **{f"up to {part}": _cut_off(bench, part, "train") for part in _PARTS},
        }
    for name, images in bench.compare.items():
        form = dataclasses.replace(bench, images=images)
        streams[_beside(NAMES[bench.config.kind], name)] = _loaded(form, bench.config.kind)
    return {name: functools.partial(_turn, stream, bench) for name, stream in streams.items()}


def _beside(ours: str, name: str) -> str:
    """Returns what the measured loader is called over another form of the images."""
    return f"{ours}, {name}"


def _turn(stream: Iterator[int], bench: InputBench, _run: int) -> float:
    """Measures a stream for one turn."""
    return rate_of(stream, bench.seconds, bench.config.workers)


def _loaded(bench: InputBench, kind: Kind) -> Iterator[int]:
    """Yields the batch sizes of a loader, epoch after epoch."""
    config = dataclasses.replace(bench.config, kind=kind)
    loader = make_loader(bench.epoch, bench.spec, "train", bench.sampler, config)
    return (len(batch.labels) for epoch in itertools.count() for batch in loader.epoch(epoch))


def _cut_off(bench: InputBench, part: Part, view: View, *, region: bool | None = None) -> Iterator[int]:
    """Yields the batch sizes of our graph up to a part of the work, epoch after epoch."""
    from alexnet_fast.pipelines.dali.loader import DaliLoader

    loader = DaliLoader(
        bench.epoch, bench.spec, view, bench.sampler, bench.config, stop_after=part, region=region
    )
    return itertools.chain.from_iterable(loader.benchmark_stages(epoch) for epoch in itertools.count())
