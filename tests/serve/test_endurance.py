"""Load of ten times the capacity, and fifty thousand requests (make soak). Each test prints its figures."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from server_load import statuses, target

from alexnet_fast.bench.http_load import Outcome, closed_loop, percentile_ms
from alexnet_fast.pipelines.spec import AugmentSpec
from benchmarks.memory import slope
from running_server import PROGRAM, running
from small_model import make_model

pytestmark = pytest.mark.soak

QUEUE, BATCH = 32, 16
# Requests between two measurements of the memory.
PART = 10_000
# Sends from a process of its own, so that the load does not share this interpreter's lock.
_OPEN_LOOP = """
import asyncio, dataclasses, json, sys
from alexnet_fast.bench.http_load import Target, open_loop
plain = json.load(sys.stdin)
plain["body"] = bytes.fromhex(plain["body"])
target = Target(**plain)
outcomes = asyncio.run(open_loop(target, float(sys.argv[1]), float(sys.argv[2])))
print(json.dumps([dataclasses.asdict(one) for one in outcomes]))
"""


def rate_of(outcomes: list[Outcome]) -> float:
    """Returns answers per second, from the first request to the last answer."""
    answered = [one for one in outcomes if one.status == 200]
    return len(answered) / max(one.at + one.seconds for one in answered)


def test_load_of_ten_times_the_capacity_keeps_the_goodput(tmp_path: Path) -> None:
    """Accepted requests wait no longer than the queue, others are refused at once; then all is well."""
    spec = AugmentSpec(resize=72, crop=64)
    model = make_model(tmp_path / "model.onnx", name="alexnet-64", spec=spec)
    image = np.random.default_rng(1).integers(0, 256, (72, 72, 3), dtype=np.uint8)
    options = ("--name", "small", "--max-batch-size", BATCH, "--max-queue-size", QUEUE, "--threads", 1)
    with running(model, *options) as server:
        asked = target(server, image)
        asyncio.run(closed_loop(asked, BATCH, 3))
        before = rate_of(asyncio.run(closed_loop(asked, 2 * BATCH, 10)))
        plain = {
            "host": asked.host, "port": asked.port, "path": asked.path, "body": asked.body.hex(),
            "headers": asked.headers,
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", _OPEN_LOOP, str(10 * before), "30"],
            input=json.dumps(plain), capture_output=True, text=True, check=True, timeout=120,
        )  # fmt: skip
        outcomes = [Outcome(**one) for one in json.loads(done.stdout)]
        first = asyncio.run(closed_loop(asked, 1, 2))
        after = rate_of(asyncio.run(closed_loop(asked, 2 * BATCH, 10)))
    # The speed of the machine changes with its other load.
    capacity = (before + after) / 2
    found = statuses(outcomes)
    accepted, refused = ([one for one in outcomes if one.status == status] for status in (200, 503))
    longest = 1000 * (QUEUE + 2 * BATCH) / capacity
    goodput = rate_of(outcomes) / capacity
    print(
        f"capacity {before:.1f}/s before, {after:.1f}/s after;"
        f" asked {len(outcomes) / 30:.0f}/s for 30 s: {found};"
        f" accepted p99 {percentile_ms(accepted, 99):.0f} ms (the queue is worth {longest:.0f} ms);"
        f" refused p50 {percentile_ms(refused, 50):.1f} ms, p99 {percentile_ms(refused, 99):.1f} ms;"
        f" goodput {goodput:.2f}; first answer afterwards {first[0].seconds * 1000:.0f} ms"
    )
    assert set(found) == {200, 503}
    assert percentile_ms(accepted, 99) < 2 * longest
    assert percentile_ms(refused, 99) < percentile_ms(accepted, 50)
    assert goodput > 0.9
    assert statuses(first).keys() == {200}


def memory_of(model_file: Path, image: np.ndarray, requests: int, program: Sequence[str]) -> list[float]:
    """Returns the memory of a server in MiB after each 10,000 requests, without the first 10,000."""
    memory: list[float] = []
    with running(model_file, "--name", "small", "--threads", 1, program=program) as server:
        asked = target(server, image)
        answered, due = 0, PART
        while len(memory) <= requests // PART:
            outcomes = asyncio.run(closed_loop(asked, 8, 2))
            assert statuses(outcomes).keys() == {200}
            answered += len(outcomes)
            while answered >= due:
                due += PART
                memory.append(server.resident_bytes() / 2**20)
    return memory


def test_memory_does_not_grow_with_requests(
    model_file: Path, pixels: np.ndarray, evidence: Callable[..., None]
) -> None:
    """50,000 requests after 10,000 to warm up; a server that leaks 256 bytes per request is detected."""
    ours = memory_of(model_file, pixels[0], 50_000, PROGRAM)
    leaking = memory_of(model_file, pixels[0], 50_000, (str(Path(__file__).with_name("leaking_server.py")),))
    growth, control = slope(ours), slope(leaking)
    evidence(
        "memory of the server",
        n=50_000,
        mib_per_10_000=round(growth, 3),
        control_mib_per_10_000=round(control, 3),
        limit=1.0,
        first_mib=round(ours[0], 1),
        last_mib=round(ours[-1], 1),
    )
    assert abs(growth) < 1
    assert control > 1
