"""The processes that train together: joining, communication, and agreement to stop or save."""

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
    """Records the stop signals while its block runs, instead of dying of them.

    Python delivers signals to the main thread alone; in another thread none is recorded.
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
        rank: Counted from 0 over all machines; rank 0 writes the files of the run.
        world: Number of processes.
        control: The group for host values, always gloo, so that no exchange waits for a GPU.
    """

    rank: int = 0
    world: int = 1
    control: distributed.ProcessGroup | None = None

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files."""
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
        totals: list[float] = sums.tolist()
        return totals

    def gather(self, value: T) -> list[T]:
        """Returns the values of all processes, by rank."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        distributed.all_gather_object(values, value, group=self.control)
        return values

    @torch.no_grad()
    def average(self, tensors: list[torch.Tensor]) -> None:
        """Replaces tensors by their mean over all processes."""
        if self.world > 1:
            for tensor in tensors:
                distributed.all_reduce(tensor)
                tensor.div_(self.world)

    @torch.no_grad()
    def broadcast(self, tensors: list[torch.Tensor]) -> None:
        """Replaces tensors by those of rank 0."""
        if self.world > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, src=0)

    def run_on_main(self, function: Callable[[], T]) -> T:
        """Runs a function in rank 0 alone and returns its result in all processes.

        Raises:
            UserError: The function raised it; every process raises the same.
        """
        if self.world == 1:
            return function()
        result: list[Any] = [None]
        if self.is_main:
            try:
                result = [function()]
            except UserError as error:
                result = [error]
        distributed.broadcast_object_list(result, src=0, group=self.control)
        if isinstance(result[0], UserError):
            raise result[0]
        value: T = result[0]
        return value


ALONE = DistributedContext()


# Seconds that a process waits for the others. torchrun starts no process before all machines are there;
# processes of srun or a script may be minutes apart, while they import torch from a slow disk.
JOIN_TIMEOUT_SECONDS = 300
_ADDRESS, _PORT = "MASTER_ADDR", "MASTER_PORT"
_POLL_SECONDS = 0.2
_CONNECT_SECONDS = 30
# Set if the store belongs to torchrun's agent, which has gathered the processes before.
_AGENT_STORE = "TORCHELASTIC_USE_AGENT_STORE"
_COUNTER = "alexnet-fast/joined"


class LostPeerError(UserError):
    """Another process of the job has ended; its own error tells why."""


class JoinTimeoutError(UserError):
    """The other processes of the job did not join in time."""


def launched() -> bool:
    """Returns whether a launcher has started this process as one of several.

    Raises:
        UserError: The environment variables of the launcher contradict each other.
    """
    return processes_of_environment()[1] > 1


def local_device(name: str) -> torch.device:
    """Returns the device of this process: the GPU of its local rank if there are several processes.

    Raises:
        UserError: There is no such device, or LOCAL_RANK is missing.
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
def init_distributed(device: torch.device) -> Iterator[DistributedContext]:
    """Joins the job while the block runs; a process without a launcher is alone.

    Args:
        device: The device of this process; GPUs communicate by NCCL, CPUs by gloo.

    Raises:
        UserError: The environment lacks the address of the others, they do not join within
            `JOIN_TIMEOUT_SECONDS`, or one of them ends during the block.
    """
    if not launched():
        yield ALONE
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        store, rank, world = _rendezvous()
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


def _rendezvous() -> tuple[Any, int, int]:
    """Waits for the other processes; returns the store that they share, the rank and the world size.

    Ours instead of torch's waiting, which reacts to Ctrl-C only when it is over.

    Raises:
        UserError: An address is missing or wrong, or a process does not join in time.
    """
    rank, world = processes_of_environment()
    address, port = _master_address()
    place, until = f"{address}:{port}", time.monotonic() + JOIN_TIMEOUT_SECONDS
    patience = SlowNotice(
        f"process {rank} of {world} waits for the others at {place}, {JOIN_TIMEOUT_SECONDS} s at most"
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
            timeout=datetime.timedelta(seconds=_CONNECT_SECONDS),
            wait_for_workers=False,
            multi_tenant=True,
        )
        # torchrun's agent starts no process before all machines are there.
        joined = world if agent else store.add(_COUNTER, 1)
        while joined < world:
            _wait(until, patience)
            joined = store.add(_COUNTER, 0)
    except (TimeoutError, distributed.DistError) as error:
        raise _join_error(error, place, rank, world) from error
    # From here on a slow step of another process must not end this one.
    store.set_timeout(distributed.default_pg_timeout)
    return store, rank, world


def _answers(address: str, port: int) -> bool:
    """Returns whether a process listens at an address."""
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True


def _wait(until: float, patience: SlowNotice) -> None:
    """Waits for a moment.

    Raises:
        TimeoutError: It is later than `until`.
    """
    patience.tick()
    if time.monotonic() > until:
        raise TimeoutError
    time.sleep(_POLL_SECONDS)


def _join_error(error: Exception, place: str, rank: int, world: int) -> UserError:
    """Returns the error for processes that did not join."""
    if "in use" in str(error).lower() or "EADDRINUSE" in str(error):
        return UserError(f"{_PORT} of {place} is in use", "choose another port, the same for all processes")
    reason = f" ({str(error).splitlines()[0]})" if str(error) else ""
    return JoinTimeoutError(
        f"process {rank} of {world} waited at most {JOIN_TIMEOUT_SECONDS} s at {place},"
        f" and not all processes joined{reason}",
        f"start all {world} with one {_ADDRESS} and {_PORT}, or unset RANK and WORLD_SIZE for a single one",
    )


def _master_address() -> tuple[str, int]:
    """Returns address and port of the store.

    Raises:
        UserError: One is missing or invalid.
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
    """Returns the error for a missing environment variable."""
    return UserError(
        f"the environment has WORLD_SIZE={os.environ.get('WORLD_SIZE')}, but {name} does not say {what}",
        "start the job with torchrun, which sets it, or unset RANK and WORLD_SIZE for a single process",
        exit_code=2,
    )


def _is_lost_peer(error: RuntimeError) -> bool:
    """Returns whether an error comes from the connection to another process.

    Gloo raises a plain RuntimeError whose text holds the path of its source or the end of the connection.
    """
    marks = ("gloo", "Connection closed by peer", "Connection reset by peer", "Broken pipe")
    return isinstance(error, distributed.DistError) or any(mark in str(error) for mark in marks)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ControlFlags:
    """What a process wants to happen between two steps.

    Args:
        stop: Save and end.
        save: Save.
    """

    stop: bool = False
    save: bool = False


class StopSaveConsensus:
    """Lets all processes stop or save at the same step, when any of them asks for it.

    The flags of one step are exchanged while the next one is computed, so no process waits for them; they
    take effect one step later. In a job of one process they take effect at once.

    Args:
        dist: The processes.
    """

    def __init__(self, dist: DistributedContext) -> None:
        self._dist = dist
        self._sent: torch.Tensor | None = None
        self._work: distributed.Work | None = None

    def sync(self, local: ControlFlags) -> ControlFlags:
        """Returns what all processes do now. All processes must call it equally often.

        Args:
            local: The flags of this process.
        """
        if self._dist.world == 1:
            return local
        agreed = self._received()
        self._sent = torch.tensor([local.stop, local.save and not agreed.save], dtype=torch.int32)
        self._work = distributed.all_reduce(
            self._sent, distributed.ReduceOp.MAX, group=self._dist.control, async_op=True
        )
        return agreed

    def close(self) -> None:
        """Waits for the exchange that is under way."""
        self._received()

    def _received(self) -> ControlFlags:
        """Returns the flags of the previous step."""
        if self._work is None or self._sent is None:
            return ControlFlags()
        self._work.wait()
        stop, save = self._sent.tolist()
        self._work = self._sent = None
        return ControlFlags(stop=bool(stop), save=bool(save))
