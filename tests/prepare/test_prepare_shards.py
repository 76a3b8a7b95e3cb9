"""WebDataset shards: with the index of NVIDIA's tool, read by DALI, the same bytes however they were made."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet_fast.prepare.shard_writer import is_shard

OPTIONS = ("--shards", "--shard-size", 1, "--size", 300, "--on-bad-image", "skip")


@pytest.fixture(scope="module")
def source(cells: dict[str, list[Path]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 training and 20 validation images."""
    root = tmp_path_factory.mktemp("shards") / "source"
    for kind, files in cells.items():
        for part, some in (("train", files[:50]), ("val", files[50:60])):
            (root / part / kind).mkdir(parents=True)
            for file in some:
                (root / part / kind / file.name).symlink_to(file)
    (root / "train" / "mono" / "bad.jpg").write_bytes(b"bad")
    return root


@pytest.fixture(scope="module")
def shards(source: Path, json_of_prepare) -> tuple[Path, dict]:
    """Them, in shards of at most 1 MiB."""
    out = source.parent / "out"
    return out, json_of_prepare(source, out, *OPTIONS)


def test_shards_hold_every_image_once_and_keep_their_size(shards) -> None:
    out, result = shards
    assert result["images"] == 120
    assert sum(shard["images"] for shard in result["shards"]) == 120
    assert result["counts"] == {"train": {"mono": 50, "poly": 50}, "val": {"mono": 10, "poly": 10}}
    tars = sorted(out.glob("*.tar"))
    assert [tar.name for tar in tars] == [shard["file"] for shard in result["shards"]]
    assert {tar.name.split("-")[0] for tar in tars} == {"train", "val"}
    assert len(tars) >= 3
    assert all(tar.stat().st_size <= 1 << 20 for tar in tars)
    assert {file.name for file in out.iterdir()} == {
        "prepared.json",
        *(f"{tar.stem}{suffix}" for tar in tars for suffix in (".tar", ".idx", ".npz")),
    }


def test_members_are_anonymous_and_classes_are_mixed(shards) -> None:
    out, _ = shards
    with tarfile.open(out / "train-000000.tar") as archive:
        members = archive.getmembers()
        labels = [archive.extractfile(m).read() for m in members if m.name.endswith(".cls")]
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in members} == {(0, 0, 0, "", "")}
    assert set(labels[:12]) == {b"0", b"1"}


def test_the_index_is_that_of_nvidias_tool(shards, tmp_path: Path) -> None:
    wds2idx = pytest.importorskip("wds2idx")
    for tar in sorted(shards[0].glob("*.tar")):
        with wds2idx.IndexCreator(str(tar), str(tmp_path / "theirs.idx"), verbose=False) as creator:
            creator.create_index()
        assert tar.with_suffix(".idx").read_bytes() == (tmp_path / "theirs.idx").read_bytes()


def test_dali_reads_them(shards) -> None:
    from nvidia.dali import fn, pipeline_def

    out, _ = shards
    tars = sorted(map(str, out.glob("val-*.tar")))

    @pipeline_def(batch_size=20, num_threads=1, device_id=None)
    def read():
        indices = [tar.replace(".tar", ".idx") for tar in tars]
        return tuple(fn.readers.webdataset(paths=tars, index_paths=indices, ext=["jpg", "cls"]))

    pipe = read()
    pipe.build()
    jpegs, labels = pipe.run()
    found = [int(bytes(np.array(labels.at(i))).decode()) for i in range(20)]
    assert sorted(found) == [0] * 10 + [1] * 10
    for i in range(20):
        assert min(Image.open(io.BytesIO(bytes(np.array(jpegs.at(i))))).size) == 300


def test_they_can_be_prepared_again_as_a_source(shards, json_of_prepare, tmp_path: Path) -> None:
    out, result = shards
    again = json_of_prepare(out, tmp_path / "again", "--size", 300)
    assert again["classes"] == ["0", "1"]
    assert again["images"] == 120
    assert again["mean"] == result["mean"]


def written(directory: Path) -> int:
    """Returns the bytes of all files below a folder; some may go while it looks."""
    found = 0
    for here, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                found += (Path(here) / name).stat().st_size
    return found


@pytest.mark.slow
def test_workers_and_kills_change_no_byte(
    shards, source: Path, prepare, prepare_command, tmp_path: Path, tree
) -> None:
    out = tmp_path / "out"
    words = [*prepare_command, str(source), str(out), "--workers", "2", *map(str, OPTIONS)]
    whole, killed = written(shards[0]), 0
    for share in (0.0, 0.2, 0.4, 0.6, 0.8):
        process = subprocess.Popen(words, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        while process.poll() is None and not (out.exists() and written(out) >= share * whole):
            time.sleep(0.002)
        process.kill()
        killed += process.wait() == -signal.SIGKILL
    # On a fast machine a run may end before it is killed; some must have been hit for this to be a test.
    assert killed >= 3
    assert prepare(source, out, *OPTIONS, "--workers", 3).returncode == 0
    assert tree(out) == tree(shards[0])


def test_parts_join(shards, source: Path, prepare, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for part in ("1/2", "2/2", "1/2"):
        done = prepare(source, out, *OPTIONS, "--part", part)
        assert done.returncode == 0, done.stderr
    assert prepare("--join", out).returncode == 0
    ours, theirs = (json.loads((o / "prepared.json").read_text(encoding="utf-8")) for o in (out, shards[0]))
    shard_names = [shard["file"] for shard in ours.pop("shards")]
    assert ours == {key: value for key, value in theirs.items() if key != "shards"}
    assert {"train-1of2-000000.tar", "train-2of2-000000.tar", "val-1of2-000000.tar"} <= set(shard_names)
    assert sorted(tar.name for tar in out.glob("*.tar")) == shard_names
    assert not (out / ".preparing").exists()


def test_raw_arrays_in_shards(source: Path, json_of_prepare, tmp_path: Path) -> None:
    small = ("--shards", "--size", 32, "--encoding", "raw", "--on-bad-image", "skip")
    result = json_of_prepare(source, tmp_path / "out", *small)
    assert [shard["file"] for shard in result["shards"]] == ["train-000000.tar", "val-000000.tar"]
    with tarfile.open(tmp_path / "out" / "val-000000.tar") as archive:
        name = next(name for name in archive.getnames() if name.endswith(".npy"))
        assert np.load(io.BytesIO(archive.extractfile(name).read())).shape == (32, 32, 3)


def test_a_wrong_size_and_other_options_are_refused(shards, source: Path, prepare, tmp_path: Path) -> None:
    wrong = prepare(source, tmp_path / "new", "--shards", "--shard-size", 0)
    assert (wrong.returncode, "'--shard-size': give" in wrong.stderr) == (2, True)
    other = prepare(source, shards[0], "--size", 300)
    assert other.returncode == 1
    assert "was prepared with --shard-size 1, not None" in other.stderr


def test_names_of_shards() -> None:
    assert is_shard("train-000001.tar")
    assert is_shard("all-3of12-000001.idx")
    assert not is_shard("train/000001.tar")
    assert not is_shard("notes.tar")
