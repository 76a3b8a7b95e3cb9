"""The parts of a full run, and the command of each."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Literal

Device = Literal["cpu", "cuda"]

ROOFLINE, FILES, PREPARED, COMPUTE, TRAIN, INFER, SERVE, STARTUP = (
    "roofline",
    "input-files",
    "input-prepared",
    "compute",
    "train",
    "infer",
    "serve",
    "startup",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scale:
    """The amount of work of a run.

    Args:
        model: The network.
        runs: Counted turns per candidate.
        seconds: Length of a turn of a loader or a server.
        input_batches: Batch sizes of the input.
        compute_batches: Batch sizes of a training step.
        infer_batches: Batch sizes of a prediction.
        concurrency: Numbers of concurrent requests.
        sizes: Numbers of images of the data sets for the start-up time.
        steps: Training steps per turn.
    """

    model: str
    runs: int
    seconds: float
    input_batches: tuple[int, ...]
    compute_batches: tuple[int, ...]
    infer_batches: tuple[int, ...]
    concurrency: tuple[int, ...]
    sizes: tuple[int, ...]
    steps: int


FULL = Scale(
    model="alexnet",
    runs=3,
    seconds=1.5,
    input_batches=(16, 64, 128, 512),
    compute_batches=(8, 32, 128),
    infer_batches=(1, 4, 16),
    concurrency=(1, 4, 16),
    sizes=(1_000, 10_000, 100_000, 1_000_000),
    steps=3,
)
# Shows in two or three minutes that everything runs; its figures mean nothing.
QUICK = Scale(
    model="alexnet-64",
    runs=1,
    seconds=0.2,
    input_batches=(32, 64),
    compute_batches=(4, 8),
    infer_batches=(1, 2),
    concurrency=(1, 2),
    sizes=(100, 400),
    steps=1,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SuitePart:
    """One measurement.

    Args:
        name: Kind of the part, one of those above.
        variant: Its name among others of its kind, such as "2-threads"; may be empty.
        device: Device.
        command: Words of the command; its last line of output is JSON.
    """

    name: str
    variant: str
    device: Device
    command: tuple[str, ...]

    @property
    def key(self) -> str:
        """Name in the results, and of its file."""
        return "-".join(word for word in (self.name, self.variant, self.device) if word)

    @property
    def shown(self) -> str:
        """The command as typed in a shell."""
        words = self.command[3:] if self.command[2] == "alexnet_fast" else self.command[1:]
        program = "alexnet-fast" if self.command[2] == "alexnet_fast" else "python"
        return " ".join([program, *(word for word in words if word != "--json")])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Material:
    """The material of a run.

    Args:
        files: A folder of JPEGs as they come from a camera.
        prepared: The same images prepared.
        model: An exported network.
        many: Folder with data sets of many links, one folder per size.
        baselines: Folder of other projects' loaders, or None.
        cores: CPU cores to use.
    """

    files: Path
    prepared: Path
    model: Path
    many: Path
    baselines: Path | None
    cores: int


def thread_counts(cores: int) -> tuple[int, ...]:
    """Returns the numbers of threads: powers of two up to the cores, and twice the cores."""
    powers = [2**power for power in range(cores.bit_length()) if 2**power < cores]
    return (*powers, cores, 2 * cores)


def parts(scale: Scale, material: Material, device: Device, *, quick: bool) -> list[SuitePart]:
    """Returns the parts of a device in the order in which they run."""
    return [
        *_roofline(scale, material, device, quick=quick),
        *_input(scale, material, device, quick=quick),
        *_compute(scale, material, device),
        *_inference(scale, material, device),
        *(_startup(scale, material) if device == "cpu" else ()),
    ]


def _bench(*words: object) -> tuple[str, ...]:
    """Returns the words of one of our benchmarks."""
    return (sys.executable, "-m", "alexnet_fast", "bench", *map(str, words), "--json")


def _roofline(scale: Scale, material: Material, device: Device, *, quick: bool) -> list[SuitePart]:
    command = [sys.executable, "-m", "benchmarks.roofline", "--device", device]
    command += ["--threads", str(material.cores), "--runs", str(max(scale.runs, 3))]
    return [SuitePart(name=ROOFLINE, variant="", device=device, command=(*command, *["--quick"] * quick))]


def _input(scale: Scale, material: Material, device: Device, *, quick: bool) -> list[SuitePart]:
    """Loaders: by threads with the baselines, by batch size without them."""
    baselines = [] if material.baselines is None else ["--baselines", material.baselines]
    same = ("--runs", scale.runs, "--seconds", scale.seconds, "--device", device)
    # The batch size whose figures by threads are also a point of those by batch size.
    usual = scale.input_batches[-2]

    def part(name: str, data: Path, variant: str, threads: int, batch: int, *more: object) -> SuitePart:
        words = ("input", data, "--workers", threads, "--batch-size", batch, *same, *more)
        return SuitePart(name=name, variant=variant, device=device, command=_bench(*words))

    cores = material.cores
    counts = thread_counts(cores)[: 2 if quick else None]
    return [
        part(FILES, material.files, f"{cores}-threads", cores, usual, *baselines),
        *(
            part(PREPARED, material.prepared, f"{count}-threads", count, usual, *baselines)
            for count in counts
        ),
        *(
            part(PREPARED, material.prepared, f"batch-{batch}", cores, batch)
            for batch in scale.input_batches
            if batch != usual
        ),
    ]


def _compute(scale: Scale, material: Material, device: Device) -> list[SuitePart]:
    """Training steps by batch size, and training itself."""
    same = ("--model", scale.model, "--device", device, "--steps", scale.steps, "--runs", scale.runs)
    parts = [
        SuitePart(
            name=COMPUTE,
            variant=f"batch-{batch}",
            device=device,
            command=_bench("compute", "--batch-size", batch, *same),
        )
        for batch in scale.compute_batches
    ]
    middle = scale.compute_batches[1]
    words = ("train", material.prepared, "--batch-size", middle, "--workers", material.cores, *same)
    return [*parts, SuitePart(name=TRAIN, variant="", device=device, command=_bench(*words))]


def _inference(scale: Scale, material: Material, device: Device) -> list[SuitePart]:
    """Predictions by batch size, and the server by concurrent requests."""
    sizes = ",".join(map(str, scale.infer_batches))
    same = ("--device", device, "--runs")
    words = ("infer", "--model", scale.model, "--batch-size", sizes, "--threads", material.cores, *same)
    asked = ("serve", material.model, "--seconds", scale.seconds, *same, scale.runs, "--concurrency")
    return [
        SuitePart(name=INFER, variant="", device=device, command=_bench(*words, 2 * scale.runs + 1)),
        *(
            SuitePart(name=SERVE, variant=f"{count}-at-once", device=device, command=_bench(*asked, count))
            for count in scale.concurrency
        ),
    ]


def _startup(scale: Scale, material: Material) -> list[SuitePart]:
    """From the command to the first batch, by size and format of the data set."""
    batch = min(128, scale.sizes[0] // 2)
    return [
        SuitePart(
            name=STARTUP,
            variant=f"{size}-{form}",
            device="cpu",
            command=_bench(
                "startup",
                material.many / str(size) / form,
                *("--runs", 1, "--batch-size", batch, "--workers", material.cores),
            ),
        )
        for size in scale.sizes
        for form in ("folders", "shards")
    ]
