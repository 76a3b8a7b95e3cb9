"""Hostile pickles, archives and addresses: each is refused, and nothing in it is run, written or asked.

`make soak-files` keeps the counts.
"""

from __future__ import annotations

import pickle
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hostile_archives import ARCHIVES
from hostile_pickles import PICKLES, as_numpy, as_torch
from test_addresses import FORBIDDEN

from alexnet_fast.download.cache import FetchConfig, fetch
from alexnet_fast.download.download import parse_address
from alexnet_fast.errors import UserError
from alexnet_fast.training.checkpoint.format import load_checkpoint, peek_checkpoint
from alexnet_fast.training.checkpoint.model_io import read_pretrained

Evidence = Callable[..., None]
# name: (how the file is read, what it is called, what is around the pickle).
READERS = {
    "weights of NumPy": (read_pretrained, "x.npy", as_numpy),
    "weights of torch": (read_pretrained, "x.pth", as_torch),
    "weights of torch before 1.6": (read_pretrained, "x.pth", bytes),
    "a checkpoint": (load_checkpoint, "last.pt", as_torch),
    "a checkpoint that is looked at": (peek_checkpoint, "last.pt", as_torch),
}


def removed(canary: Path) -> bool:
    """Removes a canary; tells whether there was one."""
    found = canary.exists()
    if canary.is_dir():
        canary.rmdir()
    canary.unlink(missing_ok=True)
    return found


def test_twelve_pickles_run_nothing(tmp_path: Path, evidence: Evidence) -> None:
    """Python's own reader runs each of them; none of ours does."""
    canary, refused = tmp_path / "canary", 0
    for kind, make in PICKLES.items():
        content = make(canary)
        pickle.loads(content)
        assert removed(canary), f"{kind} is harmless"
        for read, name, around in READERS.values():
            path = tmp_path / name
            path.write_bytes(around(content))
            with pytest.raises(UserError, match=name) as caught:
                read(path)
            assert "\n" not in str(caught.value)
            assert not canary.exists(), (kind, name)
            refused += 1
    assert len(PICKLES) == 12
    evidence("hostile pickles", n=len(PICKLES), readers=len(READERS), refused=refused, executed=0)


def test_twelve_archives_write_nothing_outside(site, tmp_path: Path, evidence: Evidence) -> None:
    config = FetchConfig(allow_private=True, gibibytes=2**-14)
    canary, archives = tmp_path / "canary", tmp_path / "cache" / "alexnet-fast" / "archives"
    for number, (said, make) in enumerate(ARCHIVES.values()):
        with pytest.raises(UserError, match=said):
            fetch(site.put(f"/{number}", make(canary)), config)
        assert not canary.exists()
        assert not [entry for entry in archives.glob("*") if entry.is_dir()]
    assert len(ARCHIVES) == 12
    evidence("hostile archives", n=len(ARCHIVES), refused=len(ARCHIVES), written_outside=0)


def test_fourteen_addresses_are_not_asked(monkeypatch: pytest.MonkeyPatch, evidence: Evidence) -> None:
    asked: list[str] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *_, **__: asked.append(host))
    for url, said in FORBIDDEN.items():
        with pytest.raises(UserError, match=said):
            fetch(url, FetchConfig(allow_private=True))
        with pytest.raises(UserError, match=said):
            parse_address(url)
    assert (len(FORBIDDEN), asked) == (14, [])
    evidence("forbidden addresses", n=len(FORBIDDEN), refused=len(FORBIDDEN), asked=0)
