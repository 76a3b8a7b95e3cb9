"""Joins requests into batches: a bounded queue, and one thread that calls the model.

Requests that arrive while the model is busy form the next batch. A request is never split, and batches are
formed in the order of arrival.
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

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from alexnet_fast.utils.arrays import AnyArray, Pixels

# Weight of a new batch in the running mean of the model's speed: about the last ten batches count.
_NEWEST = 0.1


@dataclasses.dataclass
class Duration:
    """How often something happened, and how long it took in all."""

    count: int = 0
    ns: int = 0

    def add(self, ns: int) -> None:
        """Counts one event of `ns` nanoseconds."""
        self.count += 1
        self.ns += ns

    def plain(self) -> dict[str, int]:
        """Returns both as the protocol writes them."""
        return {"count": self.count, "ns": self.ns}


class Statistics:
    """Counts requests and batches of one version of a model; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stages = {
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

    def add_success(self, total_ns: int, input_ns: int, job: Job) -> None:
        """Counts one request that was answered."""
        with self._lock:
            self._stages["success"].add(total_ns)
            self._stages["queue"].add(job.queue_ns)
            self._stages["compute_input"].add(input_ns)
            self._stages["compute_infer"].add(job.infer_ns)
            self._stages["compute_output"].add(max(0, total_ns - input_ns - job.queue_ns - job.infer_ns))

    def add_failure(self, total_ns: int) -> None:
        """Counts one request that was not answered."""
        with self._lock:
            self._stages["fail"].add(total_ns)

    def plain(self) -> dict[str, Any]:
        """Returns what the statistics extension of the protocol shows of a model."""
        with self._lock:
            none = {"count": 0, "ns": 0}
            return {
                "last_inference": self._last_ms,
                "inference_count": self._images,
                "execution_count": sum(duration.count for duration in self._batches.values()),
                "inference_stats": {
                    **{name: duration.plain() for name, duration in self._stages.items()},
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


class Queue:
    """Counts the images that wait for one model, for any of its versions.

    Used from the event loop and from the threads of the batchers.

    Args:
        max_images: Images that may wait.
    """

    def __init__(self, max_images: int) -> None:
        self._lock = threading.Lock()
        self._max = max_images
        self._waiting = 0
        self._seconds_per_image = 0.0

    @property
    def waiting(self) -> int:
        """Images that wait."""
        return self._waiting

    def check(self) -> None:
        """Rejects a request before its body is read, if `admit` would reject it later anyway.

        Raises:
            RequestError: The queue is full.
        """
        if self._waiting >= self._max:
            raise self._full()

    def admit(self, images: int) -> None:
        """Reserves room for images.

        Raises:
            RequestError: There is no room for them.
        """
        with self._lock:
            if self._waiting + images > self._max:
                raise self._full()
            self._waiting += images

    def leave(self, images: int) -> None:
        """Gives back the room of images that no longer wait."""
        with self._lock:
            self._waiting -= images

    def record_latency(self, images: int, seconds: float) -> None:
        """Updates the running mean of the model's speed, from which `Retry-After` is computed."""
        newest = seconds / images
        before = self._seconds_per_image or newest
        self._seconds_per_image = before + _NEWEST * (newest - before)

    def _full(self) -> RequestError:
        wait = max(1, math.ceil(self._waiting * self._seconds_per_image))
        return RequestError(
            503,
            f"the queue is full: {self._waiting} images wait, at most {self._max} may",
            retry_after=wait,
        )


@dataclasses.dataclass(eq=False)
class Job:
    """The images of one request on their way through the model.

    Args:
        images: uint8 (N, side, side, 3).
        outputs: Names of the requested outputs.
        future: Gets the outputs by name; done or cancelled once nobody waits any more.
        arrived_ns: `time.perf_counter_ns()` of the arrival.
        queue_ns: Time from the arrival to the start of the batch.
        infer_ns: Time of the model's call for the whole batch.
    """

    images: Pixels
    outputs: Sequence[str]
    future: asyncio.Future[dict[str, AnyArray]]
    arrived_ns: int
    queue_ns: int = 0
    infer_ns: int = 0


class Batcher:
    """Admits requests to a queue, and calls the model from a thread of its own with as many images as wait.

    Args:
        run: The model: from uint8 (N, side, side, 3) and names of outputs to these outputs, N rows each.
        queue: Room for the images that wait.
        statistics: Counts requests and batches.
        max_batch_size: Images per call of the model.
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
        self, count: int, load: Callable[[], Awaitable[Pixels]], outputs: Sequence[str], deadline: float
    ) -> dict[str, AnyArray]:
        """Admits images to the queue, loads them, and waits for their outputs.

        Args:
            count: Number of images, at most `max_batch_size`.
            load: Returns them, uint8 (count, side, side, 3), once they are admitted.
            outputs: Names of the requested outputs.
            deadline: `time.monotonic()` after which nobody needs the answer.

        Returns:
            The outputs by name, `count` rows each.

        Raises:
            RequestError: The queue is full (503), the deadline passed first (504), the model failed (500), or
                the images cannot be loaded.
        """
        start = time.perf_counter_ns()
        self._queue.admit(count)
        try:
            images = await self._loaded(count, load)
            future = asyncio.get_running_loop().create_future()
            job = Job(images=images, outputs=outputs, future=future, arrived_ns=time.perf_counter_ns())
            rows = await self._answer(job, deadline)
        except BaseException:
            self._statistics.add_failure(time.perf_counter_ns() - start)
            raise
        self._statistics.add_success(time.perf_counter_ns() - start, job.arrived_ns - start, job)
        return rows

    async def _loaded(self, count: int, load: Callable[[], Awaitable[Pixels]]) -> Pixels:
        """Loads images that are admitted, and gives their room back if that fails."""
        try:
            return await load()
        except BaseException:
            self._queue.leave(count)
            raise

    async def _answer(self, job: Job, deadline: float) -> dict[str, AnyArray]:
        """Waits for the outputs of a job, until its deadline."""
        late = RequestError(504, "the deadline passed")
        alarm = job.future.get_loop().call_later(deadline - time.monotonic(), _reject, job, late)
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
        """Removes a job for which nobody waits: the client disconnected, or the deadline passed."""
        with self._changed:
            if job in self._jobs:
                self._jobs.remove(job)
                self._queue.leave(len(job.images))

    def close(self) -> None:
        """Ends the thread once every waiting job is answered; returns at once."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _work(self) -> None:
        """Runs the thread."""
        while jobs := self._next_jobs():
            self._queue.leave(sum(len(job.images) for job in jobs))
            if awaited := [job for job in jobs if not job.future.done()]:
                self._classify_batch(awaited)

    def _next_jobs(self) -> list[Job]:
        """Waits for the next batch; returns an empty one once the batcher is closed and empty."""
        with self._changed:
            # A job may be withdrawn meanwhile, so each change starts the wait anew.
            while (left := self._seconds_to_wait()) is None or left > 0:
                self._changed.wait(left)
            return self._pop_batch()

    def _seconds_to_wait(self) -> float | None:
        """Returns how long the next batch may still grow; None while it is empty."""
        if self._closed or sum(len(job.images) for job in self._jobs) >= self._max_batch_size:
            return 0.0
        if not self._jobs:
            return None
        return self._jobs[0].arrived_ns / 1e9 + self._max_queue_delay - time.perf_counter()

    def _pop_batch(self) -> list[Job]:
        """Removes the oldest jobs that fit into one batch."""
        jobs: list[Job] = []
        images = 0
        while self._jobs and images + len(self._jobs[0].images) <= self._max_batch_size:
            images += len(self._jobs[0].images)
            jobs.append(self._jobs.popleft())
        return jobs

    def _classify_batch(self, jobs: list[Job]) -> None:
        """Calls the model once, and gives each job its rows."""
        start = time.perf_counter_ns()
        try:
            images = jobs[0].images if len(jobs) == 1 else np.concatenate([job.images for job in jobs])
            answers = self._run(images, list({name: None for job in jobs for name in job.outputs}))
        except Exception as error:  # noqa: BLE001 - the thread outlives a batch that the model cannot take
            _in_loop(jobs, _reject_all, jobs, RequestError(500, f"the model failed: {error}"))
            return
        infer_ns = time.perf_counter_ns() - start
        self._statistics.add_batch(len(images), infer_ns)
        self._queue.record_latency(len(images), infer_ns / 1e9)
        _in_loop(jobs, _resolve_all, jobs, answers, start, infer_ns)


def _in_loop(jobs: list[Job], call: Callable[..., None], *arguments: object) -> None:
    """Calls a function in the event loop of these jobs, once for all of them."""
    jobs[0].future.get_loop().call_soon_threadsafe(call, *arguments)


def _resolve_all(jobs: list[Job], answers: dict[str, AnyArray], start_ns: int, infer_ns: int) -> None:
    """Gives each job of a batch its rows."""
    row = 0
    for job in jobs:
        end = row + len(job.images)
        job.queue_ns, job.infer_ns = start_ns - job.arrived_ns, infer_ns
        if not job.future.done():
            job.future.set_result({name: answers[name][row:end] for name in job.outputs})
        row = end


def _reject_all(jobs: list[Job], error: RequestError) -> None:
    for job in jobs:
        _reject(job, error)


def _reject(job: Job, error: RequestError) -> None:
    if not job.future.done():
        job.future.set_exception(error)
