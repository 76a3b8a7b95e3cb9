"""Starting the processes of a job on this machine, through torch's own elastic launcher."""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alexnet_fast.errors import UserError
from alexnet_fast.utils.interrupts import Interrupted, gone_at_the_end, interruptible
from alexnet_fast.utils.streams import OutputError, prepare_streams

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    from alexnet_fast.training.config import TrainConfig


def train_in_processes(config: TrainConfig, processes: int, **arguments: Any) -> dict[str, Any]:
    """Trains in several processes of this machine.

    Args:
        config: The options.
        processes: Number of processes.
        arguments: The other arguments of `training.run.train`.

    Returns:
        What `training.run.train` returned in rank 0.

    Raises:
        UserError: A process raised it, or failed otherwise.
    """
    temporary = tempfile.TemporaryDirectory(prefix="alexnet-fast-")
    directory = Path(temporary.name)
    with temporary as name, gone_at_the_end(directory):
        options = {"config": config.to_dict(), "arguments": arguments}
        (directory / "options.json").write_text(json.dumps(options), encoding="utf-8")
        try:
            stopped = launch([sys.executable, "-m", __name__, name], processes)
        except UserError:
            _raise_first(directory)
            raise
        result = directory / "result.json"
        if not result.exists():
            _raise_first(directory)
            raise UserError(f"{stopped} ended the job before it had begun", "start it again with --resume")
        printed: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        return printed


def _raise_first(directory: Path) -> None:
    """Raises the first error that a process wrote, except errors about the end of another process.

    Raises:
        UserError: A process wrote an error.
    """
    for path in sorted(directory.glob("error-*.json")):
        error = json.loads(path.read_text(encoding="utf-8"))
        if not error["lost_peer"]:
            raise UserError(error["problem"], error["hint"], exit_code=error["exit_code"])


def _run(directory: Path) -> None:
    """Trains in one process of the job.

    Raises:
        UserError: Training failed.
    """
    from alexnet_fast.training.config import TrainConfig
    from alexnet_fast.training.console import EpochLine
    from alexnet_fast.training.run import train

    end_with_launcher()
    options = json.loads((directory / "options.json").read_text(encoding="utf-8"))
    line = EpochLine()
    try:
        result = train(TrainConfig.from_dict(options["config"]), **options["arguments"], on_progress=line)
    finally:
        line.close()
    if os.environ["RANK"] == "0":
        (directory / "result.json").write_text(json.dumps(result), encoding="utf-8")


def main() -> None:
    """Runs one process of a job; writes a `UserError` to a file, so that the launcher prints it once."""
    directory = Path(sys.argv[1])
    with contextlib.suppress(OutputError):
        prepare_streams()
    try:
        with interruptible():
            # The launcher has blocked them, so that nothing could be interrupted before.
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            _run(directory)
    except UserError as error:
        from alexnet_fast.training.distributed.group import LostPeerError

        report = {
            "problem": error.problem,
            "hint": error.hint,
            "exit_code": error.exit_code,
            "lost_peer": isinstance(error, LostPeerError),
        }
        (directory / f"error-{os.environ['RANK']}.json").write_text(json.dumps(report), encoding="utf-8")
        sys.exit(error.exit_code)
    except Interrupted as error:
        sys.exit(128 + error.number)


# The launcher passes these on to every process and waits for them.
_SIGNALS = "SIGTERM,SIGINT,SIGUSR1"

# Time for a checkpoint of hundreds of megabytes on a slow disk; after it the processes are killed.
_SECONDS_TO_SAVE = 120

# Linux: a process gets this signal when its parent dies (prctl(2), PR_SET_PDEATHSIG).
_PR_SET_PDEATHSIG = 1


def launch(command: Sequence[str], processes: int) -> str | None:
    """Runs a command in several processes that can join each other, until all have ended.

    Args:
        command: Program and arguments, the same for each; torchrun's environment variables differ.
        processes: Number of processes.

    Returns:
        The name of the signal that ended the job early, or None. The processes have received the signal, too,
        and had time to save.

    Raises:
        UserError: One of the processes failed; the others were ended.
        KeyboardInterrupt: The user pressed Ctrl-C; the processes were ended.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    _share_threads(processes)
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=f"alexnet-fast-{os.getpid()}",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        signals_to_handle=_SIGNALS,
        shutdown_timeout=_SECONDS_TO_SAVE,
        logs_specs=DefaultLogsSpecs(log_dir=os.devnull),
    )
    try:
        with _signals_kept_from_children():
            elastic_launch(config, command[0])(*command[1:])
    except ChildFailedError as error:
        raise _failure(error, processes) from error
    except SignalException as error:
        if error.sigval == signal.SIGINT:
            raise KeyboardInterrupt from error
        return error.sigval.name
    return None


@contextlib.contextmanager
def _signals_kept_from_children() -> Iterator[None]:
    """Starts processes with the launcher's signals blocked, until they can handle them.

    They inherit the mask of the thread that starts them, this one. Another thread receives the signals of the
    launcher itself; Python still calls the handlers in the main thread, which polls ten times per second.
    torch leaves its handlers in place; the previous ones are restored.
    """
    over = threading.Event()
    numbers = [signal.Signals[name] for name in _SIGNALS.split(",")]
    handlers = {number: signal.getsignal(number) for number in numbers}
    threading.Thread(target=over.wait, name="takes signals", daemon=True).start()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        over.set()


def end_with_launcher() -> None:
    """Sends this process SIGTERM when its launcher is killed, so that it saves and ends."""
    if ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM) == 0 and os.getppid() == 1:
        os.kill(os.getpid(), signal.SIGTERM)


def _share_threads(processes: int) -> None:
    """Gives each process its share of the cores, unless the user has set OMP_NUM_THREADS."""
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))


def _failure(error: ChildFailedError, processes: int) -> UserError:
    """Returns the error for the first failed process; one that was killed comes before those that lost it."""
    rank, failure = min(error.failures.items(), key=lambda each: (each[1].exitcode >= 0, each[1].timestamp))
    who = f"process {rank} of {processes}"
    if failure.exitcode < 0:
        how = f"was killed by {signal.Signals(-failure.exitcode).name}"
        return UserError(f"{who} {how}", "go on with --resume, which examines what it was decoding")
    return UserError(
        f"{who} ended with exit code {failure.exitcode}", "go on with --resume once it is mended"
    )


if __name__ == "__main__":
    main()
