"""Learning rates: warm-up, cosine and steps, each a function of the step and so exact on resume."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.lr_schedule import LrSchedule, make_schedule

Make = Callable[..., TrainConfig]


def rates(schedule: LrSchedule, steps: int) -> list[float]:
    """Returns the learning rates of the first steps."""
    return [schedule.rate(step) for step in range(steps)]


def test_cosine_falls_step_by_step_from_the_rate_to_nothing(config: Make) -> None:
    found = rates(make_schedule(config(lr_schedule="cosine", lr=0.2, epochs=4), steps=10), 40)
    assert found[0] == 0.2
    assert found[20] == pytest.approx(0.1)
    assert found == sorted(found, reverse=True)
    assert len(set(found)) == 40
    assert 0 < found[-1] < 0.002


def test_step_falls_by_the_factor_after_so_many_epochs(config: Make) -> None:
    schedule = make_schedule(
        config(lr_schedule="step", lr=0.1, lr_decay_factor=0.5, lr_step_epochs=2), steps=3
    )
    assert rates(schedule, 14) == [0.1] * 6 + [0.05] * 6 + [0.025] * 2


def test_plateau_falls_by_its_factor_and_waits_its_patience(config: Make) -> None:
    schedule = make_schedule(config(lr=0.1, lr_decay_factor=0.5, lr_patience=2, max_lr_drops=1), steps=3)
    seen = []
    for _ in range(6):
        seen.append(schedule.rate(0))
        schedule.end_epoch(0.5)
    assert seen == [0.1, 0.1, 0.1, 0.05, 0.05, 0.05]
    assert schedule.finished


def test_warm_up_rises_in_a_line_over_a_part_of_an_epoch(config: Make) -> None:
    schedule = make_schedule(config(lr=0.1, warmup_epochs=0.5), steps=10)
    assert rates(schedule, 7) == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1, 0.1, 0.1])


def test_the_cosine_begins_to_fall_where_the_warm_up_ends(config: Make) -> None:
    options = {"lr_schedule": "cosine", "lr": 0.1, "epochs": 5}
    found = rates(make_schedule(config(warmup_epochs=1, **options), steps=10), 50)
    assert found.index(max(found)) in (9, 10)
    assert found[9] == found[10] == pytest.approx(0.1)
    assert found[30] == pytest.approx(0.05)


@pytest.mark.parametrize(
    "options",
    [
        {"lr_schedule": "cosine", "warmup_epochs": 1.5},
        {"lr_schedule": "step", "lr_step_epochs": 1},
        {"lr_schedule": "plateau", "lr_patience": 1, "warmup_epochs": 1.5},
    ],
    ids=str,
)
def test_a_schedule_that_was_saved_goes_on_with_the_same_rates(config: Make, options: dict[str, Any]) -> None:
    errors = [0.5, 0.6, 0.4, 0.4, 0.7, 0.7]
    whole, before, after = (make_schedule(config(epochs=6, **options), steps=4) for _ in range(3))
    expected, found = [], []
    for epoch, error in enumerate(errors):
        part = before if epoch < 3 else after
        expected += [whole.rate(epoch * 4 + step) for step in range(4)]
        found += [part.rate(epoch * 4 + step) for step in range(4)]
        whole.end_epoch(error)
        part.end_epoch(error)
        if epoch == 2:
            after.load_state_dict(before.state_dict())
    assert found == expected
    assert len(set(found)) > 1
