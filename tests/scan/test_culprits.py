"""How the images that a process dies of are found in a batch, with deaths that are only reckoned."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from pathlib import Path

import numpy as np
import pytest

from alexnet_fast.data import ClassMap, ImageList
from alexnet_fast.pipelines.decoding_record import OpenBatches
from alexnet_fast.pipelines.sampler import EpochSampler
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.scan import culprits
from alexnet_fast.scan.batch_probe import BatchProbe
from alexnet_fast.scan.culprits import Suspect, find_culprits, suspects

IMAGES = ImageList(
    root=Path("/data"), names=[f"{n}.jpg" for n in range(300)], labels=[0] * 300, classes=ClassMap(("x", "y"))
)
# Which rows of a batch are decoded, and whether a process dies of them.
Rule = Callable[[set[int]], bool]


def batch() -> Suspect:
    """A batch of 128 images, the last of the list first."""
    sampler = EpochSampler(num_images=300, batch_size=128, shuffle=False)
    plan = next(sampler.epoch(0, AugmentSpec()))
    reversed_ = type(plan)(indices=299 - plan.indices, random_params=plan.random_params)
    loader = {"config": {"device": "cpu", "kind": "dali"}}
    return Suspect(images=IMAGES, plan=reversed_, loader=loader, epoch=0, step=0)


@pytest.fixture
def deaths(monkeypatch: pytest.MonkeyPatch) -> Callable[[Rule], list[int]]:
    """Lets a rule take the place of the worker processes; returns how many probes each call made."""

    def follow(rule: Rule) -> list[int]:
        probes: list[int] = []

        def deadly(tried: dict[Hashable, BatchProbe], *, alone: bool = False) -> dict[Hashable, str]:
            probes.append(len(tried))
            return {key: "died" for key, probe in tried.items() if rule(decoded(probe))}

        monkeypatch.setattr(culprits, "_deadly", deadly)
        return probes

    return follow


def decoded(probe: BatchProbe) -> set[int]:
    """Returns the rows that a probe decodes."""
    rows = range(len(probe.plan)) if probe.alone is None else (probe.alone,)
    return {row for row in rows if row not in probe.images.blocked}


@pytest.mark.parametrize(
    ("rule", "guilty", "unexplained"),
    [
        (lambda rows: 17 in rows, {17}, False),
        (lambda rows: bool(rows & {3, 90, 127}), {3, 90, 127}, False),
        (lambda rows: 17 in rows and len(rows) > 1, {17}, False),
        (lambda rows: 0 in rows and len(rows) > 8, {0}, False),
        (lambda rows: 127 in rows and len(rows) > 60, {127}, False),
        # Two that are deadly together: one less is enough.
        (lambda rows: {5, 70} <= rows, {5}, False),
        (lambda rows: 17 in rows or (99 in rows and len(rows) > 30), {17, 99}, False),
        # The fault of no image: a batch that is too large, a decoder that is broken, a death that was chance.
        (lambda rows: len(rows) > 100, set(), True),
        (lambda rows: True, set(), True),
    ],
)
def test_the_culprits_of_a_batch(
    rule: Rule, guilty: set[int], unexplained: bool, deaths: Callable[[Rule], list[int]]
) -> None:
    probes = deaths(rule)
    said: list[str] = []
    (found,) = find_culprits([batch()], repeats=1, on_death=lambda _, how: said.append(how))
    assert {299 - index for index in found.culprits} == guilty
    assert (found.unexplained is not None) == unexplained
    assert said == ["died"]
    assert len(probes) < 40


def test_a_batch_that_does_not_die_again(deaths: Callable[[Rule], list[int]]) -> None:
    once = iter([True])
    deaths(lambda _: next(once, False))
    (found,) = find_culprits([batch()], repeats=1, on_death=lambda *_: None)
    assert (found.culprits, found.unexplained) == ({}, "died, and not again")


def test_batches_that_nobody_dies_of(deaths: Callable[[Rule], list[int]]) -> None:
    probes = deaths(lambda _: False)
    assert find_culprits([batch(), batch()], repeats=1, on_death=lambda *_: None) == []
    assert probes == [2]


@pytest.mark.parametrize(("rank", "world", "shuffle"), [(0, 1, True), (1, 2, True), (1, 3, False)])
def test_the_batches_of_a_record_are_those_of_the_epoch(rank: int, world: int, shuffle: bool) -> None:
    sampler = EpochSampler(num_images=300, batch_size=16, shuffle=shuffle, seed=5, rank=rank, world=world)
    loader = {"sampler": sampler.describe(), "spec": AugmentSpec().to_dict()}
    found = list(suspects(OpenBatches(loader=loader, epoch=4, first=2, end=99), IMAGES))
    plans = list(sampler.epoch(4, AugmentSpec()))[2:]
    assert [suspect.step for suspect in found] == list(range(2, 2 + len(plans)))
    for suspect, plan in zip(found, plans, strict=True):
        np.testing.assert_array_equal(suspect.plan.indices, plan.indices)
        np.testing.assert_array_equal(suspect.plan.random_params, plan.random_params)
        assert list(suspect.probe(None, 1).images.names) == [IMAGES.names[i] for i in plan.indices]
