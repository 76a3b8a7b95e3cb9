"""Every number that an option of any command is given lies in its range, or is refused in one sentence."""

from __future__ import annotations

import dataclasses
import math
import typing
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner
from every_command import every_command

from alexnet_fast.cli.main import commands
from alexnet_fast.cli.types import Number
from alexnet_fast.data.layouts.detect import KINDS
from alexnet_fast.download.cache import FetchConfig
from alexnet_fast.errors import UserError
from alexnet_fast.export.config import parse_profile
from alexnet_fast.models import create_model
from alexnet_fast.models.spec import Initial
from alexnet_fast.pipelines.factory import make_loader
from alexnet_fast.pipelines.loader import LoaderConfig
from alexnet_fast.pipelines.sampler import EpochSampler
from alexnet_fast.pipelines.spec import AugmentSpec, Progressive
from alexnet_fast.serve.config import Batching, ServerConfig
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.option import option_of
from alexnet_fast.utils.ranges import OPTION_RANGES

VALUES = [
    *(
        "nan",
        "inf",
        "-inf",
        "-nan",
        "1e999",
        "-1",
        "0",
        "-0.0",
        "1e308",
        "9" * 20,
        "9" * 5000,
        "",
        " ",
        "abc",
    ),
    *("0x10", "1,5", "٣", "1_000", "1e3", "true", "None", "\x00", "12 34", "--", "½"),
]
PAIRS = [(name, option) for name, command in every_command() for option in command.params]
NUMBERS = [(name, option) for name, option in PAIRS if isinstance(option.type, Number)]


@pytest.mark.parametrize(("name", "option"), NUMBERS, ids=lambda value: getattr(value, "name", value))
def test_odd_numbers_are_accepted_within_the_range_or_refused(name: str, option: click.Parameter) -> None:
    assert isinstance(option.type, Number)
    for text in VALUES:
        taken, refusal = _converted(option, text)
        if taken is None:
            assert refusal.startswith(f"give {option.type.range}, not ")
            assert len(refusal.splitlines()) == 1
            assert len(refusal) < 150
        else:
            assert math.isfinite(taken)
            assert option.type.range.least <= taken <= option.type.range.most


def _converted(option: click.Parameter, text: str) -> tuple[float | None, str]:
    """Returns the number that an option makes of a text, or None and why it makes none."""
    try:
        return option.type.convert(text, option, None), ""
    except click.BadParameter as error:
        return None, error.message


def test_no_option_takes_a_number_by_another_type() -> None:
    assert len(NUMBERS) > 90
    for name, option in PAIRS:
        assert not isinstance(option.type, click.types.IntParamType | click.types.FloatParamType), (
            name,
            option,
        )


def test_every_default_lies_in_its_range() -> None:
    for name, option in NUMBERS:
        default = option.default() if callable(option.default) else option.default
        if isinstance(default, int | float):
            assert option.type.range.take(default) == default, (name, option)  # type: ignore[attr-defined]


@pytest.mark.parametrize("text", ["nan", "-inf", "-1", "9" * 20, "abc", ""])
@pytest.mark.parametrize(
    "arguments",
    [
        "train DATA --seed",
        "evaluate RUN DATA --batch-size",
        "serve MODEL --timeout",
        "show augment D --seed",
    ],
)
def test_a_bad_number_ends_in_one_sentence_that_names_the_option(arguments: str, text: str) -> None:
    *words, option = arguments.split()
    done = CliRunner().invoke(commands, [*words, f"{option}={text}"], standalone_mode=False)
    assert isinstance(done.exception, click.BadParameter)
    assert f"Invalid value for '{option}': give a" in done.exception.format_message()
    assert done.exception.exit_code == 2


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("threads", "100000"),
        ("batch-size", "1000000000"),
        ("images", "1000000000000"),
        ("workers", "100000"),
        ("timeout-per-file", "1e300"),
        ("http-port", "65536"),
        ("max-download", "inf"),
    ],
)
def test_huge_values_are_refused(option: str, value: str) -> None:
    taken = OPTION_RANGES[option.replace("-", "_")]
    with pytest.raises(ValueError, match="give a .*number"):
        taken.read(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -1, -0.5, 10**40, True, "32", b"1", [1], {}, 2 + 1j])
@pytest.mark.parametrize("name", ["batch_size", "lr", "seed", "epochs", "workers", "val_fraction"])
def test_the_same_ranges_hold_in_python(name: str, value: Any) -> None:
    with pytest.raises(UserError, match=f"^{name}=") as raised:
        TrainConfig(data=Path("d"), run=Path("r"), **{name: value})
    assert "--" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("optimizer", "sdg", "choose from sgd, adam, adamw, lars"),
        ("lr_schedule", None, "choose from plateau, cosine, step"),
        ("dali", "no", "give True or False"),
        ("flip", 1, "give True or False"),
        ("epochs", None, "None is no number"),
        ("loss", ["hinge"], "choose from"),
    ],
)
def test_other_values_are_checked_in_python_too(name: str, value: Any, said: str) -> None:
    with pytest.raises(UserError, match=f"^{name}=") as raised:
        TrainConfig(data=Path("d"), run=Path("r"), **{name: value})
    assert said in str(raised.value)


def test_numbers_of_numpy_and_texts_for_paths_become_plain_ones(tmp_path: Path) -> None:
    given: dict[str, Any] = {"data": "d", "epochs": np.int64(3), "lr": np.float32(0.5), "crop": np.uint8(64)}
    config = TrainConfig(run=Path("r"), **given)
    assert (config.data, config.lr, type(config.epochs), type(config.crop)) == (Path("d"), 0.5, int, int)
    config.save(tmp_path / "config.toml")


def test_ranges_and_choices_are_declared_once() -> None:
    hints = typing.get_type_hints(TrainConfig, localns={"Initial": Initial})
    for field in dataclasses.fields(TrainConfig):
        declared = option_of(field)
        for kind in (hints[field.name], *typing.get_args(hints[field.name])):
            if kind in (int, float):
                assert declared.range is not None, field.name
            if typing.get_origin(kind) is typing.Literal:
                assert set(typing.get_args(kind)) == set(declared.choices or ())
        assert declared.help, field.name
    formats = next(field for field in dataclasses.fields(TrainConfig) if field.name == "dataset_format")
    assert option_of(formats).choices == KINDS


@pytest.mark.parametrize(
    "make",
    [
        lambda: FetchConfig(gibibytes=math.inf),
        lambda: FetchConfig(gibibytes=math.nan),
        lambda: LoaderConfig(workers=100_000),
        lambda: LoaderConfig(prefetch=10**9),
        lambda: Batching(timeout=math.nan),
        lambda: Batching(max_queue_delay=-1.0),
        lambda: ServerConfig(http_port=-1),
        lambda: ServerConfig(drain_timeout=math.inf),
        lambda: Progressive.parse("99999999999999999999:224", 3),
        lambda: Progressive.parse("9" * 5000 + ":224", 3),
        lambda: Progressive.parse("20000:20000", 3),
        lambda: parse_profile("1,8,999999999999", 64),
    ],
)
def test_config_classes_refuse_numbers_outside_their_ranges(make: Any) -> None:
    with pytest.raises(UserError):
        make()


@pytest.mark.slow
def test_a_network_larger_than_memory_is_refused() -> None:
    with pytest.raises(UserError, match="8192 x 8192 pixels would take 254.1 GiB .*; give a smaller --crop"):
        create_model("alexnet", 10, image_size=8192)


def test_batches_larger_than_memory_are_refused(two_classes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from alexnet_fast.pipelines.image_dataset import list_data
    from alexnet_fast.utils import memory

    images = list_data(two_classes / "train")
    sampler = EpochSampler(num_images=len(images), batch_size=1 << 20, shuffle=False)
    spec = AugmentSpec(resize=8192, crop=8192)
    monkeypatch.setattr(memory, "memory_bytes", lambda: 8 << 30)
    with pytest.raises(UserError, match=r"batches of 48 images .* 8.0 GiB; give a smaller --batch"):
        make_loader(images, spec, "train", sampler, LoaderConfig())


@pytest.mark.parametrize("name", sorted(OPTION_RANGES))
def test_the_ends_belong_to_a_range_unless_excluded(name: str) -> None:
    bounds = OPTION_RANGES[name]
    for end, excluded in ((bounds.least, bounds.above), (bounds.most, bounds.below)):
        if excluded:
            with pytest.raises(ValueError, match="give a"):
                bounds.take(end)
        else:
            assert bounds.take(end) == end
