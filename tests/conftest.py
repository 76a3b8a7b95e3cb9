"""Real photographs, odd images and small data sets for every test."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import shutil
from multiprocessing import forkserver
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# Two threads for torch, as on the machines that the tests are made for, whatever the machine has.
import torch
from PIL import Image

import evidence as findings
from alexnet_fast.wording import on_command_line
from cpu_limit import CpuLimit
from odd_image_files import write_odd_images

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

torch.set_num_threads(2)


# Files with a mark are deadly to what that server forks, as to a decoder that crashes; to no other process.
DEADLY = Path(__file__).parent / "training" / "deadly_decoders"
FORKED_WITH = [
    "alexnet_fast.training.run",
    "alexnet_fast.pipelines.cpu.loaders",
    "alexnet_fast.scan.inspect",
    "nvidia.dali",
    "torch.utils.tensorboard",
    "safetensors.torch",
    "small_net",
]


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(CpuLimit())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips what needs a GPU where the driver shows none, and says so."""
    from alexnet_fast.runtime.cuda import driver_problem

    problem = driver_problem()
    if problem is None:
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason=f"needs a GPU: {problem}"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.CallOutcome[pytest.TestReport], None]:
    """What a test printed may name files that are not UTF-8, which pytest-xdist cannot pass on."""
    report = (yield).get_result()
    report.sections = [
        (title, text.encode("utf-8", "backslashreplace").decode()) for title, text in report.sections
    ]


@pytest.fixture(scope="session", autouse=True)
def cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing that a test builds or lists is kept in the user's own cache folder, or found there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def forking_server() -> None:
    """Processes of tests and of what they test are forked from one that has everything imported.

    Whoever needs the first one starts it, with its own imports alone; so this comes before.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(FORKED_WITH)
    paths = [str(DEADLY), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        forkserver.ensure_running()


@pytest.fixture(autouse=True)
def handlers_as_before() -> Iterator[None]:
    """What a command adds to the log in this process is gone with its test."""
    loggers = (logging.getLogger(), logging.getLogger("alexnet_fast"))
    before = [(list(logger.handlers), logger.level) for logger in loggers]
    yield
    for logger, (handlers, level) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        for handler in [handler for handler in logger.handlers if handler not in handlers]:
            # pytest has others in each part of a test.
            if not type(handler).__module__.startswith("_pytest."):
                logger.removeHandler(handler)


@pytest.fixture(autouse=True)
def options_in_messages() -> Iterator[None]:
    """Messages name options as the command line does, whoever calls; `test_wording` has what Python says."""
    with on_command_line():
        yield


@pytest.fixture
def evidence(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Prints what a test found in one line, `evidence(what, n=..., ...)`; SOAK, of `make soak`, keeps it."""
    console = request.config.pluginmanager.getplugin("capturemanager")

    def say(what: str, **figures: object) -> None:
        line = findings.found_line(f"pytest '{request.node.nodeid}'", what, figures)
        with console.global_and_fixture_disabled():
            print(f"\n{findings.quoted(line)}")
        if "SOAK" in os.environ:
            findings.keep(line)

    return say


@pytest.fixture(scope="session")
def photographs() -> list[Image.Image]:
    """Two colour photographs of 640 x 427 pixels, from scikit-learn."""
    import sklearn.datasets

    directory = Path(sklearn.datasets.__file__).parent / "images"
    return [Image.open(directory / name).convert("RGB") for name in ("china.jpg", "flower.jpg")]


@pytest.fixture(scope="session")
def cells() -> dict[str, list[Path]]:
    """Real 300 x 300 photographs of solar cells by class, from elpv-dataset."""
    import elpv_dataset

    directory = Path(elpv_dataset.__file__).parent / "data"
    found: dict[str, list[Path]] = {"mono": [], "poly": []}
    for line in (directory / "labels.csv").read_text(encoding="utf-8").splitlines():
        name, _, kind = line.split()
        found[kind].append(directory / name)
    return found


@pytest.fixture(scope="session")
def two_classes(cells: dict[str, list[Path]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of train/ and val/ with 24 and 8 images of each class."""
    root = tmp_path_factory.mktemp("two-classes")
    for kind, files in cells.items():
        for part, some in (("train", files[:24]), ("val", files[24:32])):
            (root / part / kind).mkdir(parents=True)
            for file in some:
                (root / part / kind / file.name).symlink_to(file)
    return root


@pytest.fixture
def loose(cells: dict[str, list[Path]], tmp_path: Path) -> Path:
    """train/, val/ and test/ of loose files; labels.json and indices.json give "poly" the first index."""
    root = tmp_path / "loose"
    labels = {}
    for kind in ("mono", "poly"):
        for part, some in (("train", range(12)), ("val", range(12, 16)), ("test", range(16, 18))):
            (root / part).mkdir(parents=True, exist_ok=True)
            for number in some:
                name = f"{kind}_{number}"
                shutil.copy(cells[kind][number], root / part / f"{name}.png")
                labels[name] = kind
    (root / "labels.json").write_text(json.dumps(labels))
    (root / "indices.json").write_text(json.dumps({"mono": 1, "poly": 0}))
    return root


@pytest.fixture(scope="session")
def odd_images(photographs: list[Image.Image], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one image of each kind, named after the kind."""
    directory = tmp_path_factory.mktemp("odd") / "odd"
    directory.mkdir()
    write_odd_images(directory, photographs)
    return directory
