"""Whatever a path holds, config.toml brings it back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from alexnet_fast.cli.main import commands
from alexnet_fast.errors import UserError
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.utils.toml import read_toml, write_toml

NAMES = [
    "plain",
    "images 😀",
    "\U0001d518 \U0010fffd",
    'quote " and \' and """',
    "back\\slash \\u0041 \\",
    "line\nfeed\r\n\ttab",
    "control \x01\x1b\x7f\x85",
    "zero\u200bwidth \u2028 \ufeff",
    "# [table] = {x}",
    os.fsdecode(b"latin1 caf\xe9"),
    os.fsdecode(b"\xff\xfe percent %41 %"),
    "percent:%41",
    "percent:",
    os.fsdecode(b"percent:\xe9"),
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_config_is_read_back_as_it_was(tmp_path: Path, name: str) -> None:
    path = tmp_path / "config.toml"
    config = TrainConfig(
        data=Path(f"/data/{name}"), run=Path(name), weights=Path(name), exclude=Path(name), model=name
    )
    config.save(path)
    assert TrainConfig.from_dict(read_toml(path)) == config
    path.read_bytes().decode("utf-8")


def test_values_of_every_kind_are_read_back(tmp_path: Path) -> None:
    values = {"a": 1e-300, "b": 2**63 - 1, "c": True, "d": {"e": ["\udcff", "x"]}, "f": -0.0, "g": 1e22}
    write_toml(tmp_path / "a.toml", values)
    assert read_toml(tmp_path / "a.toml") == values


def test_notes_are_comments_whatever_they_say(tmp_path: Path) -> None:
    notes = ["resumed with --lr 0.1", "a\nb = 2\x00", "caf\udce9 😀"]
    write_toml(tmp_path / "a.toml", {"a": 1}, notes)
    assert read_toml(tmp_path / "a.toml") == {"a": 1}
    assert (tmp_path / "a.toml").read_text(encoding="utf-8").count("#") == 3


def test_a_byte_order_mark_before_toml_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b'\xef\xbb\xbfa = "b"\r\n')
    assert read_toml(tmp_path / "a.toml") == {"a": "b"}


def test_what_is_no_name_of_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written"):
        write_toml(tmp_path / "a.toml", {"a": "\ud800"})
    assert not (tmp_path / "a.toml").exists()


@pytest.mark.parametrize("name", ["images 😀", 'quo"te\n\x01', os.fsdecode(b"caf\xe9")], ids=ascii)
def test_a_run_goes_on_whatever_the_names_of_its_folders_hold(
    tmp_path: Path, two_classes: Path, name: str
) -> None:
    data, run = tmp_path / f"{name} data", tmp_path / f"{name} run"
    data.symlink_to(two_classes)
    options = ["--model", "linear", "--batch-size", "16", "--no-dali", "--workers", "1", "--json"]
    for arguments in (
        [str(data), "--run", str(run), "--epochs", "1", *options],
        ["--run", str(run), "--resume", "--epochs", "2", "--json"],
        ["--config", str(run / "config.toml"), "--run", str(tmp_path / "again"), "--epochs", "1", "--json"],
    ):
        done = CliRunner().invoke(commands, ["train", *arguments])
        assert done.exit_code == 0, done.output
    assert read_toml(tmp_path / "again" / "config.toml")["data"] == str(data)
