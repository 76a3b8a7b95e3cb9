"""`predict FOLDER` answers for every image below a folder, and says what it ignores there."""

from __future__ import annotations

import json
import os
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from alexnet_fast.cli.command import answers
from alexnet_fast.cli.image_files import image_files
from alexnet_fast.cli.main import commands
from alexnet_fast.cli.spooled_rows import SpooledRows
from alexnet_fast.errors import UserError
from alexnet_fast.utils import special_files
from small_model import make_model

Predict = Callable[..., Result]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported network of random weights."""
    return make_model(tmp_path_factory.mktemp("model") / "model.onnx")


@pytest.fixture
def directory(tmp_path: Path, cells: dict[str, list[Path]]) -> Path:
    """Images on three levels, beside all that people's folders hold besides."""
    top = tmp_path / "images"
    for place in ("b.jpg", "a.PNG", "sub/c.jpg", "sub/x.jpg/d.jpeg", "class.jpg/e.jpg"):
        (top / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(cells["mono"][0], top / place)
    (top / "._b.jpg").write_bytes(b"\0\5\026\7")
    (top / "__MACOSX").mkdir()
    shutil.copy(cells["mono"][0], top / "__MACOSX" / "b.jpg")
    (top / "empty.jpg").mkdir()
    os.mkfifo(top / "sub" / "pipe.jpg")
    (top / "notes.txt").write_text("x")
    (top / "Thumbs.db").write_bytes(b"x")
    (top / "sub" / "up").symlink_to(top)
    return top


IMAGES = ["a.PNG", "b.jpg", "class.jpg/e.jpg", "sub/c.jpg", "sub/x.jpg/d.jpeg"]


def predict(*arguments: Any) -> Result:
    return CliRunner().invoke(commands, ["predict", *map(str, arguments)])


def test_all_images_below_a_folder_are_classified_and_other_files_counted(
    model: Path, directory: Path
) -> None:
    done = predict(model, directory, "--json")
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert [row["file"] for row in answer["predictions"]] == [str(directory / name) for name in IMAGES]
    assert all(len(row["classes"]) == 5 and row["error"] is None for row in answer["predictions"])
    assert sum(answer["ignored"].values()) == 6
    assert answer["ignored"]["a named pipe with the name of an image"] == 1
    assert f"ignored in {directory}: " in done.stderr


def test_a_broken_image_is_named_and_the_others_are_classified(model: Path, directory: Path) -> None:
    (directory / "sub" / "broken.jpg").write_bytes(b"no image")
    (directory / "nowhere.png").symlink_to("gone")
    done = predict(model, directory)
    assert done.exit_code == 1
    assert done.stdout.count("cannot be classified") == 2
    assert done.stdout.count("%") == 5 * len(IMAGES)


@pytest.mark.parametrize("kind", ["pipe", "device", "empty", "junk", "missing"])
def test_a_folder_without_images_is_refused_or_named(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(special_files, "_SECONDS_FOR_THE_OTHER_END", 0.1)
    path = tmp_path / "x.jpg"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/zero")
    elif kind in ("empty", "junk"):
        path.mkdir()
        if kind == "junk":
            (path / "a.heic").write_bytes(b"x")
    done = predict(model, path)
    said = {
        "pipe": "nobody writes",
        "device": "does not end within",
        "empty": f"no images in {path}; give",
        "junk": "(ignored: 1 HEIC (.heic), not read); give",
        "missing": "no such file",
    }
    assert done.exit_code == (2 if kind in ("empty", "junk") else 1)
    assert said[kind] in (done.stderr if kind in ("empty", "junk") else done.stdout).lower().replace(
        "heic (.heic)", "HEIC (.heic)"
    )


def test_a_folder_twice_and_a_file_by_itself_keep_their_order(directory: Path) -> None:
    files, _ = image_files([directory / "sub", directory / "b.jpg", directory / "sub"])
    names = [str(file.relative_to(directory)) for file in files]
    assert names == ["sub/c.jpg", "sub/x.jpg/d.jpeg", "b.jpg", "sub/c.jpg", "sub/x.jpg/d.jpeg"]


def test_files_whose_names_are_not_utf8_are_classified(model: Path, tmp_path: Path, cells: Any) -> None:
    directory = tmp_path / os.fsdecode(b"caf\xe9")
    directory.mkdir()
    shutil.copy(cells["mono"][0], directory / os.fsdecode(b"\xff.jpg"))
    done = predict(model, directory, "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["predictions"][0]["file"] == f"{directory}/\udcff.jpg"


def test_many_rows_take_no_memory_and_come_out_as_json() -> None:
    rows = SpooledRows()
    tracemalloc.start()
    for number in range(20_000):
        rows.append({"file": f"{number}\udcff", "classes": [{"label": "é" * 50}]})
    assert tracemalloc.get_traced_memory()[0] < 4 << 20
    tracemalloc.stop()
    assert [row["file"] for row in rows][-1] == "19999\udcff"

    done = CliRunner().invoke(_command(rows), ["--json"])
    assert done.output == json.dumps({"a": 1, "rows": list(rows), "z": None}) + "\n"
    assert (
        CliRunner().invoke(_command(SpooledRows()), ["--json"]).output == '{"a": 1, "rows": [], "z": null}\n'
    )


def _command(rows: SpooledRows) -> Any:
    import click

    return click.command()(answers(lambda _: "")(lambda: {"a": 1, "rows": rows, "z": None}))


def test_a_folder_that_cannot_be_read_is_named(directory: Path) -> None:
    (directory / "locked").mkdir(mode=0)
    if os.access(directory / "locked", os.R_OK):
        pytest.skip("the superuser reads everything")
    with pytest.raises(UserError, match="no permission to read"):
        image_files([directory])
