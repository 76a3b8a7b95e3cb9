"""Which tars are shards, of which part, and what of them is read."""

from __future__ import annotations

import random
import tarfile
from pathlib import Path

import pytest

from alexnet_fast.data import open_data, open_split
from alexnet_fast.data.class_map import ClassMap
from alexnet_fast.data.shard_fields import LISTED
from alexnet_fast.data.webdataset import read_shard
from alexnet_fast.errors import UserError
from shard_files import JPEG, listed, samples, write_shard

LONG = "k" * 150


class TestWhichTars:
    """No tar of a folder is passed over."""

    @pytest.mark.parametrize(
        "name", ["train-0.tar.gz", "b.tgz", "c.tar.bz2", "d.txz", "e.tar.zst", "F.TAR.LZ4"]
    )
    def test_a_compressed_one_is_refused(self, tmp_path: Path, name: str) -> None:
        write_shard(tmp_path / "val-0.tar", samples())
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(
            UserError, match=f"{name} is compressed, .*; unpack it with .*, or let .* prepare read it"
        ):
            open_data(tmp_path)

    @pytest.mark.parametrize("below", ["", "train"])
    def test_compressed_ones_alone_are_refused(self, tmp_path: Path, below: str) -> None:
        (tmp_path / below).mkdir(exist_ok=True)
        for number in range(3):
            (tmp_path / below / f"train-{number}.tar.gz").touch()
        with pytest.raises(UserError, match=r"train-0.tar.gz \(and 2 more\) is compressed"):
            open_data(tmp_path)

    @pytest.mark.parametrize(
        ("train", "val"),
        [
            ("train-000", "val-000"),
            ("imagenet-TRAIN-000", "imagenet-Valid-000"),
            ("Training_0", "Validation_0"),
            ("x.train.0", "x.dev.0"),
        ],
    )
    def test_the_part_stands_in_the_name_in_any_case(self, tmp_path: Path, train: str, val: str) -> None:
        write_shard(tmp_path / f"{train}.tar", samples("01" * 3))
        write_shard(tmp_path / f"{val}.TAR", samples("01"))
        data = open_data(tmp_path)
        assert (len(data.train), len(data.val)) == (6, 2)

    def test_one_that_names_no_part_beside_others_that_do(self, tmp_path: Path) -> None:
        for name in ("train-0", "val-0", "extra-0"):
            write_shard(tmp_path / f"{name}.tar", samples())
        with pytest.raises(
            UserError, match="extra-0.tar stands beside train shards, val shards and names no split"
        ):
            open_data(tmp_path)

    def test_one_that_names_two_parts(self, tmp_path: Path) -> None:
        write_shard(tmp_path / "train-val-0.tar", samples())
        with pytest.raises(UserError, match="train-val-0.tar names several splits: train, val; rename it"):
            open_data(tmp_path)

    def test_validation_alone_is_no_training_set(self, tmp_path: Path) -> None:
        write_shard(tmp_path / "val-0.tar", samples())
        with pytest.raises(UserError, match="has val shards but no train shards"):
            open_data(tmp_path)
        assert len(open_split(tmp_path, "val", ClassMap(("0", "1")))) == 4

    def test_a_link_to_nowhere_is_refused(self, tmp_path: Path) -> None:
        write_shard(tmp_path / "a.tar", samples())
        (tmp_path / "b.tar").symlink_to("gone.tar")
        with pytest.raises(UserError, match="b.tar is no file; remove it, or restore what it is a link to"):
            open_data(tmp_path)

    @pytest.mark.parametrize(
        ("numbers", "missing"),
        [
            (("000", "001", "003"), "train-002.tar is missing: 3 of its row are there"),
            (("0", "3"), "train-1.tar and 1 more is missing"),
            (("00000-of-00003", "00002-of-00003"), "train-00001-of-00003.tar is missing"),
            (("00000-of-00003", "00001-of-00003"), "train-00002-of-00003.tar is missing"),
            (("1-of-2", "2-of-2"), None),
            (("000", "001", "002"), None),
            (("7", "8"), None),
            (("20240101", "20250101"), None),
        ],
    )
    def test_a_gap_in_the_numbers_is_said(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, numbers: tuple[str, ...], missing: str | None
    ) -> None:
        for place, number in enumerate(numbers):
            write_shard(tmp_path / f"train-{number}.tar", samples(first=10 * place))
        write_shard(tmp_path / "val-0.tar", samples())
        open_data(tmp_path)
        said = [line for line in caplog.messages if "missing" in line]
        assert said == [] if missing is None else len(said) == 1
        assert missing is None or said[0].startswith(missing)


class TestWholeTars:
    """A tar is read up to its end, or it is said."""

    @pytest.fixture
    def tar(self, tmp_path: Path) -> Path:
        return write_shard(tmp_path / "a.tar", samples("01" * 3), format=tarfile.USTAR_FORMAT)

    # A sample here is four blocks: a header and a block for the image (it has fewer bytes than two), and two
    # for the label.
    @pytest.mark.parametrize("size", [1, 511, 700, 512 * 5 + 100, 512 * 9 - 1])
    def test_one_that_was_cut_off_is_refused(self, tar: Path, size: int) -> None:
        tar.write_bytes(tar.read_bytes()[:size])
        with pytest.raises(UserError, match="a.tar .*(cut off|not an uncompressed tar)"):
            read_shard(tar, LISTED)

    def test_one_without_its_end_is_odd(self, tar: Path) -> None:
        with tarfile.open(tar) as archive:
            archive.getmembers()
            end = archive.offset
        tar.write_bytes(tar.read_bytes()[:end])
        found = read_shard(tar, LISTED)
        assert len(found.samples) == 6
        assert found.warnings == [f"{tar} has no mark at its end: it may have been cut off"]

    def test_a_damaged_header_in_the_middle_is_refused(self, tar: Path) -> None:
        """tarfile itself ends there in silence."""
        with tarfile.open(tar) as archive:
            third = archive.getmembers()[4].offset
        content = bytearray(tar.read_bytes())
        content[third : third + 100] = b"\xff" * 100
        tar.write_bytes(content)
        with pytest.raises(
            UserError, match=f"cut off, or is damaged, at byte {third}: no member begins there"
        ):
            read_shard(tar, LISTED)

    def test_two_behind_each_other_are_refused(self, tar: Path, tmp_path: Path) -> None:
        second = write_shard(tmp_path / "b.tar", samples("01", first=50))
        tar.write_bytes(tar.read_bytes() + second.read_bytes())
        with pytest.raises(UserError, match="several tars behind each other: only the first would be read"):
            read_shard(tar, LISTED)

    def test_other_bytes_behind_the_end_are_odd(self, tar: Path) -> None:
        tar.write_bytes(tar.read_bytes() + b"signed by me")
        assert "bytes behind its end" in read_shard(tar, LISTED).warnings[0]

    @pytest.mark.parametrize("content", [b"", b"no tar at all" * 100, b"\x1f\x8b\x08" + bytes(600)])
    def test_what_is_no_tar_is_refused(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "a.tar").write_bytes(content)
        with pytest.raises(UserError, match="a.tar is not an uncompressed tar"):
            read_shard(tmp_path / "a.tar", LISTED)

    def test_an_empty_one_holds_no_sample(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="the tars in .* hold no sample; a sample is"):
            listed(tmp_path, [])

    def test_whatever_is_changed_in_one_it_is_read_or_refused(self, tmp_path: Path) -> None:
        """No traceback and no endless loop, with headers whose checksums fit again."""
        rng = random.Random(14)
        for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
            members = [*samples(), (f"{LONG}.jpg", JPEG), (f"{LONG}.cls", b"1")]
            whole = write_shard(tmp_path / "whole.tar", members, format=form).read_bytes()
            for _ in range(60):
                content = bytearray(whole)
                for _ in range(rng.choice((1, 3, 20))):
                    # Size, checksum, kind, name of a link, mark, or any other byte.
                    at = rng.randrange(len(content) // 512) * 512 + rng.choice(
                        (0, 124, 130, 156, 157, 257, 400)
                    )
                    content[at] = rng.choice(b"0123457 \0-\x80\xffLKxgSD")
                (tmp_path / "a.tar").write_bytes(with_checksums(content))
                try:
                    found = read_shard(tmp_path / "a.tar", LISTED)
                except UserError:
                    continue
                with tarfile.open(tmp_path / "a.tar") as archive:
                    assert found.members == len(archive.getmembers())


def with_checksums(content: bytearray) -> bytes:
    """Returns a tar whose headers have the sums of their bytes (POSIX.1-1988, ustar)."""
    for at in range(0, len(content) - 511, 512):
        if content[at + 257 : at + 262] == b"ustar":
            total = sum(content[at : at + 148]) + 8 * ord(" ") + sum(content[at + 156 : at + 512])
            content[at + 148 : at + 156] = b"%06o\0 " % total
    return bytes(content)
