"""The folder that is filled: whose it is, what is unfinished in it, and when it is whole."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alexnet_fast.data.parts import UNFINISHED
from alexnet_fast.data.prepared_classes import SUMMARY
from alexnet_fast.errors import UserError
from alexnet_fast.prepare.partition import Partition
from alexnet_fast.prepare.record import Record, join_records
from alexnet_fast.prepare.shard_writer import is_shard
from alexnet_fast.prepare.tables import write_tables
from alexnet_fast.scan.listing import list_files
from alexnet_fast.utils.atomic import disk_errors, lock_file, make_folder, write_atomically


class OutputFolder:
    """A folder of prepared images.

    Args:
        path: The folder; it need not be there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.unfinished = path / UNFINISHED

    def refuse_nesting(self, source: Path) -> None:
        """Refuses an output inside its source and a source inside its output.

        Raises:
            UserError: It is so.
        """
        # Not `Path.resolve`, which raises at a link to itself.
        here, there = Path(os.path.realpath(self.path)), Path(os.path.realpath(source))
        if here == there or there in here.parents:
            raise UserError(f"{self.path} lies in {source}", "give a folder outside the source", exit_code=2)
        if here in there.parents:
            raise UserError(f"{source} lies in {self.path}", "give another output folder", exit_code=2)

    @contextlib.contextmanager
    def begun(self, options: dict[str, Any], share: Partition) -> Iterator[Path]:
        """Takes possession of the folder, and yields a folder for unfinished files.

        Args:
            options: The recipe; a folder is filled by one alone.
            share: The work of this run; two runs may not do the same.

        Raises:
            UserError: The folder is not ours, was filled with other options or is being filled.
        """
        self._refuse_other_content(options)
        make_folder(self.unfinished)
        with self._locked(share):
            try:
                write_atomically(self.unfinished / "options.json", json.dumps(options).encode("ascii"))
            except UserError:
                self._leave(share)
                raise
            # From here on the folder is not whole, and must not look so.
            (self.path / SUMMARY).unlink(missing_ok=True)
            work = self.unfinished / f"work-{share}"
            shutil.rmtree(work, ignore_errors=True)
            make_folder(work)
            yield work

    def refuse_strangers(self, expected: set[str]) -> None:
        """Refuses files that this work would not make: training would use them.

        Args:
            expected: The files that it makes, without shards: their number is not known before.

        Raises:
            UserError: There is one.
        """
        for name in list_files(self.path):
            if name not in expected and name != SUMMARY and not is_shard(name):
                raise UserError(
                    f"{self.path / name} is not made from an image of this source",
                    "remove it, or give another output folder",
                )

    def finish_share(self, share: Partition, record: Record) -> None:
        """Keeps the record of a share until all are there."""
        write_atomically(self.unfinished / f"part-{share}.json", record.save())
        shutil.rmtree(self.unfinished / f"work-{share}", ignore_errors=True)
        shutil.rmtree(self.images(share), ignore_errors=True)

    def images(self, share: Partition) -> Path:
        """Returns where the images of a share wait to be packed into shards."""
        return self.unfinished / f"images-{share}"

    def finish(self, record: Record) -> None:
        """Declares the folder whole.

        The images reach the disk first, by one `sync` instead of one an image: after a power cut a folder
        that has a summary has its images.

        Raises:
            UserError: Training would refuse what is there, since images were left out.
        """
        record.refuse_untrainable(self.path)
        if record.options.get("layout") == "caltech256":
            write_tables(self.path, self.unfinished, record)
        os.sync()
        # By way of the folder that is removed, so that a kill leaves no unfinished file outside it.
        write_atomically(self.unfinished / SUMMARY, record.save_summary())
        (self.unfinished / SUMMARY).replace(self.path / SUMMARY)
        shutil.rmtree(self.unfinished, ignore_errors=True)

    def join(self) -> Record:
        """Joins the records of all shares and declares the folder whole.

        Raises:
            UserError: A share is missing; it is named.
        """
        found = sorted(self.unfinished.glob("part-*-of-*.json")) if self.unfinished.is_dir() else []
        if not found:
            raise UserError(f"{self.path} holds no parts to join", "run prepare SRC OUT --part I/N first")
        counts = {int(_number(file, "of-")) for file in found}
        if len(counts) > 1:
            these = " and ".join(map(str, sorted(counts)))
            raise UserError(f"{self.path} holds parts of {these}", "prepare all parts with one N")
        count = counts.pop()
        missing = sorted(set(range(1, count + 1)) - {int(_number(file, "part-")) for file in found})
        if missing:
            names = " ".join(f"{index}/{count}" for index in missing)
            raise UserError(f"{self.path} lacks --part {names}", "prepare what is missing, then join")
        record = join_records([Record.load(file) for file in found])
        for name, _ in record.shards or record.files:
            if not (self.path / name).is_file():
                raise UserError(f"{self.path / name} has gone", "prepare its part again")
        self.finish(record)
        return record

    def _refuse_other_content(self, options: dict[str, Any]) -> None:
        """Refuses a folder that holds something else than what these options make."""
        try:
            entries = {entry.name for entry in self.path.iterdir()} if self.path.exists() else set()
        except NotADirectoryError as error:
            raise UserError(f"{self.path} is a file", "give another output folder", exit_code=2) from error
        if entries <= {UNFINISHED} and not (self.unfinished / "options.json").exists():
            return
        before = self._options()
        if before is None:
            raise UserError(
                f"{self.path} holds something that prepare did not make", "give a new or empty folder"
            )
        for key, value in options.items():
            if before.get(key) != value:
                raise UserError(
                    f"{self.path} was prepared with --{key} {before.get(key)}, not {value}",
                    "give the same options, or another output folder",
                )

    def _options(self) -> dict[str, Any] | None:
        """Returns what the folder was filled with; None where it was not by us."""
        try:
            if (self.unfinished / "options.json").exists():
                options: dict[str, Any] = json.loads((self.unfinished / "options.json").read_bytes())
            else:
                options = json.loads((self.path / SUMMARY).read_bytes())["options"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return options

    def _leave(self, share: Partition) -> None:
        """Takes away what `begun` has made: the folder may be a whole one, and nothing in it has changed."""
        with contextlib.suppress(OSError):
            (self.unfinished / f"lock-{share}").unlink()
            # Stays where an earlier run or another share has something in it.
            self.unfinished.rmdir()

    @contextlib.contextmanager
    def _locked(self, share: Partition) -> Iterator[None]:
        """Keeps a second run from doing the same; the lock ends with the process, however that ends."""
        path = self.unfinished / f"lock-{share}"
        with disk_errors(path), path.open("w") as file:
            try:
                # Where there are no locks two runs would only do the work twice.
                lock_file(file, wait=False)
            except BlockingIOError as error:
                raise UserError(f"{self.path} is being filled by another run", "wait for its end") from error
            yield


def _number(file: Path, after: str) -> str:
    """Returns the number behind a word in a file's name."""
    match = re.search(rf"{after}(\d+)", file.name)
    return match.group(1) if match else "0"
