"""Images that a process dies of: the next start finds them among what was being decoded, and says so."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from deadly_decoders.sitecustomize import CRASH, KILL, LARGE, TOGETHER
from PIL import Image
from train_jobs import OPTIONS, cleaned_up, finish_many, same_run, start, start_many

from alexnet_fast.errors import UserError
from alexnet_fast.pipelines import ImageLoader
from alexnet_fast.pipelines.decoding_record import DecoderDeathError
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.run import train

BAD = "train/poly/03.png"


@pytest.fixture
def data(two_classes: Path, tmp_path: Path) -> Path:
    """A copy of the two classes, whose files are called by their numbers."""
    root = tmp_path / "data"
    for directory in sorted(two_classes.glob("*/*")):
        made = root / directory.relative_to(two_classes)
        made.mkdir(parents=True)
        for number, file in enumerate(sorted(directory.iterdir())):
            shutil.copy(file, made / f"{number:02}.png")
    return root


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As in the processes that die, so that sums are the same to the last bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def marked(data: Path, name: str, mark: bytes) -> None:
    """Makes a file deadly."""
    (data / name).write_bytes((data / name).read_bytes() + mark)


def trained(data: Path, run: Path, **options: Any) -> dict[str, Any]:
    """Trains in this process, where no file is deadly; goes on with what is there."""
    config = {"on_bad_image": "skip", **OPTIONS, **options}
    return train(TrainConfig(data=data, run=run, **config), resume=True)


def died(data: Path, run: Path, **options: Any) -> int:
    """Trains in a process that has to die, and returns its exit code."""
    process = start(data, run, **{"on_bad_image": "skip", **options})
    process.join(200)
    assert process.exitcode
    assert list(run.glob(".decoding-*"))
    return process.exitcode


def undisturbed(data: Path, tmp_path: Path, name: str, **options: Any) -> Path:
    """Trains where the image is bad in an ordinary way, and returns the run's folder."""
    other = shutil.copytree(data, tmp_path / "ordinary" / "data")
    (other / name).write_bytes(b"no image")
    trained(other, tmp_path / "ordinary" / "run", **options)
    return tmp_path / "ordinary" / "run"


def test_an_image_that_ends_the_process_is_named_or_left_out(data: Path, tmp_path: Path) -> None:
    run, short = tmp_path / "run", {"epochs": 2}
    marked(data, BAD, CRASH)
    assert died(data, run, **short) == -signal.SIGSEGV
    with pytest.raises(UserError, match=rf"died of {BAD} \(the decoder crashed \(SIGSEGV\)\)") as error:
        trained(data, run, on_bad_image="fail", **short)
    assert error.value.exit_code == 1
    result = trained(data, run, **short)
    assert result["bad_images"] == 1
    log = (run / "log.txt").read_text(encoding="utf-8")
    assert f"left out {BAD}: the decoder crashed (SIGSEGV)" in log
    assert "ended (Segmentation fault) while batches " in log
    assert not list(run.glob(".decoding-*"))
    assert same_run(run, undisturbed(data, tmp_path, BAD, **short))


def test_what_was_left_out_stays_left_out(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    marked(data, BAD, CRASH)
    (run / "blocked_images.json").write_text(json.dumps({BAD: "the decoder crashed (SIGSEGV)"}))
    process = start(data, run, on_bad_image="skip", epochs=1)
    process.join(200)
    assert process.exitcode == 0
    with pytest.raises(UserError, match=f"{BAD}.*give --on-bad-image skip, or remove .*blocked_images.json"):
        trained(data, run, on_bad_image="fail")
    (run / "blocked_images.json").write_text("[1")
    with pytest.raises(UserError, match=r"cannot read .*blocked_images.json"):
        trained(data, run)


def test_a_worker_of_the_pillow_loader_that_dies(data: Path, tmp_path: Path) -> None:
    run, sentence = tmp_path / "run", "a worker process of the Pillow loader was killed by SIGSEGV"
    marked(data, BAD, CRASH)
    options = {"dali": False, "workers": 2, "epochs": 1}
    with pytest.raises(
        DecoderDeathError, match=rf"^{sentence} while it decoded .*batch.* of epoch 1; go on with"
    ):
        trained(data, run, **options)
    assert trained(data, run, **options)["bad_images"] == 1
    assert f"ended ({sentence}) while " in (run / "log.txt").read_text(encoding="utf-8")


def test_a_worker_that_dies_outside_a_run_is_told_in_one_sentence(data: Path) -> None:
    marked(data, BAD, KILL)
    loader = ImageLoader(data / "train", batch_size=8, loader="torch", workers=1, device="cpu")
    with pytest.raises(
        DecoderDeathError,
        match="was killed by SIGKILL while .* of epoch 1; alexnet-fast scan names .*--workers$",
    ):
        list(loader)


@pytest.mark.slow
@pytest.mark.parametrize("mark", [TOGETHER, LARGE], ids=["of images", "of a size"])
def test_an_image_that_is_deadly_only_in_a_batch(mark: bytes, data: Path, tmp_path: Path) -> None:
    run, options = tmp_path / "run", {"batch_size": 24, "epochs": 2}
    # A JPEG, which DALI gets as it is.
    Image.open(data / BAD).save(data / BAD, "JPEG")
    marked(data, BAD, mark)
    assert died(data, run, **options) == -signal.SIGABRT
    result = trained(data, run, **options)
    assert result["bad_images"] == 1
    assert (
        f"left out {BAD}: the decoder crashed (SIGABRT) in a batch with others"
        in (run / "log.txt").read_text()
    )
    assert same_run(run, undisturbed(data, tmp_path, BAD, **options))


@pytest.mark.slow
@pytest.mark.parametrize("name", [BAD, "val/mono/05.png"])
def test_an_image_that_the_kernel_kills_for(name: str, data: Path, tmp_path: Path) -> None:
    """For want of memory it sends SIGKILL, which leaves no word."""
    run = tmp_path / "run"
    marked(data, name, KILL)
    assert died(data, run, epochs=2) == -signal.SIGKILL
    assert trained(data, run, epochs=2)["bad_images"] == 1
    log = (run / "log.txt").read_text(encoding="utf-8")
    assert "was killed while batches " in log
    assert f"left out {name}: the decoder was killed (SIGKILL)" in log


@pytest.mark.slow
def test_two_processes_of_which_one_dies(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    marked(data, BAD, CRASH)
    with cleaned_up(start_many(data, run, "--on-bad-image", "skip")) as process:
        code, _, err = finish_many(process)
    assert code == 1
    assert "of 2 was killed by SIGSEGV; go on with --resume" in err
    with cleaned_up(start_many(data, run, "--resume", "--on-bad-image", "fail")) as process:
        code, _, err = finish_many(process)
    assert code == 1
    assert err.count(f"died of {BAD} (the decoder crashed (SIGSEGV))") == 1
    assert "Traceback" not in err
    # As the run began.
    with cleaned_up(start_many(data, run, "--resume")) as process:
        code, out, err = finish_many(process)
    assert code == 0, err
    assert json.loads(out.splitlines()[-1])["bad_images"] == 1


@pytest.mark.slow
def test_two_images_in_one_batch_and_the_images_of_another_folder(data: Path, tmp_path: Path) -> None:
    run, options = tmp_path / "run", {"batch_size": 24, "epochs": 1}
    marked(data, BAD, CRASH)
    marked(data, "train/mono/07.png", CRASH)
    died(data, run, **options)
    record = run / ".decoding-0"
    kept = record.read_bytes()
    with pytest.raises(UserError, match=r"died of train/.*/0.\.png .*, train/.*/0.\.png "):
        trained(data, run, on_bad_image="fail", **options)
    # Other images than those that the record speaks of: nothing is known any more.
    shutil.copy(data / "val/mono/00.png", data / "val/mono/99.png")
    record.write_bytes(kept)
    shutil.rmtree(run / "checkpoints")
    (data / BAD).unlink()
    (data / "train/mono/07.png").unlink()
    trained(data, run, **options)
    assert "what it decoded is not known" in (run / "log.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 300_000, os.urandom(300_000)], ids=["empty", "zeros", "noise"]
)
def test_a_record_that_makes_no_sense(
    content: bytes, small: Callable[..., TrainConfig], caplog: pytest.LogCaptureFixture
) -> None:
    config = small("run", epochs=1)
    config.run.mkdir(parents=True)
    (config.run / ".decoding-0").write_bytes(content)
    train(config)
    assert not list(config.run.glob(".decoding-*"))
    assert "examined" not in caplog.text
