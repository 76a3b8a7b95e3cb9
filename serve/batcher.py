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
from typing import TYPE_CHECKING

import numpy as np

from alexnet_fast.serve.errors import RequestError
from alexnet_fast.serve.statistics import Statistics, Times

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alexnet_fast.runtime.onnx_runtime import Images
    from alexnet_fast.runtime.tensor_types import Array

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

    def enter(self, images: int) -> None:
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

    def learn(self, images: int, seconds: float) -> None:
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

    images: Images
    outputs: Sequence[str]
    future: asyncio.Future[tuple[dict[str, Array], Times]]
    arrived_ns: int


class Batcher:
    """Calls a model from one thread of its own, with as many images as wait.

    Args:
        run: The model: uint8 (N, side, side, 3) and names of outputs to these outputs, N rows each.
        queue: Is told when images leave it.
        statistics: Is told about each batch.
        max_batch: Images in one call.
        max_delay: Seconds that the first request of a batch waits for others.
    """

    def __init__(
        self,
        run: Callable[[Images, Sequence[str]], dict[str, Array]],
        queue: Queue,
        statistics: Statistics,
        *,
        max_batch: int,
        max_delay: float,
    ) -> None:
        self._run = run
        self._queue = queue
        self._statistics = statistics
        self._max_batch = max_batch
        self._max_delay = max_delay
        self._jobs: collections.deque[Job] = collections.deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="batcher", daemon=True)
        self._thread.start()

    async def classify(
        self, images: Images, outputs: Sequence[str], deadline: float
    ) -> tuple[dict[str, Array], Times]:
        """Waits for the answer to images that the queue has let in.

        Args:
            images: uint8 (N, side, side, 3), at most `max_batch` of them.
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
        if self._closed or self._count() >= self._max_batch:
            return 0.0
        if not self._jobs:
            return None
        return self._jobs[0].arrived_ns / 1e9 + self._max_delay - time.perf_counter()

    def _count(self) -> int:
        return sum(len(job.images) for job in self._jobs)

    def _take(self) -> list[Job]:
        """Takes the oldest requests that fit into one batch."""
        jobs: list[Job] = []
        images = 0
        while self._jobs and images + len(self._jobs[0].images) <= self._max_batch:
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
        self._queue.learn(len(images), took / 1e9)
        _in_loop(jobs, _resolve_all, jobs, answers, start, took)


def _in_loop(jobs: list[Job], call: Callable[..., None], *arguments: object) -> None:
    """Calls something in the event loop that waits for these jobs, once for all of them."""
    jobs[0].future.get_loop().call_soon_threadsafe(call, *arguments)


def _resolve_all(jobs: list[Job], answers: dict[str, Array], start_ns: int, took_ns: int) -> None:
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
