"""How fast a server answers, against the bare model in this process on batches of the same sizes."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from alexnet_fast.bench.http_load import Outcome, Target, closed_loop, open_loop, percentile_ms
from alexnet_fast.bench.interleave import Rates, run_interleaved
from alexnet_fast.bench.report import compared, main_figure
from alexnet_fast.errors import UserError
from alexnet_fast.runtime.metadata import INPUT
from alexnet_fast.runtime.open import open_backend

# Between two looks at what it has said.
_PAUSE_S = 0.05
# Bytes of it that are read: the line that says where it listens comes early.
_MOST = 1 << 20


@contextlib.contextmanager
def own_server(command: Sequence[str], seconds: float = 120) -> Iterator[str]:
    """Starts a server, yields its address once it listens, and ends it afterwards.

    Args:
        command: `alexnet-fast serve` with its options.
        seconds: That it may take to start.

    Raises:
        UserError: It ended before it listened, or took longer.
    """
    # A file, because nobody reads on: a full pipe would stop a server that has much to complain about.
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(command, stderr=said, stdout=subprocess.DEVNULL) as process,
    ):
        try:
            yield _address(process, said, time.monotonic() + seconds)
        finally:
            process.terminate()


def _address(process: subprocess.Popen[bytes], said: IO[bytes], until: float) -> str:
    """Waits for the line that says where a server listens."""
    while True:
        ended = process.poll() is not None
        # The server writes where this file stands: it is read without moving there.
        lines = os.pread(said.fileno(), _MOST, 0).decode(errors="replace").split("\n")
        # What stands behind the last line's end may not be there as a whole yet.
        for line in lines[:-1]:
            if line.startswith("{") and (event := json.loads(line))["event"] == "ready":
                return str(event["http"])
        if ended or time.monotonic() > until:
            last = [line.strip() for line in lines if line.strip()][-1:] or ["it says nothing"]
            hint = "start it by hand: alexnet-fast serve MODEL"
            raise UserError(f"the server did not start: {last[0]}", hint)
        time.sleep(_PAUSE_S)


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

OURS = "alexnet-fast serve"
BARE = "bare session, same batches"
UNIT = "requests_per_second"
_NAME = "model"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServeBench:
    """What `bench serve` measures.

    Args:
        model: An exported model; it is served by a process of its own on a free port of this machine.
        concurrency: Requests at once (closed loop).
        rate: Requests a second (open loop); None for a closed loop.
        seconds: Length of a run.
        runs: Counted runs of each candidate.
        encoded: An encoded image to send; None for random pixels as a uint8 tensor.
        threads: CPU threads of the model; None for one a core.
        max_batch_size: Images that the server classifies at once.
        device: Of the server and of the bare model, as `open_backend` takes it.
        against: Addresses of the V2 inference path of other servers of the same model, by name.

    Raises:
        UserError: There is no run, no second or no request.
    """

    model: Path
    concurrency: int = 8
    rate: float | None = None
    seconds: float = 5.0
    runs: int = 5
    encoded: bytes | None = None
    threads: int | None = None
    max_batch_size: int = 16
    device: str = "auto"
    against: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for option, value in (
            ("--runs", self.runs),
            ("--seconds", self.seconds),
            ("--concurrency", self.concurrency),
            ("--rate", 1 if self.rate is None else self.rate),
        ):
            if not value > 0:
                raise UserError(f"{option} {value:g} is too small", "give more than 0", exit_code=2)
        if self.rate is not None and round(self.rate * self.seconds) < 1:
            raise UserError(
                f"--rate {self.rate:g} asks nothing in {self.seconds:g} s", "give more --seconds", exit_code=2
            )


def measure_serve(bench: ServeBench, on_progress: Callable[[], object] = lambda: None) -> dict[str, Any]:
    """Lets the server, the bare model and the other servers take turns.

    Returns:
        The figures of `alexnet-fast bench serve --json`, without hardware and versions.

    Raises:
        UserError: The model cannot be served, or another server cannot be reached.
    """
    backend = open_backend(bench.model, device=bench.device, threads=bench.threads)
    side = backend.spec.resize
    others = {name: _Http(bench, where, side) for name, where in bench.against.items()}
    with own_server(_command(bench)) as url:
        candidates = {OURS: _Http(bench, f"{url}/v2/models/{_NAME}/infer", side), **others}
        bare = _Bare(bench, backend.run, side, url)
        rates = run_interleaved({**candidates, BARE: bare}, bench.runs, on_progress)
    ours = candidates[OURS].counted
    answered = [one for one in ours if one.status == 200]
    latencies = {BARE: bare.p50_ms, **{name: one.p50_ms for name, one in candidates.items()}}
    return {
        "url": url,
        "loop": "closed" if bench.rate is None else "open",
        "concurrency": bench.concurrency,
        "rate": bench.rate,
        "input": "uint8 tensor" if bench.encoded is None else "encoded image",
        **main_figure(rates[OURS], UNIT),
        "p50_ms": percentile_ms(answered, 50),
        "p90_ms": percentile_ms(answered, 90),
        "p99_ms": percentile_ms(answered, 99),
        "rejected": sum(one.status == 503 for one in ours),
        "failed": sum(one.status not in (200, 503) for one in ours),
        "batch_sizes": {str(size): count for size, count in sorted(bare.sizes.items())},
        "compared": _compared(rates, latencies),
    }


def _compared(rates: Rates, latencies: Mapping[str, float]) -> list[dict[str, Any]]:
    """Returns the baselines, with the latency of each and what ours adds to it."""
    baselines = compared(rates, OURS, [name for name in rates if name != OURS], UNIT)
    return [
        {
            **baseline,
            "p50_ms": latencies[baseline["name"]],
            "added_p50_ms": latencies[OURS] - latencies[baseline["name"]],
        }
        for baseline in baselines
    ]


class _Http:
    """A candidate: a server, asked for a while; its rate counts answers alone.

    Attributes:
        counted: What became of the requests of the counted runs.
    """

    def __init__(self, bench: ServeBench, url: str, side: int) -> None:
        self._bench = bench
        self._target = _target(url, bench.encoded, side)
        self.counted: list[Outcome] = []

    def __call__(self, run: int) -> float:
        """Asks for `seconds`; run 0 is not counted."""
        bench = self._bench
        if bench.rate is None:
            outcomes = asyncio.run(closed_loop(self._target, bench.concurrency, bench.seconds))
        else:
            outcomes = asyncio.run(open_loop(self._target, bench.rate, bench.seconds, seed=run))
        if not any(one.status == 200 for one in outcomes):
            raise UserError(
                f"{self._target.host}:{self._target.port}{self._target.path} answered none of"
                f" {len(outcomes)} requests (last status {outcomes[-1].status if outcomes else 0})",
                "check the address and the model's name",
            )
        if run:
            self.counted += outcomes
        lasted = max(one.at + one.seconds for one in outcomes)
        return sum(one.status == 200 for one in outcomes) / lasted

    @property
    def p50_ms(self) -> float:
        """Median latency of the answered requests."""
        return percentile_ms([one for one in self.counted if one.status == 200], 50)


class _Bare:
    """A candidate: the model itself, called with the batch sizes that our server formed in the same turn.

    Attributes:
        sizes: How many batches of each size the server formed since it was started.
    """

    def __init__(self, bench: ServeBench, run: Callable[[Any], Any], side: int, url: str) -> None:
        self._bench, self._run, self._url = bench, run, url
        self._images = _random_pixels(bench.max_batch_size, side)
        self.sizes: dict[int, int] = {}
        self._milliseconds: list[float] = []

    def __call__(self, run: int) -> float:
        """Repeats the server's batches for as long as the server was asked."""
        before, self.sizes = self.sizes, _formed_batches(self._url)
        formed = [size for size, count in self.sizes.items() for _ in range(count - before.get(size, 0))]
        np.random.default_rng(run).shuffle(formed)
        start, done = time.perf_counter(), 0
        for size in formed:
            began = time.perf_counter()
            self._run(self._images[:size])
            done += size
            if run:
                self._milliseconds += [1000 * (time.perf_counter() - began)] * size
            if time.perf_counter() - start > self._bench.seconds:
                break
        return done / (time.perf_counter() - start)

    @property
    def p50_ms(self) -> float:
        """Median time of the call that an image was part of."""
        return float(np.median(self._milliseconds))


def _random_pixels(count: int, side: int) -> Any:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def _target(url: str, encoded: bytes | None, side: int) -> Target:
    """Returns the request: one image in the binary form of the protocol, all probabilities back."""
    if encoded is None:
        data, shape, datatype = _random_pixels(1, side).tobytes(), [1, side, side, 3], "UINT8"
    else:
        data, shape, datatype = len(encoded).to_bytes(4, "little") + encoded, [1], "BYTES"
    tensor = {
        "name": INPUT,
        "datatype": datatype,
        "shape": shape,
        "parameters": {"binary_data_size": len(data)},
    }
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise UserError(f"{url} is not an address", "give http://HOST:PORT/v2/models/NAME/infer", exit_code=2)
    return Target(
        host=parts.hostname,
        port=parts.port or 80,
        path=parts.path,
        body=head + data,
        headers=(("Inference-Header-Content-Length", str(len(head))),),
    )


def _command(bench: ServeBench) -> list[str]:
    """Returns what serves the model on a free port."""
    words = ["serve", os.fspath(bench.model), "--name", _NAME, "--http-port", "0", "--no-grpc"]
    words += [
        "--max-batch-size",
        str(bench.max_batch_size),
        "--reload-interval",
        "0",
        "--device",
        bench.device,
    ]
    words += [] if bench.threads is None else ["--threads", str(bench.threads)]
    return [sys.executable, "-m", "alexnet_fast", *words]


def _formed_batches(url: str) -> dict[int, int]:
    """Asks a server how many batches of each size it formed."""
    with urllib.request.urlopen(f"{url}/v2/models/{_NAME}/stats", timeout=30) as answer:  # noqa: S310
        (statistics,) = json.load(answer)["model_stats"]
    return {one["batch_size"]: one["compute_infer"]["count"] for one in statistics["batch_stats"]}
