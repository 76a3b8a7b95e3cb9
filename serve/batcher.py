"""Puts requests together into batches: one thread calls the model, the queue before it has an end.

Requests that arrive while the model is busy form the next batch. A request is never torn apart, and batches
are formed in the order of arrival.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import math
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from alexnet_fast.serve.errors import RequestError


@dataclasses.dataclass
class Duration:
    """How often something happened and how long it took together."""

    count: int = 0
    ns: int = 0

    def add(self, ns: int, count: int = 1) -> None:
        """Counts `count` events of `ns` nanoseconds each."""
        self.count += count
        self.ns += ns * count

    def plain(self) -> dict[str, int]:
        """Returns the two as the protocol writes them."""
        return {"count": self.count, "ns": self.ns}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Times:
    """Where the time of a request went, in nanoseconds.

    Args:
        queue: From the arrival in the queue to the start of its batch.
        infer: The model's call for the whole batch.
    """

    queue: int
    infer: int


class Statistics:
    """Counts requests and batches of one version of a model; safe in threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parts = {
            name: Duration()
            for name in ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output")
        }
        self._batches: dict[int, Duration] = {}
        self._images = 0
        self._last_ms = 0

    def add_batch(self, images: int, infer_ns: int) -> None:
        """Counts one call of the model."""
        with self._lock:
            self._batches.setdefault(images, Duration()).add(infer_ns)
            self._images += images
            self._last_ms = time.time_ns() // 1_000_000

    def add_success(self, total_ns: int, input_ns: int, times: Times) -> None:
        """Counts one request that was answered."""
        with self._lock:
            self._parts["success"].add(total_ns)
            self._parts["queue"].add(times.queue)
            self._parts["compute_input"].add(input_ns)
            self._parts["compute_infer"].add(times.infer)
            self._parts["compute_output"].add(max(0, total_ns - input_ns - times.queue - times.infer))

    def add_failure(self, total_ns: int) -> None:
        """Counts one request that was not answered."""
        with self._lock:
            self._parts["fail"].add(total_ns)

    def plain(self) -> dict[str, Any]:
        """Returns what the statistics extension of the protocol shows of a model."""
        with self._lock:
            none = {"count": 0, "ns": 0}
            return {
                "last_inference": self._last_ms,
                "inference_count": self._images,
                "execution_count": sum(duration.count for duration in self._batches.values()),
                "inference_stats": {
                    **{name: duration.plain() for name, duration in self._parts.items()},
                    "cache_hit": none,
                    "cache_miss": none,
                },
                "batch_stats": [
                    {
                        "batch_size": size,
                        "compute_input": {"count": duration.count, "ns": 0},
                        "compute_infer": duration.plain(),
                        "compute_output": {"count": duration.count, "ns": 0},
                    }
                    for size, duration in sorted(self._batches.items())
                ],
            }


if TYPE_CHECKING:
    from collections.abc import Sequence

    from alexnet_fast.utils.arrays import AnyArray, Pixels

# Share of a new batch in the running mean of the model's speed: about the last ten count.
_NEWEST = 0.1


class Queue:
    """Counts the images that wait for one model, whichever of its versions they wait for.

    Used from the event loop and from the batchers' threads.

    Args:
        max_images: Images that may wait.
    """

    def __init__(self, max_images: int) -> None:
        self._lock = threading.Lock()
        self._max = max_images
        self._waiting = 0
        self._seconds_an_image = 0.0

    @property
    def waiting(self) -> int:
        """Images that wait."""
        return self._waiting

    def check(self) -> None:
        """Refuses a request that would surely be refused later, before its body is read.

        Raises:
            RequestError: The queue is full.
        """
        if self._waiting >= self._max:
            raise self._full()

    def admit(self, images: int) -> None:
        """Lets images in.

        Raises:
            RequestError: There is no room for them.
        """
        with self._lock:
            if self._waiting + images > self._max:
                raise self._full()
            self._waiting += images

    def leave(self, images: int) -> None:
        """Notes that images are classified now, or not any more."""
        with self._lock:
            self._waiting -= images

    def record_latency(self, images: int, seconds: float) -> None:
        """Remembers how long a batch took."""
        newest = seconds / images
        before = self._seconds_an_image or newest
        self._seconds_an_image = before + _NEWEST * (newest - before)

    def _full(self) -> RequestError:
        wait = max(1, math.ceil(self._waiting * self._seconds_an_image))
        return RequestError(
            503,
            f"the queue is full: {self._waiting} images wait, at most {self._max} may",
            retry_after=wait,
        )


@dataclasses.dataclass(eq=False)
class Job:
    """Images of one request on their way through the model.

    Args:
        images: uint8 (N, side, side, 3).
        outputs: Names of the outputs that are wanted.
        future: Gets the outputs by name and the times; done or cancelled where nobody waits any more.
        arrived_ns: `time.perf_counter_ns()` of the arrival.
    """

    images: Pixels
    outputs: Sequence[str]
    future: asyncio.Future[tuple[dict[str, AnyArray], Times]]
    arrived_ns: int


class Batcher:
    """Calls a model from one thread of its own, with as many images as wait.

    Args:
        run: The model: uint8 (N, side, side, 3) and names of outputs to these outputs, N rows each.
        queue: Is told when images leave it.
        statistics: Is told about each batch.
        max_batch_size: Images in one call.
        max_queue_delay: Seconds that the first request of a batch waits for others.
    """

    def __init__(
        self,
        run: Callable[[Pixels, Sequence[str]], dict[str, AnyArray]],
        queue: Queue,
        statistics: Statistics,
        *,
        max_batch_size: int,
        max_queue_delay: float,
    ) -> None:
        self._run = run
        self._queue = queue
        self._statistics = statistics
        self._max_batch_size = max_batch_size
        self._max_queue_delay = max_queue_delay
        self._jobs: collections.deque[Job] = collections.deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="batcher", daemon=True)
        self._thread.start()

    async def classify(
        self, images: Pixels, outputs: Sequence[str], deadline: float
    ) -> tuple[dict[str, AnyArray], Times]:
        """Waits for the answer to images that the queue has let in.

        Args:
            images: uint8 (N, side, side, 3), at most `max_batch_size` of them.
            outputs: Names of the outputs that are wanted.
            deadline: `time.monotonic()` after which the answer is not wanted.

        Raises:
            RequestError: The deadline passed first (504), or the model failed (500).
        """
        loop = asyncio.get_running_loop()
        job = Job(
            images=images,
            outputs=outputs,
            future=loop.create_future(),
            arrived_ns=time.perf_counter_ns(),
        )
        alarm = loop.call_later(
            deadline - time.monotonic(), _reject, job, RequestError(504, "the deadline passed")
        )
        with self._changed:
            self._jobs.append(job)
            self._changed.notify()
        try:
            return await job.future
        except BaseException:
            self._withdraw(job)
            raise
        finally:
            alarm.cancel()

    def _withdraw(self, job: Job) -> None:
        """Gives a place back that nobody waits in any more: the client hung up, or its deadline passed."""
        with self._changed:
            if job in self._jobs:
                self._jobs.remove(job)
                self._queue.leave(len(job.images))

    def close(self) -> None:
        """Lets the thread end once everything that waits is answered; returns at once."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _work(self) -> None:
        """Is the thread."""
        while jobs := self._next_jobs():
            self._queue.leave(sum(len(job.images) for job in jobs))
            if wanted := [job for job in jobs if not job.future.done()]:
                self._classify_batch(wanted)

    def _next_jobs(self) -> list[Job]:
        """Waits for the next batch; returns none once the batcher is closed and empty."""
        with self._changed:
            # Those who wait may withdraw meanwhile, so that all is looked at again after each change.
            while (left := self._seconds_to_wait()) is None or left > 0:
                self._changed.wait(left)
            return self._take()

    def _seconds_to_wait(self) -> float | None:
        """Returns how long the next batch may still grow; None while there is nobody in it."""
        if self._closed or self._count() >= self._max_batch_size:
            return 0.0
        if not self._jobs:
            return None
        return self._jobs[0].arrived_ns / 1e9 + self._max_queue_delay - time.perf_counter()

    def _count(self) -> int:
        return sum(len(job.images) for job in self._jobs)

    def _take(self) -> list[Job]:
        """Takes the oldest requests that fit into one batch."""
        jobs: list[Job] = []
        images = 0
        while self._jobs and images + len(self._jobs[0].images) <= self._max_batch_size:
            images += len(self._jobs[0].images)
            jobs.append(self._jobs.popleft())
        return jobs

    def _classify_batch(self, jobs: list[Job]) -> None:
        """Calls the model once, and hands each request its rows."""
        start = time.perf_counter_ns()
        try:
            images = jobs[0].images if len(jobs) == 1 else np.concatenate([job.images for job in jobs])
            answers = self._run(images, list({name: None for job in jobs for name in job.outputs}))
        except Exception as error:  # noqa: BLE001 - the thread outlives a batch that the model cannot take
            _in_loop(jobs, _reject_all, jobs, RequestError(500, f"the model failed: {error}"))
            return
        took = time.perf_counter_ns() - start
        self._statistics.add_batch(len(images), took)
        self._queue.record_latency(len(images), took / 1e9)
        _in_loop(jobs, _resolve_all, jobs, answers, start, took)


def _in_loop(jobs: list[Job], call: Callable[..., None], *arguments: object) -> None:
    """Calls something in the event loop that waits for these jobs, once for all of them."""
    jobs[0].future.get_loop().call_soon_threadsafe(call, *arguments)


def _resolve_all(jobs: list[Job], answers: dict[str, AnyArray], start_ns: int, took_ns: int) -> None:
    """Hands each request of a batch its rows."""
    row = 0
    for job in jobs:
        end = row + len(job.images)
        rows = {name: answers[name][row:end] for name in job.outputs}
        row = end
        if not job.future.done():
            job.future.set_result((rows, Times(queue=start_ns - job.arrived_ns, infer=took_ns)))


def _reject_all(jobs: list[Job], error: RequestError) -> None:
    for job in jobs:
        _reject(job, error)


def _reject(job: Job, error: RequestError) -> None:
    if not job.future.done():
        job.future.set_exception(error)
