"""In Python, messages speak of arguments; on the command line the same messages speak of options."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import alexnet_fast
from alexnet_fast import AlexNet, create_model
from alexnet_fast.errors import UserError, arguments_called
from alexnet_fast.pipelines import AugmentSpec, ImageLoader
from alexnet_fast.wording import as_arguments


@pytest.fixture
def in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """No command is running."""
    monkeypatch.setattr("alexnet_fast.wording._command_line", False)


@pytest.mark.parametrize(
    ("option", "argument"),
    [
        ("give --on-bad-image skip", 'give on_bad_image="skip"'),
        ("--threads 0 is not a number of threads", "threads=0 is not a number of threads"),
        (
            "--nesterov needs --optimizer sgd and a --momentum above 0",
            'nesterov needs optimizer="sgd" and a momentum above 0',
        ),
        ("--progressive-resize 128:224: too small", 'progressive_resize="128:224": too small'),
        ("--model alexnett: no such model", 'model="alexnett": no such model'),
        ("give the --model that they were trained for", "give the model that they were trained for"),
        ("give --weights FILE or RUN", "give weights=FILE or RUN"),
        ("--lr nan is no rate", 'lr=float("nan") is no rate'),
        ("give --no-jitter, or another", "give jitter=False, or another"),
        (
            "pip install nvidia-dali-cuda120, or give --no-dali",
            'pip install nvidia-dali-cuda120, or give loader="torch"',
        ),
        ("or allow it with --allow-fallback", "or allow it with allow_fallback=True"),
        (
            "alexnet-fast train --run 'a b' --resume; if not, --run",
            "alexnet-fast train --run 'a b' --resume; if not, run",
        ),
        ("--device cuda:7: there are 2 GPUs", 'device="cuda:7": there are 2 GPUs'),
        ("put --run on a disk", "put run on a disk"),
        ("give --batch-size 40 or less", "give batch_size=40 or less"),
        ("a -- b, --, x--y", "a -- b, --, x--y"),
    ],
)
def test_options_become_arguments(option: str, argument: str) -> None:
    assert as_arguments(option, {}) == argument


def test_an_interface_may_have_names_of_its_own() -> None:
    with pytest.raises(UserError) as told, arguments_called(model="name"):
        raise UserError("--model x: no such model", "see --model")
    assert (
        as_arguments(Exception.__str__(told.value), told.value.argument_names)
        == 'name="x": no such model; see name'
    )
    assert str(told.value) == "--model x: no such model; see --model"


def messages() -> Iterator[str]:
    """Yields every text of an error in the package that names an option."""
    for path in _sources():
        parts: set[int] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = ""
            if isinstance(node, ast.JoinedStr):
                parts |= {id(part) for part in node.values}
                text = "".join(
                    str(getattr(part, "value", "")) if isinstance(part, ast.Constant) else "7"
                    for part in node.values
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
                text = node.value
            if re.search(r"(?<![\w-])--[a-z]", text):
                yield text


def _sources() -> Iterator[Path]:
    """Yields the package's files, but for the commands'."""
    root = Path(alexnet_fast.__file__).parent
    for directory in (
        root / "models",
        root / "data",
        root / "training",
        root / "pipelines",
        root / "export",
        root / "serve",
    ):
        yield from directory.resolve().rglob("*.py")


def test_no_message_keeps_an_option() -> None:
    found = list(messages())
    assert len(found) > 100
    for text in found:
        shown = as_arguments(text, {})
        commands = re.sub(r"(alexnet-fast|pip|torchrun|docker|python) .*", "", shown, flags=re.DOTALL)
        assert not re.search(r"(?<![\w-])--[a-z]", commands), text


def test_a_command_speaks_of_options_and_leaves_python_as_it_was(in_python: None) -> None:
    from click.testing import CliRunner

    from alexnet_fast.cli.main import commands

    done = CliRunner().invoke(commands, ["train", "nowhere", "--nesterov", "--optimizer", "adam"])
    assert "--nesterov needs --optimizer sgd" in done.stderr
    assert str(UserError("--lr is high")) == "lr is high"


Act = Callable[[Path], object]


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda data: create_model("alexnett"), 'name="alexnett": no such model; did you mean alexnet?'),
        (lambda data: create_model("alexnet", image_size=8), 'image_size=8 leaves name="alexnet" no pixel'),
        (lambda data: create_model("alexnet", init="none"), 'init="none": no such initialisation'),
        (lambda data: AugmentSpec(crop=300), "crop=300 does not fit .* give resize=300 or more"),
        (lambda data: ImageLoader(data, workers=0), "^workers=0 does not fit; give a whole number"),
        (lambda data: ImageLoader(data, batch_size=0), "^batch_size=0 is not a size"),
        (
            lambda data: ImageLoader(data, batch_size=500),
            "^batch_size=500 exceeds .* give batch_size=48 or less",
        ),
        (lambda data: ImageLoader(data / "train", device="gpu"), '^device="gpu": PyTorch finds no'),
        (lambda data: AlexNet(data, optimizer="adam", nesterov=True), '^nesterov needs optimizer="sgd"'),
        (lambda data: AlexNet(data, lr=-1.0), "^lr=-1.0 does not fit; give a number of at least 0"),
        (lambda data: AlexNet(data, label_encoding="x"), "label_path and label_encoding belong together"),
    ],
)
def test_the_python_interface_speaks_of_arguments(
    two_classes: Path, in_python: None, act: Act, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        act(two_classes / "train" if "batch" in message or "workers" in message else two_classes)


def test_a_bad_image_is_left_out_by_an_argument(in_python: None, tmp_path: Path, two_classes: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no image")
    loader = ImageLoader([(tmp_path / "a.jpg", 0)], train=False, batch_size=1, workers=1, device="cpu")
    with pytest.raises(UserError, match='a.jpg.* give on_bad_image="skip"'):
        list(loader)
