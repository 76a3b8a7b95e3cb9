"""An `ImageLoader` resumes at its position, in the same stream only."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from image_loaders import KINDS, equal, loader_of

from alexnet_fast.errors import UserError
from alexnet_fast.pipelines import AugmentSpec


@KINDS
@pytest.mark.parametrize("stop", [0, 1, 4, 6])
def test_a_restored_loader_goes_on_behind_the_last_batch(directory: Path, kind: str, stop: int) -> None:
    loader = loader_of(directory, loader=kind)
    list(loader)
    whole = list(loader)
    loader.set_epoch(1)
    taken = [pair for _, pair in zip(range(stop), loader, strict=False)]
    state = json.loads(json.dumps(loader.state_dict()))
    assert (state["epoch"], state["step"]) == (1, stop)
    fresh = loader_of(directory, loader=kind)
    fresh.load_state_dict(state)
    # Scripts set the epoch before every pass; that must not lose the place.
    fresh.set_epoch(1)
    assert equal(taken + list(fresh), whole)
    assert (fresh.epoch, fresh.step) == (2, 0)
    assert len(list(fresh)) == 6


def test_a_state_taken_between_epochs_begins_the_next_one(directory: Path) -> None:
    loader = loader_of(directory)
    list(loader)
    state = loader.state_dict()
    wanted = list(loader)
    fresh = loader_of(directory)
    fresh.load_state_dict(state)
    assert equal(fresh, wanted)


def test_going_on_in_the_same_process_decodes_nothing_twice(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches prepared ahead are handed out without a new pass over the data."""
    loader = loader_of(directory)
    whole = list(loader)
    loader.set_epoch(0)
    taken = [pair for _, pair in zip(range(3), loader, strict=False)]
    monkeypatch.setattr(loader._loader, "epoch", lambda *_: pytest.fail("a pass was begun anew"))
    loader.load_state_dict(loader.state_dict())
    assert equal(taken + list(loader), whole)


def test_an_iterator_that_nothing_was_taken_from_costs_no_epoch(directory: Path) -> None:
    """Lightning asks for an iterator more than once before it takes a batch."""
    loader = loader_of(directory)
    first = list(loader)
    loader.set_epoch(0)
    used = iter(loader)
    iter(loader)
    assert equal(used, first)


def test_a_pass_that_another_has_replaced_says_so(directory: Path) -> None:
    loader = loader_of(directory)
    old = iter(loader)
    next(old)
    next(iter(loader))
    with pytest.raises(UserError, match="another pass over this loader has begun"):
        next(old)


def test_a_position_in_another_stream_is_refused_and_each_difference_named(
    directory: Path, two_classes: Path
) -> None:
    state = loader_of(directory).state_dict()
    other = loader_of(
        two_classes / "val", seed=7, batch_size=4, loader="torch", rank=1, world=2, spec=AugmentSpec(crop=32)
    )
    with pytest.raises(UserError) as caught:
        other.load_state_dict(state)
    message = str(caught.value)
    for part in (
        "loader was dali, is torch",
        "decoder was nvidia-dali-cuda120",
        "image list was ",
        "images was 48, is 16",
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


def test_an_image_that_changes_its_class_makes_another_stream(directory: Path) -> None:
    pairs = loader_of(directory).dataset.samples
    state = loader_of(pairs).state_dict()
    moved = [(pairs[0][0], 1), *pairs[1:]]
    with pytest.raises(UserError, match="another stream of images: image list was"):
        loader_of(moved).load_state_dict(state)
