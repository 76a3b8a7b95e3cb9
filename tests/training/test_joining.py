"""A process whose environment speaks of others: it joins them, or says in one sentence what is missing."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.processes import world_info
from alexnet_fast.training.distributed import group
from alexnet_fast.training.distributed.group import init_distributed, launched, local_device

NAMES = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_USE_AGENT_STORE")
CPU = torch.device("cpu")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch):
    """Sets variables of a launcher, those and no others."""

    def set_all(text: str) -> None:
        for name in NAMES:
            monkeypatch.delenv(name, raising=False)
        for word in text.split():
            name, _, value = word.partition("=")
            monkeypatch.setenv(name, value)

    return set_all


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "WORLD_SIZE=2 RANK=0",
            "has WORLD_SIZE=2, but MASTER_ADDR does not say where the processes meet; start",
        ),
        (
            "WORLD_SIZE=2 RANK=0 MASTER_ADDR=localhost",
            "but MASTER_PORT does not say where the processes meet",
        ),
        ("WORLD_SIZE=2 RANK=0 MASTER_ADDR= MASTER_PORT=1", "but MASTER_ADDR does not say"),
        (
            "WORLD_SIZE=abc RANK=0",
            "WORLD_SIZE=abc, which is no number from 0 on; start the job with torchrun",
        ),
        ("WORLD_SIZE=2 RANK=x", "RANK=x, which is no number"),
        ("WORLD_SIZE= RANK=0", "WORLD_SIZE=, which is no number"),
        ("WORLD_SIZE=2 RANK=-1", "RANK=-1, which is no number from 0 on"),
        ("WORLD_SIZE=2.0 RANK=0", "WORLD_SIZE=2.0, which is no number"),
        ("WORLD_SIZE=0 RANK=0", "WORLD_SIZE=0, no job has that many processes"),
        ("WORLD_SIZE=2 RANK=2", "RANK=2, which is not among WORLD_SIZE=2 processes, counted from 0"),
        ("WORLD_SIZE=1 RANK=5", "RANK=5, which is not among WORLD_SIZE=1 processes"),
        ("WORLD_SIZE=2", "WORLD_SIZE=2, but no RANK"),
        ("RANK=1", "RANK=1, but no WORLD_SIZE"),
        (
            "WORLD_SIZE=2 RANK=0 MASTER_ADDR=localhost MASTER_PORT=http",
            "MASTER_PORT=http, which is no number",
        ),
        ("WORLD_SIZE=2 RANK=0 MASTER_ADDR=localhost MASTER_PORT=0", "MASTER_PORT=0, which is no port"),
        (
            "WORLD_SIZE=2 RANK=0 MASTER_ADDR=localhost MASTER_PORT=99999",
            "MASTER_PORT=99999, which is no port",
        ),
        (
            "WORLD_SIZE=2 RANK=0 MASTER_ADDR=no..such MASTER_PORT=2950",
            "MASTER_ADDR=no..such, which no machine is",
        ),
    ],
)
def test_a_variable_that_is_missing_or_wrong_is_named(environment, text: str, said: str) -> None:
    environment(text)
    with pytest.raises(UserError, match=said), init_distributed(CPU):
        raise AssertionError("it has joined no process")


@pytest.mark.parametrize(
    "text", ["", "WORLD_SIZE=1 RANK=0", "WORLD_SIZE=1", "RANK=0", "MASTER_ADDR=node0 LOCAL_RANK=0"]
)
def test_one_process_is_alone(environment, text: str) -> None:
    environment(text)
    assert not launched()
    with init_distributed(CPU) as processes:
        assert (processes.rank, processes.world) == (0, 1)


@pytest.mark.parametrize("text", ["WORLD_SIZE=2", "RANK=1", "WORLD_SIZE=2 RANK=x", "WORLD_SIZE=2 RANK=3"])
def test_a_loader_does_not_take_a_share_by_half_an_environment(environment, text: str) -> None:
    environment(text)
    with pytest.raises(UserError, match="the environment has (WORLD_SIZE|RANK)="):
        world_info()


def test_one_gpu_of_several_is_not_guessed(environment, monkeypatch: pytest.MonkeyPatch) -> None:
    environment("WORLD_SIZE=2 RANK=1")
    monkeypatch.setattr(group, "choose_device", torch.device)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match="LOCAL_RANK does not say which of the GPUs is its own"):
        local_device("cuda")
    environment("WORLD_SIZE=2 RANK=1 LOCAL_RANK=1")
    assert local_device("cuda") == torch.device("cuda:1")


@pytest.mark.parametrize("rank", [0, 1])
def test_others_that_never_come_are_not_waited_for_without_end(
    environment, monkeypatch: pytest.MonkeyPatch, rank: int
) -> None:
    """Rank 0 waits for the others to come, the others for rank 0."""
    monkeypatch.setattr(group, "JOIN_TIMEOUT_SECONDS", 1)
    port = free_port()
    environment(f"WORLD_SIZE=2 RANK={rank} MASTER_ADDR=127.0.0.1 MASTER_PORT={port}")
    start = time.monotonic()
    with (
        pytest.raises(
            UserError,
            match=f"process {rank} of 2 waited at most 1 s at 127.0.0.1:{port}, and .*; start all 2",
        ),
        init_distributed(CPU),
    ):
        raise AssertionError("it has joined no process")
    assert time.monotonic() - start < 30


def test_a_port_that_is_taken_is_named(environment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group, "JOIN_TIMEOUT_SECONDS", 1)
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", 0))
        listener.listen()
        port = listener.getsockname()[1]
        environment(f"WORLD_SIZE=2 RANK=0 MASTER_ADDR=127.0.0.1 MASTER_PORT={port}")
        said = f"MASTER_PORT of 127.0.0.1:{port} is in use; choose another"
        with pytest.raises(UserError, match=said), init_distributed(CPU):
            raise AssertionError("it has joined no process")


def test_ctrl_c_ends_the_waiting_which_is_said(
    environment, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing interrupts torch's own waiting."""
    import _thread

    monkeypatch.setattr(group, "JOIN_TIMEOUT_SECONDS", 20)
    monkeypatch.setattr("alexnet_fast.data.index_cache._SECONDS_OF_SILENCE", 0.0)
    environment(f"WORLD_SIZE=2 RANK=0 MASTER_ADDR=127.0.0.1 MASTER_PORT={free_port()}")
    threading.Timer(1, _thread.interrupt_main).start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt), init_distributed(CPU):
        raise AssertionError("it has joined no process")
    assert time.monotonic() - start < 15
    assert any(
        text.startswith("process 0 of 2 waits for the others at 127.0.0.1:") for text in caplog.messages
    )


@pytest.mark.slow
def test_two_processes_that_a_script_starts_meet(tmp_path: Path) -> None:
    """Without torchrun: four variables are enough on a CPU."""
    script = (
        "import torch\n"
        "from alexnet_fast.training.distributed.group import init_distributed\n"
        "with init_distributed(torch.device('cpu')) as processes:\n"
        "    print(processes.all_reduce_sum([processes.rank + 1.0]), processes.world)\n"
    )
    port = free_port()
    running = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            env={**os.environ, "WORLD_SIZE": "2", "RANK": str(rank),
                 "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]  # fmt: skip
    assert [process.communicate(timeout=120)[0].strip() for process in running] == ["[3.0] 2"] * 2
