"""`ImageLoader` takes the place of a DataLoader in anyone's script."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from alexnet_fast.errors import UserError
from alexnet_fast.pipelines import TORCHVISION_SPEC, AugmentSpec, ImageLoader

SPEC = AugmentSpec(resize=72, crop=64)
KINDS = pytest.mark.parametrize("kind", ["dali", "torch"])
Pair = tuple[torch.Tensor, torch.Tensor]


@pytest.fixture
def folder(two_classes: Path) -> Path:
    """48 pictures of two classes."""
    return two_classes / "train"


def loader_of(data: object, **options: object) -> ImageLoader:
    """Makes a loader of small pictures."""
    settings = {"batch_size": 8, "spec": SPEC, "threads": 2, "device": "cpu", **options}
    return ImageLoader(data, **settings)  # type: ignore[arg-type]


def equal(left: Iterable[Pair], right: Iterable[Pair]) -> bool:
    """Tells whether two streams are the same, bit for bit."""
    left, right = list(left), list(right)
    return len(left) == len(right) and all(
        torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(left, right, strict=True)
    )


@KINDS
def test_batches_are_pairs_and_the_classes_are_those_of_an_image_folder(folder: Path, kind: str) -> None:
    loader = loader_of(str(folder), loader=kind)
    batches = list(loader)
    assert len(batches) == len(loader) == 6
    for images, labels in batches:
        assert images.shape == (8, 3, 64, 64)
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert labels.dtype == torch.int64
    assert loader.dataset.classes == ["mono", "poly"]
    assert loader.dataset.class_to_idx == {"mono": 0, "poly": 1}
    assert len(loader.dataset) == len(loader.sampler) == 48
    path, label = loader.dataset.samples[30]
    assert (Path(path).parent.name, label) == ("poly", 1) == ("poly", loader.dataset.targets[30])
    assert sorted(label for _, labels in batches for label in labels.tolist()) == loader.dataset.targets


def test_the_default_pixels_are_those_that_torchvisions_weights_expect(folder: Path) -> None:
    loader = ImageLoader(folder, batch_size=4, device="cpu", threads=2)
    images, _ = next(iter(loader))
    assert images.shape == (4, 3, 224, 224)
    assert -2.2 < images.min() < images.max() < 2.7
    assert torch.allclose(
        torch.tensor(TORCHVISION_SPEC.mean) / 255, torch.tensor([0.485, 0.456, 0.406]), atol=1e-6
    )


def test_pairs_of_path_and_label_are_a_list(folder: Path) -> None:
    pairs = loader_of(folder).dataset.samples[20:28]
    loader = loader_of(pairs, train=False, classes=["one", "other"])
    ((images, labels),) = list(loader)
    assert labels.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert loader.dataset.classes == ["one", "other"]
    # The loader's evaluation view is the data set's item, but for DALI's rounding: one level of 255.
    item, label = loader.dataset[5]
    assert label == 1
    assert (images[5] - item).abs().max() <= 1.01


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ([], {}, "the list of pictures is empty"),
        ([("a.jpg", -1)], {}, "labels run from -1 to -1"),
        ([("a.jpg", 2)], {"classes": ["a", "b"]}, "labels run from 2 to 2, and there are 2 classes"),
        ("nowhere", {}, "no such folder: nowhere"),
        (None, {"rank": 1}, "rank 1 without world None"),
        (None, {"rank": 2, "world": 2}, "rank 2 is not among 2 processes"),
        (None, {"batch_size": 49}, "--batch-size 49 is more than the 48"),
        (None, {"device": "tpu"}, "--device tpu is not a device"),
    ],
)
def test_a_mistake_is_named(folder: Path, data: object, options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        loader_of(folder if data is None else data, **options)


def test_every_pass_is_the_next_epoch_and_set_epoch_chooses_it(folder: Path) -> None:
    loader = loader_of(folder)
    first, second = list(loader), list(loader)
    assert not equal(first, second)
    loader.set_epoch(0)
    assert equal(loader, first)
    loader.sampler.set_epoch(1)
    assert equal(loader, second)
    # A pass left early counts, as with a DataLoader; looking at one batch first takes nothing from an epoch.
    loader.set_epoch(0)
    next(iter(loader))
    assert equal(loader, second)
    next(iter(loader))
    loader.set_epoch(loader.epoch)
    assert len(list(loader)) == 6


def test_an_evaluation_goes_through_the_list_in_order_with_a_smaller_last_batch(folder: Path) -> None:
    loader = loader_of(folder, train=False, batch_size=20)
    batches = list(loader)
    assert [len(labels) for _, labels in batches] == [20, 20, 8]
    assert [label for _, labels in batches for label in labels.tolist()] == loader.dataset.targets
    assert equal(loader, batches)


def test_the_last_pictures_are_dropped_or_not_as_asked(folder: Path) -> None:
    for train, drop, sizes in [(True, True, [20, 20]), (True, False, [20, 20, 8]), (False, True, [20, 20])]:
        loader = loader_of(folder, train=train, batch_size=20, drop_last=drop)
        assert [len(labels) for _, labels in loader] == sizes
        assert len(loader) == len(sizes)
        assert loader.drop_last == drop


def test_processes_without_drop_last_take_as_many_pictures_each(folder: Path) -> None:
    streams = [
        list(loader_of(folder, batch_size=4, drop_last=False, rank=rank, world=5)) for rank in range(5)
    ]
    # 48 pictures for 5 processes: 10 each, so that 2 come twice.
    assert [[len(labels) for _, labels in stream] for stream in streams] == [[4, 4, 2]] * 5


@KINDS
@pytest.mark.parametrize("stop", [0, 1, 4, 6])
def test_a_restored_loader_goes_on_behind_the_last_batch(folder: Path, kind: str, stop: int) -> None:
    loader = loader_of(folder, loader=kind)
    list(loader)
    whole = list(loader)
    loader.set_epoch(1)
    taken = [pair for _, pair in zip(range(stop), loader, strict=False)]
    state = json.loads(json.dumps(loader.state_dict()))
    assert (state["epoch"], state["step"]) == (1, stop)
    fresh = loader_of(folder, loader=kind)
    fresh.load_state_dict(state)
    # Scripts set the epoch before every pass; that must not lose the place.
    fresh.set_epoch(1)
    assert equal(taken + list(fresh), whole)
    assert (fresh.epoch, fresh.step) == (2, 0)
    assert len(list(fresh)) == 6


def test_a_state_taken_between_epochs_begins_the_next_one(folder: Path) -> None:
    loader = loader_of(folder)
    list(loader)
    state = loader.state_dict()
    wanted = list(loader)
    fresh = loader_of(folder)
    fresh.load_state_dict(state)
    assert equal(fresh, wanted)


def test_going_on_in_the_same_process_decodes_nothing_twice(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was prepared ahead is handed out: no pass over the data is begun for it."""
    loader = loader_of(folder)
    whole = list(loader)
    loader.set_epoch(0)
    taken = [pair for _, pair in zip(range(3), loader, strict=False)]
    monkeypatch.setattr(loader._loader, "epoch", lambda *_: pytest.fail("a pass was begun anew"))
    loader.load_state_dict(loader.state_dict())
    assert equal(taken + list(loader), whole)


def test_an_iterator_that_nothing_was_taken_from_costs_no_epoch(folder: Path) -> None:
    """Lightning asks for an iterator more than once before it takes a batch."""
    loader = loader_of(folder)
    first = list(loader)
    loader.set_epoch(0)
    used = iter(loader)
    iter(loader)
    assert equal(used, first)


def test_a_pass_that_another_has_replaced_says_so(folder: Path) -> None:
    loader = loader_of(folder)
    old = iter(loader)
    next(old)
    next(iter(loader))
    with pytest.raises(UserError, match="another pass over this loader has begun"):
        next(old)


def test_a_position_in_another_stream_is_refused_and_each_difference_named(
    folder: Path, two_classes: Path
) -> None:
    state = loader_of(folder).state_dict()
    other = loader_of(
        two_classes / "val", seed=7, batch_size=4, loader="torch", rank=1, world=2, spec=AugmentSpec(crop=32)
    )
    with pytest.raises(UserError) as caught:
        other.load_state_dict(state)
    message = str(caught.value)
    for part in (
        "loader was dali, is torch",
        "decoder was nvidia-dali-cuda120",
        "picture list was ",
        "pictures was 48, is 16",
        "batch size was 8, is 4",
        "seed was 0, is 7",
        "rank was 0, is 1",
        "processes was 1, is 2",
        "spec.resize was 72, is 256",
        "spec.crop was 64, is 32",
        "set_epoch",
    ):
        assert part in message
    assert "shuffle" not in message
    with pytest.raises(UserError, match="this is not the state of an ImageLoader"):
        other.load_state_dict({"epoch": 1})


def test_a_picture_that_changes_its_class_makes_another_stream(folder: Path) -> None:
    pairs = loader_of(folder).dataset.samples
    state = loader_of(pairs).state_dict()
    moved = [(pairs[0][0], 1), *pairs[1:]]
    with pytest.raises(UserError, match="another stream of pictures: picture list was"):
        loader_of(moved).load_state_dict(state)


def test_rank_and_world_come_from_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    labels = []
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        loader = loader_of(folder)
        assert len(loader) == 2
        labels += [label for _, some in loader for label in some.tolist()]
    assert sorted(labels) == [0] * 24 + [1] * 24
    monkeypatch.setenv("RANK", "three")
    with pytest.raises(UserError, match="the environment has RANK=three"):
        loader_of(folder)


def test_an_initialised_process_group_says_rank_and_world(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "5")
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        assert loader_of(folder).state_dict()["stream"]["rank"] == 0
    finally:
        torch.distributed.destroy_process_group()


@pytest.fixture
def one_bad_batch(folder: Path, tmp_path: Path) -> list[tuple[str, int]]:
    """48 pictures, of which the second batch of 4 of the first process among two is bad, every one."""
    pairs = [(path, label) for path, label in loader_of(folder).dataset.samples]
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"not a picture")
    plan = loader_of(pairs, batch_size=4, rank=0, world=2)._loader.schedule
    second = list(plan.epoch(0, SPEC))[1]
    for index in second.indices.tolist():
        pairs[index] = (str(bad), pairs[index][1])
    return pairs


@KINDS
def test_a_batch_without_a_good_picture_comes_empty_so_that_processes_stay_in_step(
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
    """The position counts steps, not batches handed out: what is restored is not off by the bad one."""
    schedule = loader_of(one_bad_batch, batch_size=4)._loader.schedule
    third = list(schedule.epoch(0, SPEC))[2].indices.tolist()
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


def test_two_processes_train_through_a_bad_batch_to_the_same_weights(
    one_bad_batch: list[tuple[str, int]], tmp_path: Path
) -> None:
    """The empty batch of one process meets the other's at the same all-reduce; nobody waits for ever."""
    arguments = (one_bad_batch, str(tmp_path / "store"), str(tmp_path / "rank"))
    torch.multiprocessing.spawn(train_rank, arguments, nprocs=2)
    first, second = (torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2))
    assert torch.equal(first, second)
    assert torch.isfinite(first).all()


@pytest.mark.parametrize("kind", ["dali", "torch"])
def test_a_notebook_or_script_may_stop_anywhere_and_ends_quietly(folder: Path, kind: str) -> None:
    """As in a notebook's cells, there is no main module for workers to import; it ends inside a pass."""
    code = (
        "from alexnet_fast.pipelines import AugmentSpec, ImageLoader\n"
        f"loader = ImageLoader({str(folder)!r}, batch_size=8, spec=AugmentSpec(resize=72, crop=64),"
        f" threads=2, loader={kind!r}, device='cpu')\n"
        "again = ImageLoader(loader.dataset.pictures, batch_size=4, train=False, threads=2, device='cpu')\n"
        "for images, labels in loader: break\n"
        "print(len(labels), len(next(iter(again))[1]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "8 4\n", "")
