"""Worker processes that a hostile image cannot take down.

A decoder that crashes, hangs or eats the memory costs one worker, which is replaced, and its image is
named. The processes are spawned, never forked: a fork copies the locks of the caller's threads.
"""

from __future__ import annotations

import collections
import contextlib
import ctypes
import dataclasses
import functools
import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import connection
from multiprocessing.context import ForkServerContext, SpawnContext
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from alexnet_fast.errors import UserError
from alexnet_fast.utils.interrupts import starting_processes

Task = TypeVar("Task")
Result = TypeVar("Result")

_Context = SpawnContext | ForkServerContext

# Beyond what a worker holds when it starts: the largest image that is read takes 0.27 GB, and its padded
# copy as much again.
MEMORY_BYTES = 4 << 30
# A second task waits in each worker's pipe, so that none idles while the parent is busy.
_TASKS_AHEAD = 2
_SECONDS_TO_START = 120.0
_MOST_FAILED_STARTS = 8

# Of glibc's mallopt, https://man7.org/linux/man-pages/man3/mallopt.3.html
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 64 << 20


class TaskFailed(NamedTuple):
    """What became of a task that could not be done.

    Args:
        reason: One line for a person.
    """

    reason: str


@dataclasses.dataclass
class _Job(Generic[Task]):
    """A task, and how many workers have died of it."""

    task: Task
    deaths: int = 0


class _Worker(Generic[Task]):
    """One process, the pipe to it and the jobs that it was given; it does them in order."""

    def __init__(self, function: Callable[[Task], Any], memory: int | None, context: _Context) -> None:
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, function, memory), daemon=True)
        with starting_processes():
            self.process.start()
        theirs.close()
        self.jobs: collections.deque[_Job[Task]] = collections.deque()
        self.ready = False
        self.since = time.monotonic()

    def give(self, job: _Job[Task]) -> None:
        """Sends a job; a worker that is dead is found out when its answer is awaited."""
        if not self.jobs and self.ready:
            self.since = time.monotonic()
        self.jobs.append(job)
        try:
            self.pipe.send(job.task)
        except OSError:
            return

    def kill(self) -> None:
        """Ends the process, whatever it is doing."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


def run_tasks(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    workers: int,
    seconds: float,
    deaths: int = 2,
    memory: int | None = MEMORY_BYTES,
    preload: Sequence[str] = (),
) -> Iterator[tuple[Task, Result | TaskFailed]]:
    """Does tasks in worker processes and yields each with its result, in no particular order.

    An exception in `function` makes its task `TaskFailed`, with the exception's message; so do a crash of the
    worker (after one more try, since another program may have killed it) and more than `seconds`.

    Args:
        function: Importable by its name, as is everything in a task.
        tasks: Small and picklable.
        workers: Number of processes.
        seconds: Maximum seconds for one task.
        deaths: How many workers may die of a task before it is `TaskFailed`.
        memory: Most bytes that a worker may take beyond what it holds when it starts; None for any number.
        preload: Modules that take long to import: workers are forked from a clean process that has them, so
            that a dead one is replaced at once.

    Raises:
        UserError: `function` raised it, `workers` is not a number of processes, or none can be started.
    """
    if workers < 1:
        raise UserError(f"--workers {workers} is not a number of processes", "give 1 or more", exit_code=2)
    pool: _Pool[Task, Result] = _Pool(
        functools.partial(_Worker, function, memory, _context(preload)), seconds, deaths
    )
    try:
        yield from pool.run(tasks, min(workers, len(tasks)))
    finally:
        pool.close()


def _context(preload: Sequence[str]) -> _Context:
    """Returns how workers are started."""
    if not preload:
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    return context


class _Pool(Generic[Task, Result]):
    """The workers of one `run_tasks`."""

    def __init__(self, hire: Callable[[], _Worker[Task]], seconds: float, deaths: int) -> None:
        self.hire, self.seconds, self.deaths = hire, seconds, deaths
        self.crew: list[_Worker[Task]] = []
        self.again: collections.deque[_Job[Task]] = collections.deque()
        self.failed_starts = 0

    def run(self, tasks: Sequence[Task], workers: int) -> Iterator[tuple[Task, Result | TaskFailed]]:
        """Yields each task with its result."""
        for _ in range(workers):
            self.crew.append(self.hire())
        new = iter(tasks)
        while True:
            self._feed(new)
            busy = [worker for worker in self.crew if worker.jobs]
            if not busy:
                return
            first = min(self._deadline(worker) for worker in busy)
            spoke = connection.wait([w.pipe for w in busy], max(0.0, first - time.monotonic()))
            for worker in busy:
                if worker.pipe in spoke:
                    yield from self._listen(worker)
                elif time.monotonic() > self._deadline(worker):
                    yield from self._give_up(worker)

    def close(self) -> None:
        """Ends every process."""
        for worker in self.crew:
            worker.kill()

    def _feed(self, new: Iterator[Task]) -> None:
        """Fills the workers' queues; what a dead worker left comes first."""
        for depth in range(1, _TASKS_AHEAD + 1):
            for worker in self.crew:
                while len(worker.jobs) < depth:
                    if self.again:
                        worker.give(self.again.popleft())
                        continue
                    try:
                        worker.give(_Job(next(new)))
                    except StopIteration:
                        return

    def _deadline(self, worker: _Worker[Task]) -> float:
        """Returns when a worker's present task has taken too long."""
        return worker.since + (self.seconds if worker.ready else _SECONDS_TO_START)

    def _listen(self, worker: _Worker[Task]) -> Iterator[tuple[Task, Result | TaskFailed]]:
        """Takes one message, or notes the death of its sender."""
        try:
            kind, value = worker.pipe.recv()
        except (EOFError, OSError):
            yield from self._handle_crash(worker)
            return
        worker.since = time.monotonic()
        if kind == "ready":
            worker.ready = True
            self.failed_starts = 0
            return
        if kind == "user error":
            raise value
        yield worker.jobs.popleft().task, value

    def _handle_crash(self, worker: _Worker[Task]) -> Iterator[tuple[Task, TaskFailed]]:
        """Replaces a worker that died; its task is tried once more before it is given up."""
        worker.process.join()
        code = worker.process.exitcode
        if not worker.ready:
            self._start_again(worker)
            return
        job = self._replace(worker)
        job.deaths += 1
        if job.deaths < self.deaths:
            self.again.append(job)
        else:
            yield job.task, TaskFailed(_cause_of_death(code))

    def _start_again(self, worker: _Worker[Task]) -> None:
        """Replaces a worker that died before it began: no task is to blame."""
        self.failed_starts += 1
        if self.failed_starts > _MOST_FAILED_STARTS:
            raise UserError(
                f"worker processes end before they begin (exit code {worker.process.exitcode})",
                "free memory, or give fewer --workers",
            )
        self.again.append(self._replace(worker))

    def _give_up(self, worker: _Worker[Task]) -> Iterator[tuple[Task, TaskFailed]]:
        """Ends a worker whose task takes too long."""
        if not worker.ready:
            raise UserError(
                f"a worker process did not start within {_SECONDS_TO_START:.0f} s", "give fewer --workers"
            )
        yield self._replace(worker).task, TaskFailed(f"took longer than {self.seconds:g} s")

    def _replace(self, worker: _Worker[Task]) -> _Job[Task]:
        """Puts a new worker in the place of one; returns its job at hand, and keeps the others for later."""
        worker.kill()
        job, *others = worker.jobs
        self.again.extend(others)
        self.crew[self.crew.index(worker)] = self.hire()
        return job


def _cause_of_death(code: int | None) -> str:
    """Returns what an exit code says about a worker."""
    if code == -signal.SIGKILL:
        return "the decoder was killed (SIGKILL), most often for want of memory"
    if code is not None and code < 0:
        return f"the decoder crashed ({signal.Signals(-code).name})"
    return f"the decoder ended its process (exit code {code})"


def _serve(pipe: connection.Connection, function: Callable[[Any], Any], memory: int | None) -> None:
    """Does what comes through the pipe until the other end closes, even if by the death of the parent."""
    # Ctrl-C reaches the whole group; the parent ends its workers. Until here SIGINT was blocked.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _go_first()
    if memory is not None:
        _limit_memory(memory)
    _keep_freed_memory()
    # libtiff and others print what they dislike about a file; it reaches the user as the reason.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        pipe.send(("ready", None))
        while True:
            pipe.send(_attempt(function, pipe.recv()))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _attempt(function: Callable[[Any], Any], task: Any) -> tuple[str, Any]:
    """Returns the result of one task, or why there is none."""
    try:
        return "done", function(task)
    except UserError as error:
        return "user error", error
    except MemoryError:
        return "done", TaskFailed(f"needs more than {MEMORY_BYTES >> 30} GiB of memory")
    except Exception as error:  # noqa: BLE001 - decoders raise anything for a damaged file; it is reported
        return "done", TaskFailed(" ".join(str(error).split()) or type(error).__name__)


def _go_first() -> None:
    """Lets the kernel end a worker rather than another process where the machine has no memory left."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _limit_memory(memory: int) -> None:
    """Makes a worker's allocations fail where they would take the machine's memory."""
    pages = Path("/proc/self/statm")
    if not pages.exists():
        return
    limit = int(pages.read_text(encoding="ascii").split()[0]) * resource.getpagesize() + memory
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _keep_freed_memory() -> None:
    """Lets a worker use the memory of one image for the next.

    By default glibc gives a megabyte back to the kernel at once, which costs 1,280 page faults an image of
    640 x 427: a third of the processor time of `prepare`. Other C libraries are left as they are.
    """
    with contextlib.suppress(AttributeError, OSError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_TRIM_THRESHOLD, 2 * _KEPT_BYTES)
        library.mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
