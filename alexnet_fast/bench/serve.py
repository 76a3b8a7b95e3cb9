"""Speed of a server, against the bare model in this process on batches of the same sizes."""

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
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from alexnet_fast.bench.http_load import Outcome, Target, closed_loop, open_loop, percentile_ms
from alexnet_fast.bench.infer_config import random_images
from alexnet_fast.bench.interleave import OnProgress, Rates, ignore_progress, run_interleaved
from alexnet_fast.bench.report import compared, main_figure
from alexnet_fast.errors import UserError
from alexnet_fast.runtime.metadata import INPUT
from alexnet_fast.runtime.open import open_backend
from alexnet_fast.utils.ranges import check_fields

if TYPE_CHECKING:
    from pathlib import Path

OURS = "alexnet-fast serve"
BARE = "bare session, same batches"
UNIT = "requests_per_second"
_NAME = "model"
_OK, _REJECTED = 200, 503
# Seconds between two reads of the server's output.
_PAUSE_S = 0.05
# Bytes that are read of it: the line with its address comes early.
_MOST = 1 << 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServeBench:
    """What `bench serve` measures.

    Args:
        model: An exported model; it is served by a process of its own on a free port of this machine.
        concurrency: Requests at once (closed loop).
        rate: Requests per second (open loop); None for a closed loop.
        seconds: Length of a run.
        runs: Counted runs per candidate.
        encoded: An encoded image to send; None for random pixels as a uint8 tensor.
        threads: CPU threads of the model; None for one per core.
        max_batch_size: Largest batch of the server.
        device: Device of the server and of the bare model, as `open_backend` takes it.
        against: Addresses of the V2 inference path of other servers of the same model, by name.

    Raises:
        UserError: A number is outside its range, or the rate and the time allow no request.
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
        check_fields(self)
        if self.rate is not None and round(self.rate * self.seconds) < 1:
            raise UserError(
                f"--rate {self.rate:g} asks nothing in {self.seconds:g} s", "give more --seconds", exit_code=2
            )


def measure_serve(bench: ServeBench, on_progress: OnProgress = ignore_progress) -> dict[str, Any]:
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
    answered = [each for each in ours if each.status == _OK]
    latencies = {BARE: bare.p50_ms, **{name: each.p50_ms for name, each in candidates.items()}}
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
        "rejected": sum(each.status == _REJECTED for each in ours),
        "failed": sum(each.status not in (_OK, _REJECTED) for each in ours),
        "batch_sizes": {str(size): count for size, count in sorted(bare.sizes.items())},
        "compared": _compared(rates, latencies),
    }


def _compared(rates: Rates, latencies: Mapping[str, float]) -> list[dict[str, Any]]:
    """Returns the baselines, with the latency of each and what ours adds to it."""
    baselines = compared(rates, OURS, UNIT)
    return [
        {
            **baseline,
            "p50_ms": latencies[baseline["name"]],
            "added_p50_ms": latencies[OURS] - latencies[baseline["name"]],
        }
        for baseline in baselines
    ]


class _Http:
    """A candidate: a server under load; its rate counts the answered requests.

    Attributes:
        counted: The requests of the counted runs.
    """

    def __init__(self, bench: ServeBench, url: str, side: int) -> None:
        self._bench = bench
        self._target = _target(url, bench.encoded, side)
        self.counted: list[Outcome] = []

    def __call__(self, run: int) -> float:
        """Sends requests for `seconds`; run 0 is not counted."""
        bench = self._bench
        if bench.rate is None:
            outcomes = asyncio.run(closed_loop(self._target, bench.concurrency, bench.seconds))
        else:
            outcomes = asyncio.run(open_loop(self._target, bench.rate, bench.seconds, seed=run))
        answered = sum(each.status == _OK for each in outcomes)
        if not answered:
            raise UserError(
                f"{self._target.host}:{self._target.port}{self._target.path} answered none of"
                f" {len(outcomes)} requests (last status {outcomes[-1].status if outcomes else 0})",
                "check the address and the model's name",
            )
        if run:
            self.counted += outcomes
        lasted = max(each.at + each.seconds for each in outcomes)
        return answered / lasted

    @property
    def p50_ms(self) -> float:
        """Median latency of the answered requests."""
        return percentile_ms([each for each in self.counted if each.status == _OK], 50)


class _Bare:
    """A candidate: the model itself, called with the batch sizes that our server formed in the same turn.

    Attributes:
        sizes: Number of batches of each size that the server formed since its start.
    """

    def __init__(self, bench: ServeBench, run: Callable[[Any], Any], side: int, url: str) -> None:
        self._bench, self._run, self._url = bench, run, url
        self._images = random_images(bench.max_batch_size, side)
        self.sizes: dict[int, int] = {}
        self._milliseconds: list[float] = []

    def __call__(self, run: int) -> float:
        """Repeats the server's batches for at most `seconds`."""
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
        """Median time of an image's batch."""
        return float(np.median(self._milliseconds))


def _target(url: str, encoded: bytes | None, side: int) -> Target:
    """Returns the request: one image in the binary form of the protocol, all probabilities back."""
    if encoded is None:
        data, shape, datatype = random_images(1, side).tobytes(), [1, side, side, 3], "UINT8"
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
    """Returns the command that serves the model on a free port."""
    options = {"max-batch-size": bench.max_batch_size, "reload-interval": 0, "device": bench.device}
    if bench.threads is not None:
        options["threads"] = bench.threads
    words = ["serve", os.fspath(bench.model), "--name", _NAME, "--http-port", "0", "--no-grpc"]
    words += [f"--{name}={value}" for name, value in options.items()]
    return [sys.executable, "-m", "alexnet_fast", *words]


def _formed_batches(url: str) -> dict[int, int]:
    """Returns the number of batches of each size that a server has formed."""
    with urllib.request.urlopen(f"{url}/v2/models/{_NAME}/stats", timeout=30) as answer:  # noqa: S310
        (statistics,) = json.load(answer)["model_stats"]
    return {each["batch_size"]: each["compute_infer"]["count"] for each in statistics["batch_stats"]}


@contextlib.contextmanager
def own_server(command: Sequence[str], seconds: float = 120) -> Iterator[str]:
    """Starts a server, yields its address once it listens, and ends it afterwards.

    Args:
        command: `alexnet-fast serve` with its options.
        seconds: Timeout of the start.

    Raises:
        UserError: The server ended before it listened, or took longer.
    """
    # A file: nobody reads its output later, and a full pipe would stop a server with many messages.
    with (
        tempfile.TemporaryFile() as stderr,
        subprocess.Popen(command, stderr=stderr, stdout=subprocess.DEVNULL) as process,
    ):
        try:
            yield _address(process, stderr, time.monotonic() + seconds)
        finally:
            process.terminate()


def _address(process: subprocess.Popen[bytes], stderr: IO[bytes], until: float) -> str:
    """Waits for the line with a server's address."""
    while True:
        ended = process.poll() is not None
        # The server shares the position of this file, so reading must not move it.
        lines = os.pread(stderr.fileno(), _MOST, 0).decode(errors="replace").split("\n")
        # The last line may be incomplete.
        for line in lines[:-1]:
            if line.startswith("{") and (event := json.loads(line))["event"] == "ready":
                return str(event["http"])
        if ended or time.monotonic() > until:
            last = [line.strip() for line in lines if line.strip()][-1:] or ["it printed nothing"]
            hint = "start it by hand: alexnet-fast serve MODEL"
            raise UserError(f"the server did not start: {last[0]}", hint)
        time.sleep(_PAUSE_S)
