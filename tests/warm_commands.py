"""`alexnet-fast` in processes forked from one that has imported what commands import.

Starting Python with torch and DALI takes seconds of a processor, forking hundredths of one. The forked
process is a real one, with its own exit code, streams, folder and environment. It can't show anything about
the start itself: tests of imports, signals and variables that are read while libraries load start Python
anew.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

# What `train`, `predict`, `export` and `prepare` import at some point. Not onnxruntime: it starts a thread,
# which a forked process can't end; each command imports it for itself.
PRELOADED = (
    "torch",
    "nvidia.dali.plugin.pytorch",
    "onnx",
    "PIL.Image",
    "alexnet_fast.cli.main",
    "alexnet_fast.training.run",
    "alexnet_fast.export.onnx.model",
    "alexnet_fast.prepare.job",
    "alexnet_fast.scan.scan",
    "alexnet_fast.inference.classifier",
    "alexnet_fast.inference.evaluate",
)
# Read while Python and its libraries start: a forked process is too late for them.
_READ_AT_START = ("MKL_", "LD_", "MALLOC_", "PYTHON")


class _Commands:
    """The process that forks, and the way to reach it."""

    def __init__(self) -> None:
        # Short, because the address of a socket is: pytest's own folders are too deep.
        self.directory = Path(tempfile.mkdtemp(prefix="warm-"))
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(str(self.address))
        listener.listen()
        words = [sys.executable, __file__, str(listener.fileno())]
        self._process = subprocess.Popen(words, pass_fds=[listener.fileno()], stdin=subprocess.DEVNULL)
        listener.close()
        self.cpu_seconds = 0.0
        atexit.register(self.close)

    @property
    def address(self) -> Path:
        """Of the socket that it listens at."""
        return self.directory / "socket"

    def run(self, request: Mapping[str, object], streams: list[int], timeout: float | None) -> int:
        """Runs a command and returns its exit code, negative where a signal ended it.

        Raises:
            subprocess.TimeoutExpired: It took longer; it is killed.
        """
        with _Connection(self.address) as connection:
            code = connection.run(request, streams, timeout)
        self.cpu_seconds += connection.cpu_seconds
        return code

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self.directory)


class _Connection:
    """One command's."""

    def __init__(self, address: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.connect(str(address))
        self.cpu_seconds = 0.0

    def __enter__(self) -> _Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def run(self, request: Mapping[str, object], streams: list[int], timeout: float | None) -> int:
        """See `_Commands.run`."""
        socket.send_fds(self._socket, [json.dumps(request).encode()], streams)
        pid = self._receive()["pid"]
        if not select.select([self._socket], [], [], timeout)[0]:
            os.kill(pid, signal.SIGKILL)
            self._receive()
            raise subprocess.TimeoutExpired(str(request["words"]), timeout or 0)
        ended = self._receive()
        self.cpu_seconds = ended["cpu_seconds"]
        return int(ended["code"])

    def _receive(self) -> dict[str, Any]:
        content = self._socket.recv(4096)
        assert content, "the process that forks the commands has ended"
        answer: dict[str, Any] = json.loads(content)
        return answer


@functools.cache
def _commands() -> _Commands:
    return _Commands()


def cpu_seconds() -> float:
    """Returns the processor time of all commands that `run_command` has run."""
    return _commands().cpu_seconds if _commands.cache_info().currsize else 0.0


def address() -> Path:
    """Returns where `run` reaches the process that forks, which is started if need be."""
    return _commands().address


def run_command(
    *words: object, cwd: Path | None = None, env: Mapping[str, str] | None = None, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """Runs `alexnet-fast WORDS` to its end, as `subprocess.run([...], capture_output=True, text=True)` does.

    Args:
        words: Command, arguments and options.
        cwd: Folder to run in; None for this process's.
        env: The whole environment; None for this process's.
        timeout: Seconds after which it is killed.

    Raises:
        subprocess.TimeoutExpired: It took longer.
    """
    environment = dict(os.environ if env is None else env)
    _check_environment(environment)
    arguments = [str(word) for word in words]
    request = _request(arguments, cwd or Path.cwd(), environment)
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        streams = [stdout.fileno(), stderr.fileno()]
        code = _commands().run(request, streams, timeout)
        said = [_text(stdout.fileno()), _text(stderr.fileno())]
    return subprocess.CompletedProcess(["alexnet-fast", *arguments], code, *said)


def _request(words: list[str], directory: Path, environment: dict[str, str]) -> dict[str, object]:
    return {"words": words, "cwd": str(directory), "env": environment}


def _text(file: int) -> str:
    content = os.pread(file, os.fstat(file).st_size, 0)
    return content.decode("utf-8", "surrogateescape")


def _check_environment(environment: Mapping[str, str]) -> None:
    for name in {*environment, *os.environ}:
        late = name.startswith(_READ_AT_START) and name != "PYTHONPATH"
        assert not late or environment.get(name) == os.environ.get(name), f"start Python anew to set {name}"


def _forked(listener: socket.socket) -> dict[str, Any]:
    """Forks two processes for each request: one returns, with the request, and one waits for its end."""
    # Nobody waits for those who wait.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        connection, _ = listener.accept()
        if os.fork():
            connection.close()
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        listener.close()
        content, streams, _, _ = socket.recv_fds(connection, 1 << 20, 3)
        pid = os.fork()
        if not pid:
            connection.close()
            for place, stream in zip((0, 1, 2)[-len(streams) :], streams, strict=True):
                os.dup2(stream, place)
                os.close(stream)
            request: dict[str, Any] = json.loads(content)
            return request
        connection.send(json.dumps({"pid": pid}).encode())
        _, status, used = os.wait4(pid, 0)
        ended = {"code": os.waitstatus_to_exitcode(status), "cpu_seconds": used.ru_utime + used.ru_stime}
        # Who has gone away wants no answer.
        with contextlib.suppress(OSError):
            connection.send(json.dumps(ended).encode())
        os._exit(0)


def serve(listener: socket.socket) -> NoReturn:
    """Imports, then runs one command in each process that was forked."""
    for name in PRELOADED:
        __import__(name)
    imported = sys.path[1:]
    # Or the first collection would write to all of it, in each process anew.
    gc.freeze()
    request = _forked(listener)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    more = [path for path in request["env"].get("PYTHONPATH", "").split(os.pathsep) if path]
    # As `python -m` has it.
    sys.path[:] = [request["cwd"], *(path for path in more if path not in imported), *imported]
    if "OMP_NUM_THREADS" in request["env"]:
        sys.modules["torch"].set_num_threads(int(request["env"]["OMP_NUM_THREADS"]))
    sys.argv = ["alexnet-fast", *request["words"]]
    code: object = 0
    try:
        runpy.run_module("alexnet_fast.__main__", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    _end(code if isinstance(code, int) else int(code is not None))


def _end(code: int) -> NoReturn:
    """Ends as Python does, but does not take modules apart: their memory is shared until it is written to."""
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def run(address: Path, words: list[str]) -> NoReturn:
    """Runs a command in this process's folder, environment and streams, and ends with its exit code.

    Args:
        address: Of the process that forks.
        words: Command, arguments and options.
    """
    with _Connection(address) as connection:
        code = connection.run(_request(words, Path.cwd(), dict(os.environ)), [0, 1, 2], None)
    sys.exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
