"""An `ImageLoader` among several processes, with bad images, and at the end of a script."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from image_loaders import KINDS, SPEC, equal, loader_of
from torch.nn import functional

from alexnet_fast.errors import UserError


def test_rank_and_world_come_from_the_environment(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    labels = []
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        loader = loader_of(directory)
        assert len(loader) == 2
        labels += [label for _, some in loader for label in some.tolist()]
    assert sorted(labels) == [0] * 24 + [1] * 24
    monkeypatch.setenv("RANK", "three")
    with pytest.raises(UserError, match="the environment has RANK=three"):
        loader_of(directory)


def test_an_initialised_process_group_says_rank_and_world(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "5")
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        assert loader_of(directory).state_dict()["stream"]["rank"] == 0
    finally:
        torch.distributed.destroy_process_group()


@pytest.fixture
def one_bad_batch(directory: Path, tmp_path: Path) -> list[tuple[str, int]]:
    """48 images; with two processes, all images of the first one's second batch of 4 are bad."""
    pairs = [(path, label) for path, label in loader_of(directory).dataset.samples]
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"not an image")
    plan = loader_of(pairs, batch_size=4, rank=0, world=2)._loader.sampler
    second = list(plan.epoch(0, SPEC))[1]
    for index in second.indices.tolist():
        pairs[index] = (str(bad), pairs[index][1])
    return pairs


@KINDS
def test_a_batch_without_a_good_image_comes_empty_so_that_processes_stay_in_step(
    one_bad_batch: list[tuple[str, int]], kind: str
) -> None:
    options = {"batch_size": 4, "world": 2, "on_bad_image": "skip", "loader": kind}
    ours, theirs = (list(loader_of(one_bad_batch, rank=rank, **options)) for rank in range(2))
    assert [len(labels) for _, labels in ours] == [4, 0, 4, 4, 4, 4]
    assert [len(labels) for _, labels in theirs] == [4] * 6
    empty = ours[1][0]
    assert (empty.shape, empty.dtype) == ((0, 3, 64, 64), torch.float32)


@KINDS
def test_one_process_never_sees_an_empty_batch_and_keeps_its_place(
    one_bad_batch: list[tuple[str, int]], kind: str
) -> None:
    """The position counts steps, not batches handed out, so the bad batch does not shift it."""
    sampler = loader_of(one_bad_batch, batch_size=4)._loader.sampler
    third = list(sampler.epoch(0, SPEC))[2].indices.tolist()
    bad = one_bad_batch[0][0].rsplit("/", 1)[0] + "/missing.jpg"
    pairs = [(bad, label) if i in third else (path, label) for i, (path, label) in enumerate(one_bad_batch)]
    options = {"batch_size": 4, "on_bad_image": "skip", "loader": kind}
    loader = loader_of(pairs, **options)
    whole = list(loader)
    assert len(whole) == 11
    assert min(len(labels) for _, labels in whole) > 0
    loader.set_epoch(0)
    taken = [pair for _, pair in zip(range(4), loader, strict=False)]
    state = loader.state_dict()
    assert state["step"] == 5
    fresh = loader_of(pairs, **options)
    fresh.load_state_dict(state)
    assert equal(taken + list(fresh), whole)


def train_rank(rank: int, pairs: list[tuple[str, int]], store: str, out: str) -> None:
    """Trains one process of two and saves its weights."""
    torch.distributed.init_process_group(
        "gloo", store=torch.distributed.FileStore(store, 2), rank=rank, world_size=2
    )
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 9, 8), torch.nn.Flatten(), torch.nn.LazyLinear(2))
    net(torch.zeros(1, 3, 64, 64))
    net = torch.nn.parallel.DistributedDataParallel(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-6)
    loader = loader_of(pairs, batch_size=4, on_bad_image="skip")
    for images, labels in loader:
        loss = functional.cross_entropy(net(images), labels, reduction="sum") / loader.batch_size
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.save(torch.cat([weight.flatten() for weight in net.state_dict().values()]), f"{out}{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_train_through_a_bad_batch_to_the_same_weights(
    one_bad_batch: list[tuple[str, int]], tmp_path: Path
) -> None:
    """The empty batch takes part in the same all-reduce, so no process waits for ever."""
    arguments = (one_bad_batch, str(tmp_path / "store"), str(tmp_path / "rank"))
    torch.multiprocessing.spawn(train_rank, arguments, nprocs=2)
    first, second = (torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2))
    assert torch.equal(first, second)
    assert torch.isfinite(first).all()


@pytest.mark.parametrize("kind", ["dali", "torch"])
def test_a_notebook_or_script_may_stop_anywhere_and_ends_quietly(directory: Path, kind: str) -> None:
    """As in a notebook, workers have no main module to import; the script ends inside a pass."""
    code = (
        "from alexnet_fast.pipelines import AugmentSpec, ImageLoader\n"
        f"loader = ImageLoader({str(directory)!r}, batch_size=8, spec=AugmentSpec(resize=72, crop=64),"
        f" workers=2, loader={kind!r}, device='cpu')\n"
        "again = ImageLoader(loader.dataset.images, batch_size=4, train=False, workers=2, device='cpu')\n"
        "for images, labels in loader: break\n"
        "print(len(labels), len(next(iter(again))[1]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "8 4\n", "")
