"""Links, devices, pipes and sockets are written to or refused, never replaced; and read without waiting."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from alexnet_fast.data.exclude import ExcludeList
from alexnet_fast.errors import UserError
from alexnet_fast.training.checkpoint.format import load_tensors
from alexnet_fast.training.log import logging_to_file
from alexnet_fast.training.metrics_log import read_metrics
from alexnet_fast.training.run_dir import open_locked
from alexnet_fast.utils import special_files
from alexnet_fast.utils.atomic import atomic_file, check_writable, link_atomically, write_atomically
from alexnet_fast.utils.special_files import read_given
from alexnet_fast.utils.toml import read_toml
from alexnet_fast.weights.caffe import read_caffe_model
from alexnet_fast.weights.npy import read_arrays


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(special_files, "_SECONDS_FOR_THE_OTHER_END", 0.2)


def names_in(directory: Path) -> set[str]:
    return {entry.name for entry in directory.iterdir()}


class TestWriting:
    @pytest.mark.parametrize("to", ["real.txt", "other/real.txt", "../{here}/real.txt", "ABSOLUTE"])
    def test_a_link_stays_and_its_target_is_written(self, tmp_path: Path, to: str) -> None:
        (tmp_path / "other").mkdir()
        target = tmp_path / "real.txt" if to == "ABSOLUTE" else tmp_path / to.format(here=tmp_path.name)
        target.write_text("old")
        (tmp_path / "link").symlink_to(target if to == "ABSOLUTE" else to.format(here=tmp_path.name))
        before = names_in(tmp_path)
        write_atomically(tmp_path / "link", b"new")
        assert (tmp_path / "link").is_symlink()
        assert target.read_text() == "new"
        assert not target.is_symlink()
        assert names_in(tmp_path) == before

    def test_links_to_links_and_dangling_ones_lead_to_the_place_that_they_name(self, tmp_path: Path) -> None:
        (tmp_path / "first").symlink_to("second")
        (tmp_path / "second").symlink_to("third")
        write_atomically(tmp_path / "first", b"new")
        assert not (tmp_path / "third").is_symlink()
        assert (tmp_path / "third").read_bytes() == b"new"
        assert (tmp_path / "first").is_symlink()
        assert (tmp_path / "second").is_symlink()

    @pytest.mark.parametrize("kind", ["folder", "socket", "link to itself", "read-only", "link to read-only"])
    def test_what_must_not_be_written_is_refused_and_stays(self, tmp_path: Path, kind: str) -> None:
        path, listening = tmp_path / "it", socket.socket(socket.AF_UNIX)
        if kind == "folder":
            path.mkdir()
        elif kind == "socket":
            listening.bind(str(path))
        elif kind == "link to itself":
            path.symlink_to("it")
        else:
            real = tmp_path / "real" if "link" in kind else path
            real.write_bytes(b"old")
            real.chmod(0o444)
            if real != path:
                path.symlink_to(real)
        before, mode = names_in(tmp_path), path.lstat().st_mode
        for write in (check_writable, lambda place: write_atomically(place, b"new")):
            with pytest.raises(UserError, match=f"cannot write {path}"):
                write(path)
        listening.close()
        assert names_in(tmp_path) == before
        assert path.lstat().st_mode == mode
        assert not path.is_file() or path.read_bytes() == b"old"

    def test_a_pipe_is_written_to(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        read: list[bytes] = []
        reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()))
        reader.start()
        with atomic_file(tmp_path / "pipe") as file:
            # Also what seeks, as an archive does.
            np.savez(file, numbers=np.arange(100_000))
        reader.join(10)
        assert read[0][:2] == b"PK"
        assert len(read[0]) > 100_000 * 8
        assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)

    def test_a_pipe_that_nobody_reads_is_refused(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(UserError, match="nobody reads from it"):
            write_atomically(tmp_path / "pipe", b"new")

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a device")
    def test_a_device_is_written_to_by_root_too(self, tmp_path: Path) -> None:
        os.mknod(tmp_path / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        os.mknod(tmp_path / "full", 0o666 | stat.S_IFCHR, os.makedev(1, 7))
        os.mknod(tmp_path / "disk", 0o600 | stat.S_IFBLK, os.makedev(7, 200))
        write_atomically(tmp_path / "null", b"new")
        with pytest.raises(UserError, match="no space left"):
            write_atomically(tmp_path / "full", b"new")
        with pytest.raises(UserError, match="it is a block device"):
            write_atomically(tmp_path / "disk", b"new")
        assert stat.S_ISCHR((tmp_path / "null").stat().st_mode)
        assert names_in(tmp_path) == {"null", "full", "disk"}

    @pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "LINK"])
    def test_an_open_file_gets_it_where_it_stands(self, tmp_path: Path, name: str) -> None:
        """A redirected stdout is a plain file: replaced, what is printed next would be lost."""
        (tmp_path / "link").symlink_to("/dev/stdout")
        name = str(tmp_path / "link") if name == "LINK" else name
        code = (
            "from pathlib import Path; from alexnet_fast.utils.atomic import write_atomically; import sys\n"
            "print('before')\n"
            "write_atomically(Path(sys.argv[1]), b'list\\n'); print('after')"
        )
        with (tmp_path / "out").open("wb") as out:
            subprocess.run([sys.executable, "-c", code, name], stdout=out, check=True, timeout=60)
        assert (tmp_path / "out").read_text() == "before\nlist\nafter\n"

    def test_the_mode_stays_and_a_new_file_has_the_usual_one(self, tmp_path: Path) -> None:
        (tmp_path / "old").write_bytes(b"old")
        (tmp_path / "old").chmod(0o640)
        write_atomically(tmp_path / "old", b"new")
        write_atomically(tmp_path / "new", b"new")
        (tmp_path / "usual").touch()
        assert stat.S_IMODE((tmp_path / "old").stat().st_mode) == 0o640
        assert (tmp_path / "new").stat().st_mode == (tmp_path / "usual").stat().st_mode

    @pytest.mark.parametrize("length", [1, 200, 255])
    def test_a_name_may_have_the_greatest_length(self, tmp_path: Path, length: int) -> None:
        name = "é" * (length // 2) + "x" * (length % 2)
        write_atomically(tmp_path / name, b"new")
        assert (tmp_path / name).read_bytes() == b"new"

    def test_a_hard_link_goes_where_a_link_leads_and_leaves_nothing_else(self, tmp_path: Path) -> None:
        (tmp_path / "epoch").write_bytes(b"new")
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "last").symlink_to("elsewhere/last")
        for _ in range(2):
            link_atomically(tmp_path / "epoch", tmp_path / "last")
        assert (tmp_path / "last").is_symlink()
        assert names_in(tmp_path / "elsewhere") == {"last"}
        assert (tmp_path / "elsewhere/last").samefile(tmp_path / "epoch")

    def test_the_folder_is_looked_at_before_long_work(self, tmp_path: Path) -> None:
        check_writable(tmp_path / "new")
        with pytest.raises(UserError, match="there is no such folder"):
            check_writable(tmp_path / "none" / "new")
        assert names_in(tmp_path) == set()


class TestReading:
    @pytest.mark.parametrize(
        "read",
        [read_toml, ExcludeList.load, load_tensors, read_caffe_model, read_arrays],
        ids=lambda read: read.__name__,
    )
    @pytest.mark.parametrize("kind", ["pipe", "socket", "folder", "/dev/zero", "sparse"])
    def test_what_is_no_file_ends_in_a_sentence(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read, kind: str
    ) -> None:
        monkeypatch.setattr(special_files, "_MOST_FROM_A_STREAM", 3 << 20)
        path, listening = tmp_path / "it", socket.socket(socket.AF_UNIX)
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "socket":
            listening.bind(str(path))
        elif kind == "folder":
            path.mkdir()
        elif kind == "sparse":
            path.touch()
            os.truncate(path, 1 << 43)
        else:
            path.symlink_to(kind)
        with pytest.raises(UserError, match=str(path)):
            read(path)
        listening.close()

    @pytest.mark.parametrize("kind", ["pipe", "/dev/zero"])
    def test_the_files_of_a_run_are_no_pipes(self, tmp_path: Path, kind: str) -> None:
        path = tmp_path / "it"
        os.mkfifo(path) if kind == "pipe" else path.symlink_to(kind)
        with pytest.raises(UserError, match=str(path)), logging_to_file(path):
            pass
        for read in (read_metrics, open_locked):
            with pytest.raises(UserError, match=str(path)):
                read(path)

    def test_process_substitution_is_read_however_slow(self, tmp_path: Path) -> None:
        code = (
            "from pathlib import Path; from alexnet_fast.data.exclude import ExcludeList; import sys\n"
            "from alexnet_fast.utils import special_files; special_files._SECONDS_FOR_THE_OTHER_END = 0.2\n"
            "print(sorted(ExcludeList.load(Path(sys.argv[1])).names))"
        )
        script = '"$0" -c "$1" <(sleep 1; echo a.jpg; sleep 0.3; echo b.jpg)'
        done = subprocess.run(
            ["bash", "-c", script, sys.executable, code],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.stdout == "['a.jpg', 'b.jpg']\n", done.stderr

    def test_a_pipe_with_a_writer_is_read(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        content = b"x" * 300_000
        threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(content), daemon=True).start()
        assert read_given(tmp_path / "pipe") == content

    def test_a_null_device_is_an_empty_list(self) -> None:
        assert ExcludeList.load(Path("/dev/null")).names == frozenset()
        assert read_toml(Path("/dev/null")) == {}

    def test_files_without_a_size_have_content(self) -> None:
        assert b"Name:" in read_given(Path("/proc/self/status"))
