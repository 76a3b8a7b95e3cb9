"""What a user has is not overwritten without a yes."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from alexnet_fast.cli.commands.show import new_plot
from alexnet_fast.cli.main import commands
from alexnet_fast.cli.overwriting import ask_to_overwrite
from alexnet_fast.errors import UserError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.txt"
    path.write_text("precious")
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder that holds a run."""
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "config.toml").write_text("")
    (tmp_path / "run" / "checkpoints" / "best.pt").write_text("")
    return tmp_path / "run"


def test_without_a_terminal_a_file_is_left_as_it_was(file: Path) -> None:
    with pytest.raises(UserError, match="is there already; give --force to overwrite it, or another name"):
        ask_to_overwrite(file, force=False, instead="another name")
    ask_to_overwrite(file, force=True, instead="another name")
    ask_to_overwrite(file.with_name("b"), force=False, instead="another name")


@pytest.mark.parametrize("path", ["/dev/null", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_devices_and_open_streams_hold_nothing_that_could_be_lost(path: str) -> None:
    ask_to_overwrite(Path(path), force=False, instead="another name")


def test_a_link_to_a_device_is_not_a_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/null")
    ask_to_overwrite(tmp_path / "link", force=False, instead="another name")


def test_a_dangling_link_counts_as_a_file_and_a_folder_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("gone")
    with pytest.raises(UserError, match="is there already"):
        ask_to_overwrite(tmp_path / "link", force=False, instead="another")
    with pytest.raises(UserError, match="is a folder; give another"):
        ask_to_overwrite(tmp_path, force=True, instead="another")


def test_pipes_and_devices_are_not_asked_about(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null")):
        ask_to_overwrite(path, force=False, instead="another")


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 1), ("", 1)])
def test_at_a_terminal_the_user_is_asked(file: Path, answer: str, code: int) -> None:
    script = (
        "import sys; from pathlib import Path; from alexnet_fast.cli.overwriting import ask_to_overwrite\n"
        "try: ask_to_overwrite(Path(sys.argv[1]), force=False, instead='another')\n"
        "except Exception as error: sys.exit(f'{error}')"
    )
    ours, theirs = pty.openpty()
    os.write(ours, f"{answer}\n".encode())
    done = subprocess.run([sys.executable, "-c", script, file], stdin=theirs, stderr=theirs, check=False)
    os.close(theirs)
    said = os.read(ours, 4096).decode()
    os.close(ours)
    assert done.returncode == code
    assert "a.txt is there already. Overwrite it? [y/N]" in said
    assert ("is left as it was; give another" in said) == bool(code)


def test_an_image_of_a_run_goes_into_its_folder(run: Path, tmp_path: Path) -> None:
    for shown in (run, run / "checkpoints" / "best.pt", run / "model.onnx"):
        assert new_plot(None, "curves", force=False, shown=shown) == run / "curves.png"
    for shown in (None, tmp_path / "elsewhere.pth", tmp_path):
        assert new_plot(None, "curves", force=False, shown=shown) == Path("curves.png")
    assert new_plot(tmp_path, "curves", force=False, shown=run) == tmp_path / "curves.png"
    assert new_plot(tmp_path / "b.png", "curves", force=False, shown=run) == tmp_path / "b.png"


@pytest.mark.parametrize(
    "command", ["curves", "kernels", "saliency", "confusion", "misclassified", "augment"]
)
def test_existing_images_are_found_before_any_work(run: Path, command: str) -> None:
    name = "kernels-conv1" if command == "kernels" else command
    (run / f"{name}.png").write_bytes(b"precious")
    more = [] if command in ("curves", "kernels") else ["nowhere"]
    words = ["nowhere", "--model", str(run)] if command == "augment" else [str(run), *more]
    done = CliRunner().invoke(commands, ["show", command, *words])
    assert f"{run / name}.png is there already; give --force to overwrite it" in done.stderr
    assert (run / f"{name}.png").read_bytes() == b"precious"


def test_a_foreign_list_is_kept_and_an_earlier_list_of_the_data_is_replaced(
    tmp_path: Path, cells: dict[str, list[Path]]
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "good.png").write_bytes(cells["mono"][0].read_bytes())
    (data / "bad.jpg").write_bytes(b"x")
    own, foreign = tmp_path / "bad.txt", tmp_path / "labels.csv"
    own.write_text("bad.jpg\ngood.png\n")
    foreign.write_text("file,class\nbad.jpg,cat\n")
    runner = CliRunner()
    refused = runner.invoke(commands, ["scan", str(data), "--write-exclude", str(foreign), "--workers", "1"])
    assert (refused.exit_code, foreign.read_text()) == (2, "file,class\nbad.jpg,cat\n")
    assert "labels.csv is there already" in refused.stderr
    assert (
        runner.invoke(commands, ["scan", str(data), "--write-exclude", str(own), "--workers", "1"]).exit_code
        == 0
    )
    assert own.read_text() == "bad.jpg\n"


def test_features_are_kept(tmp_path: Path) -> None:
    (tmp_path / "files.csv").write_text("precious")
    done = CliRunner().invoke(commands, ["features", "nowhere", "nowhere", str(tmp_path)])
    assert "files.csv is there already; give --force to overwrite it, or another folder OUT" in done.stderr
