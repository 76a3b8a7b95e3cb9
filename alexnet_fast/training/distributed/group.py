"""The processes that train one network together: who this one is, and how they speak."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, TypeVar

import torch
from torch import distributed, nn

from alexnet_fast.data.index_cache import SlowNotice
from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.processes import LOCAL_RANK, number_of_environment, processes_of_environment
from alexnet_fast.utils.device import choose_device

# SIGTERM comes from schedulers and launchers, SIGUSR1 from Slurm ahead of a job's end (sbatch --signal).
STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class StopSignals:
    """Takes note of the signals while its block runs, instead of dying of them.

    Python hands signals to the main thread alone: in any other thread none is noted.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in STOP_SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        """Remembers a signal."""
        self.received = signal.Signals(number).name


T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistributedContext:
    """This process among those of the job.

    Args:
        rank: Counted from 0 over all machines; 0 writes the run's files.
        world: Number of processes.
        control: The group that host values travel through, always over gloo, so that nothing waits for a GPU.
    """

    rank: int = 0
    world: int = 1
    control: distributed.ProcessGroup | None = None

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def wrap(self, net: nn.Module) -> nn.Module:
        """Returns a network whose backward pass averages the gradients of all processes."""
        return net if self.world == 1 else nn.parallel.DistributedDataParallel(net)

    def all_reduce_sum(self, values: list[float]) -> list[float]:
        """Returns the sums over all processes."""
        if self.world == 1:
            return values
        sums = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(sums, group=self.control)
        found: list[float] = sums.tolist()
        return found

    def gather(self, value: T) -> list[T]:
        """Returns what each process gave, by rank."""
        if self.world == 1:
            return [value]
        found: list[Any] = [None] * self.world
        distributed.all_gather_object(found, value, group=self.control)
        return found

    @torch.no_grad()
    def average(self, tensors: list[torch.Tensor]) -> None:
        """Replaces tensors by their mean over all processes."""
        if self.world > 1:
            for tensor in tensors:
                distributed.all_reduce(tensor)
                tensor.div_(self.world)

    @torch.no_grad()
    def broadcast(self, tensors: list[torch.Tensor]) -> None:
        """Replaces tensors by those of the first process."""
        if self.world > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, src=0)

    def run_on_main(self, function: Callable[[], T]) -> T:
        """Runs a function in the first process alone and gives its result to all.

        Raises:
            UserError: The function did, in every process alike.
        """
        if self.world == 1:
            return function()
        answer: list[Any] = [None]
        if self.is_main:
            try:
                answer = [function()]
            except UserError as error:
                answer = [error]
        distributed.broadcast_object_list(answer, src=0, group=self.control)
        if isinstance(answer[0], UserError):
            raise answer[0]
        found: T = answer[0]
        return found


ALONE = DistributedContext()


# How long a process waits for the others to come. torchrun lets none begin before all are there; processes
# that something else starts (srun, a script) may be minutes apart, while they import torch from a slow disk.
SECONDS_TO_JOIN = 300
_ADDRESS, _PORT = "MASTER_ADDR", "MASTER_PORT"
_LOOK_SECONDS = 0.2
_SECONDS_TO_GREET = 30
# Set where the store belongs to torchrun's agent, which has gathered the processes before.
_AGENT_STORE = "TORCHELASTIC_USE_AGENT_STORE"
_COUNTER = "alexnet-fast/joined"


class LostPeerError(UserError):
    """Another process of the job is gone; the reason is its own error."""


class NobodyCameError(UserError):
    """The other processes of the job were not there in time."""


def launched() -> bool:
    """Tells whether a launcher has started this process as one of several.

    Raises:
        UserError: The environment says it and contradicts itself.
    """
    return processes_of_environment()[1] > 1


def local_device(name: str) -> torch.device:
    """Returns the device of this process: of several on a machine, each takes the GPU of its number.

    Raises:
        UserError: There is no such device, or nothing says which one.
    """
    if not launched():
        return choose_device(name)
    kind, _, number = name.partition(":")
    if number:
        raise UserError(f"--device {name} is one for many processes", f"give --device {kind}", exit_code=2)
    device = choose_device(kind)
    if device.type == "cpu":
        return device
    if LOCAL_RANK not in os.environ and torch.cuda.device_count() > 1:
        raise _missing(LOCAL_RANK, "which of the GPUs is its own")
    return choose_device(f"cuda:{number_of_environment(LOCAL_RANK, 0)}")


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[DistributedContext]:
    """Joins the job while the block runs; a process that nobody launched is alone.

    Args:
        device: This process's; GPUs speak through NCCL, CPUs through gloo.

    Raises:
        UserError: The environment does not say where the others are, they do not come within
            `SECONDS_TO_JOIN`, or one of them ended during the block.
    """
    if not launched():
        yield ALONE
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        store, rank, world = _meet()
        distributed.init_process_group(
            "nccl" if device.type == "cuda" else "gloo", store=store, rank=rank, world_size=world
        )
        control = distributed.new_group(backend="gloo")
        yield DistributedContext(rank=rank, world=world, control=control)
    except RuntimeError as error:
        if not _is_lost_peer(error):
            raise
        raise LostPeerError(
            "another process of the job ended or cannot be reached", "see its error; then go on with --resume"
        ) from error
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()


def _meet() -> tuple[Any, int, int]:
    """Waits for the other processes; returns the store that they share, the rank and their number.

    The waiting is ours: within torch's own, Ctrl-C would be heard when it is over.

    Raises:
        UserError: An address is missing or wrong, or they do not come.
    """
    rank, world = processes_of_environment()
    address, port = _meeting_place()
    place, until = f"{address}:{port}", time.monotonic() + SECONDS_TO_JOIN
    patience = SlowNotice(
        f"process {rank} of {world} waits for the others at {place}, {SECONDS_TO_JOIN} s at most"
    )
    agent = os.environ.get(_AGENT_STORE) == "True"
    first = rank == 0 and not agent
    try:
        while not (first or _answers(address, port)):
            _wait(until, patience)
        store = distributed.TCPStore(  # type: ignore[attr-defined, unused-ignore]
            address,
            port,
            world,
            is_master=first,
            timeout=datetime.timedelta(seconds=_SECONDS_TO_GREET),
            wait_for_workers=False,
            multi_tenant=True,
        )
        # torchrun's agent lets none begin before all are there.
        here = world if agent else store.add(_COUNTER, 1)
        while here < world:
            _wait(until, patience)
            here = store.add(_COUNTER, 0)
    except (TimeoutError, distributed.DistError) as error:
        raise _nobody(error, place, rank, world) from error
    # From here on a slow step of another process is no reason to give up.
    store.set_timeout(distributed.default_pg_timeout)
    return store, rank, world


def _answers(address: str, port: int) -> bool:
    """Tells whether somebody listens there."""
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True


def _wait(until: float, patience: SlowNotice) -> None:
    """Waits a moment.

    Raises:
        TimeoutError: The time is over.
    """
    patience.tick()
    if time.monotonic() > until:
        raise TimeoutError
    time.sleep(_LOOK_SECONDS)


def _nobody(error: Exception, place: str, rank: int, world: int) -> UserError:
    """Returns why the processes did not meet."""
    if "in use" in str(error).lower() or "EADDRINUSE" in str(error):
        return UserError(f"{_PORT} of {place} is in use", "choose another port, the same for all processes")
    said = f" ({str(error).splitlines()[0]})" if str(error) else ""
    return NobodyCameError(
        f"process {rank} of {world} waited {SECONDS_TO_JOIN} s at most at {place}, and not all came{said}",
        f"start all {world} with one {_ADDRESS} and {_PORT}, or unset RANK and WORLD_SIZE for a single one",
    )


def _meeting_place() -> tuple[str, int]:
    """Returns address and port at which the processes meet.

    Raises:
        UserError: One is missing or is none.
    """
    for name in (_ADDRESS, _PORT):
        if not os.environ.get(name):
            raise _missing(name, "where the processes meet")
    address, port = os.environ[_ADDRESS], number_of_environment(_PORT, 0)
    if not 0 < port < 1 << 16:
        raise UserError(
            f"the environment has {_PORT}={port}, which is no port", "give 1 to 65535", exit_code=2
        )
    try:
        socket.getaddrinfo(address, port)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(
            f"the environment has {_ADDRESS}={address}, which no machine is called ({reason.lower()})",
            "give the name or address of the machine of rank 0",
            exit_code=2,
        ) from error
    return address, port


def _missing(name: str, what: str) -> UserError:
    """Returns what is said of a variable that is not there."""
    return UserError(
        f"the environment has WORLD_SIZE={os.environ.get('WORLD_SIZE')}, but {name} does not say {what}",
        "start the job with torchrun, which sets it, or unset RANK and WORLD_SIZE for a single process",
        exit_code=2,
    )


def _is_lost_peer(error: RuntimeError) -> bool:
    """Tells whether an error comes from the connection to another process.

    Gloo raises a plain RuntimeError with the path of its source or of the connection's end in it.
    """
    marks = ("gloo", "Connection closed by peer", "Connection reset by peer", "Broken pipe")
    return isinstance(error, distributed.DistError) or any(mark in str(error) for mark in marks)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ControlFlags:
    """What is to happen between two steps.

    Args:
        stop: Save and end.
        save: Save.
    """

    stop: bool = False
    save: bool = False


class StopSaveConsensus:
    """Makes every process follow a wish of any of them at the same step.

    The wishes of one step travel while the next one is computed, so nobody waits for them; they are
    followed one step later. A job of one process follows its own at once.

    Args:
        processes: Those who agree.
    """

    def __init__(self, processes: DistributedContext) -> None:
        self._processes = processes
        self._sent: torch.Tensor | None = None
        self._work: distributed.Work | None = None

    def sync(self, local: ControlFlags) -> ControlFlags:
        """Returns what all are to do now. Must be called equally often by all.

        Args:
            local: What this process wishes for.
        """
        if self._processes.world == 1:
            return local
        agreed = self._received()
        self._sent = torch.tensor([local.stop, local.save and not agreed.save], dtype=torch.int32)
        self._work = distributed.all_reduce(
            self._sent, distributed.ReduceOp.MAX, group=self._processes.control, async_op=True
        )
        return agreed

    def close(self) -> None:
        """Waits for what is still under way."""
        self._received()

    def _received(self) -> ControlFlags:
        """Returns the wishes of the step before."""
        if self._work is None or self._sent is None:
            return ControlFlags()
        self._work.wait()
        stop, save = self._sent.tolist()
        self._work = self._sent = None
        return ControlFlags(stop=bool(stop), save=bool(save))
