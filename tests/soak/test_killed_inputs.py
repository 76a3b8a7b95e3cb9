"""`kill -9` at any moment: `prepare` ends in the same bytes, and a stream of batches goes on where it was."""

from __future__ import annotations

import hashlib
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

KILLS = 50
PREPARE = [sys.executable, "-m", "alexnet_fast", "prepare"]
FORMS = {
    "folders": [],
    "shards": ["--shards", "--shard-size", "1"],
    "arrays": ["--encoding", "raw"],
    "array shards": ["--encoding", "raw", "--shards", "--shard-size", "4"],
}


@pytest.fixture(scope="module")
def source(
    cells: dict[str, list[Path]], photographs: list[Image.Image], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """120 photographs in two classes."""
    root = tmp_path_factory.mktemp("kills") / "source"
    for kind, files in cells.items():
        (root / kind).mkdir(parents=True)
        for number, file in enumerate(files[:60]):
            image = photographs[number % 2].resize((320 + number, 240))
            Image.blend(image, Image.open(file).convert("RGB").resize(image.size), 0.5).save(
                root / kind / f"{file.stem}.jpg"
            )
    return root


def digests(root: Path) -> dict[str, str]:
    """Returns the SHA-256 of every file."""
    return {
        str(file.relative_to(root)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(root.rglob("*"))
        if file.is_file()
    }


def killed_after(words: list[str], seconds: float) -> bool:
    """Starts a process, and kills it and its workers after a while; tells whether it was still running."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def run(words: list[str]) -> float:
    """Runs a process to its end; returns its seconds."""
    started = time.monotonic()
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return time.monotonic() - started


@pytest.mark.soak
@pytest.mark.parametrize("form", FORMS)
def test_prepare_killed_50_times_ends_in_the_same_bytes(
    source: Path, form: str, tmp_path: Path, evidence: Callable[..., None]
) -> None:
    options = [*FORMS[form], "--size", "200", "--workers", "2"]
    seconds = run([*PREPARE, str(source), str(tmp_path / "whole"), *options])
    whole = digests(tmp_path / "whole")
    moments, hits, attempts = random.Random(form), 0, 0
    words = [*PREPARE, str(source), str(tmp_path / "killed"), *options]
    while hits < KILLS:
        attempts += 1
        assert attempts < 10 * KILLS, "the process is never hit"
        if killed_after(words, moments.uniform(0.2, seconds)):
            hits += 1
            continue
        # It was over before it was hit: from the start again, so that every moment is met.
        assert digests(tmp_path / "killed") == whole
        for file in sorted((tmp_path / "killed").rglob("*"), reverse=True):
            file.rmdir() if file.is_dir() else file.unlink()
    run(words)
    assert digests(tmp_path / "killed") == whole
    evidence(f"kills of prepare ({form})", n=hits, files=len(whole), differing=0)


def stream(data: Path, kind: str, out: Path) -> list[str]:
    """Returns the command that loads two epochs."""
    script = str(Path(__file__).with_name("stream_script.py"))
    out.mkdir(exist_ok=True)
    return [sys.executable, script, str(data), kind, str(out), "2"]


def steps(out: Path) -> dict[str, str]:
    """Returns the digest of each batch by its epoch and step; one that came twice must be the same."""
    found: dict[str, str] = {}
    for line in (out / "stream.txt").read_text().splitlines():
        epoch, step, digest = line.split()
        assert found.setdefault(f"{epoch} {step}", digest) == digest
    return found


def check_killed(data: Path, kind: str, directory: Path, kills: int) -> int:
    """Kills a stream so many times, and compares it with one that was left alone; returns its batches."""
    run(stream(data, kind, directory / "whole"))
    whole = steps(directory / "whole")
    assert len(whole) > 40
    moments, hits = random.Random(f"{kind} {data.name}"), 0
    words, log = stream(data, kind, directory / "killed"), directory / "killed" / "stream.txt"
    while hits < kills:
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # At least one new step between two kills, else this would never end.
        before = written(log)
        while process.poll() is None and written(log) == before:
            time.sleep(0.001)
        time.sleep(moments.uniform(0, 0.05))
        process.kill()
        if process.wait() == -signal.SIGKILL:
            hits += 1
            continue
        # It came to its end before it was hit: from the start again.
        assert steps(directory / "killed") == whole
        log.unlink()
        log.with_name("position.json").unlink()
    run(words)
    assert steps(directory / "killed") == whole
    return len(whole)


def written(log: Path) -> int:
    """Returns the bytes of a file that need not be there."""
    return log.stat().st_size if log.exists() else 0


@pytest.fixture(scope="module")
def forms(source: Path) -> Path:
    """The images in two forms, without their validation part."""
    root = source.parent
    run([*PREPARE, str(source), str(root / "folders"), "--size", "96", "--workers", "2"])
    run([*PREPARE, str(root / "folders"), str(root / "shards"), "--size", "96", "--shards", "--workers", "2"])
    run([*PREPARE, str(root / "folders"), str(root / "arrays"), "--size", "96", "--encoding", "raw"])
    return root


@pytest.mark.slow
def test_a_stream_killed_twice_is_the_uninterrupted_one(forms: Path, tmp_path: Path) -> None:
    check_killed(forms / "shards", "dali", tmp_path, 2)


@pytest.mark.soak
@pytest.mark.parametrize(
    ("form", "kind"), [("folders", "dali"), ("shards", "dali"), ("arrays", "dali"), ("shards", "torch")]
)
def test_a_stream_killed_50_times_is_the_uninterrupted_one(
    forms: Path, form: str, kind: str, tmp_path: Path, evidence: Callable[..., None]
) -> None:
    batches = check_killed(forms / form, kind, tmp_path, KILLS)
    evidence(f"kills of a stream of batches ({form}, {kind})", n=KILLS, batches=batches, differing=0)
