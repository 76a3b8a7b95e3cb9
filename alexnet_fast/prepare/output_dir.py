"""The output folder of `prepare`: who may fill it, unfinished files in it, and its summary."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import hashlib
import io
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from alexnet_fast.data.class_map import SUMMARY, SUMMARY_FORMAT
from alexnet_fast.data.find_splits import UNFINISHED, first_few
from alexnet_fast.data.layouts.csv_lists import CATEGORIES
from alexnet_fast.data.splits import check_trainable
from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.color_stats import ColorSums
from alexnet_fast.prepare.partition import Partition
from alexnet_fast.prepare.shard_writer import is_shard
from alexnet_fast.scan.listing import list_files
from alexnet_fast.utils.atomic import disk_errors, lock_file, make_dir, write_atomically
from alexnet_fast.version import __version__


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """What one run made of a partition of a source.

    Args:
        options: The recipe, as plain values.
        source: Fingerprint of the list of all images.
        classes: Names of all classes, sorted.
        divided: Whether there are train/, val/ and test/.
        files: (name, SHA-256) of each prepared file, sorted.
        skipped: (source file, reason), sorted.
        colours: Sums over the training images; over all images if there is no train/.
        shards: (name, number of images) of each shard, sorted; empty without shards.
    """

    options: dict[str, Any]
    source: str
    classes: tuple[str, ...]
    divided: bool
    files: tuple[tuple[str, str], ...]
    skipped: tuple[tuple[str, str], ...]
    colours: ColorSums
    shards: tuple[tuple[str, int], ...] = ()

    def save(self) -> bytes:
        """Returns the record as JSON."""
        return _json(dataclasses.asdict(self))

    @classmethod
    def load(cls, path: Path) -> Record:
        """Reads what `save` wrote.

        Raises:
            UserError: The file is missing or is no record.
        """
        try:
            plain = json.loads(path.read_bytes())
            sums = plain.pop("colours")
            plain["colours"] = ColorSums(sums["pixels"], tuple(sums["totals"]), tuple(sums["products"]))
            for key in ("files", "skipped", "shards"):
                plain[key] = tuple((name, value) for name, value in plain[key])
            plain["classes"] = tuple(plain["classes"])
            return cls(**plain)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path} is not the record of a part ({error})", "prepare that part again"
            ) from error

    def summary(self) -> dict[str, Any]:
        """Returns the content of `prepared.json`."""
        mean, pca = self.colours.statistics()
        return {
            "format": SUMMARY_FORMAT,
            "version": __version__,
            "options": self.options,
            "images": len(self.files),
            "classes": list(self.classes),
            "counts": self._counts(),
            "statistics_of": "train" if self.divided else "all",
            "mean": mean,
            "pca": pca,
            "fingerprint": self._fingerprint(),
            "shards": [{"file": file, "images": images} for file, images in self.shards],
            "skipped": [{"file": file, "reason": reason} for file, reason in self.skipped],
        }

    def check_trainable(self, where: Path) -> None:
        """Checks that training would accept the folder; see `splits.check_trainable`.

        Raises:
            UserError: Training would refuse it.
        """
        counts = {"" if split == "all" else split: per_class for split, per_class in self._counts().items()}
        main = counts.get("train", counts.get("", {}))
        empty = [label for label in self.classes if not main.get(label)]
        if empty and self.skipped:
            raise UserError(
                f"{where} has no images of class {first_few(empty)}: all of them were left out",
                "add images that can be used, or remove the class from the source",
            )
        check_trainable(
            where,
            {split: {label: n for label, n in per_class.items() if n} for split, per_class in counts.items()},
        )

    def save_summary(self) -> bytes:
        """Returns `prepared.json`."""
        return _json(self.summary())

    def _counts(self) -> dict[str, dict[str, int]]:
        """Returns how many images each class has in each split."""
        paths = [name.split("/", 2) for name, _ in self.files]
        counts = Counter((path[0], path[1]) if self.divided else ("all", path[0]) for path in paths)
        return {
            split: {label: counts[split, label] for label in self.classes}
            for split in sorted({split for split, _ in counts})
        }

    def _fingerprint(self) -> str:
        """Returns a SHA-256 of names and contents."""
        digest = hashlib.sha256()
        for name, sha256 in self.files:
            digest.update(f"{sha256} {name}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()


def join_records(records: Sequence[Record]) -> Record:
    """Joins the records of all partitions; the order does not matter.

    Raises:
        UserError: They are not of one source.
    """
    first = records[0]
    if any((r.source, r.classes, r.options) != (first.source, first.classes, first.options) for r in records):
        raise UserError(
            "the parts were prepared from different lists of images",
            "prepare all parts from the same source",
        )
    return dataclasses.replace(
        first,
        files=tuple(sorted(file for record in records for file in record.files)),
        skipped=tuple(sorted(pair for record in records for pair in record.skipped)),
        shards=tuple(sorted(shard for record in records for shard in record.shards)),
        colours=sum((record.colours for record in records), ColorSums()),
    )


def _json(plain: dict[str, Any]) -> bytes:
    """Returns JSON whose bytes depend on the content alone; names that are not UTF-8 are escaped."""
    return (json.dumps(plain, indent=1) + "\n").encode("ascii")


_COLOURS = "rgb_val.json"
TABLES = (CATEGORIES, "train.csv", "val.csv", _COLOURS)


def write_tables(output: Path, unfinished: Path, record: Record) -> None:
    """Writes the CSVs of `--dataset-format caltech256`.

    Args:
        output: The folder of the prepared images.
        unfinished: A folder on the same disk, so that a kill leaves no half of a file in `output`.
        record: What was prepared.

    Raises:
        UserError: One cannot be written.
    """
    numbers = {label: number for number, label in enumerate(record.classes)}
    paths = [name.split("/", 2) for name, _ in record.files]
    contents = {CATEGORIES: _csv(("id", "label"), ((numbers[label], label) for label in record.classes))}
    for split in ("train", "val"):
        rows = [(f"{path[1]}/{path[2]}", numbers[path[1]]) for path in paths if path[0] == split]
        contents[f"{split}.csv"] = _csv(("image", "class"), rows)
    mean, _ = record.colours.statistics()
    contents[_COLOURS] = json.dumps(dict(zip("RGB", mean or (), strict=False))) + "\n"
    for name, content in contents.items():
        write_atomically(unfinished / name, content.encode("utf-8", "surrogateescape"))
        (unfinished / name).replace(output / name)


def _csv(columns: tuple[str, str], rows: Iterable[tuple[object, object]]) -> str:
    """Returns a table."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(columns)
    table.writerows(rows)
    return text.getvalue()


class OutputDir:
    """A folder of prepared images.

    Args:
        path: The folder; it need not be there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.unfinished = path / UNFINISHED

    def check_not_nested(self, source: Path) -> None:
        """Checks that neither source nor output lies in the other.

        Raises:
            UserError: One lies in the other.
        """
        # Not `Path.resolve`, which raises at a link to itself.
        here, there = Path(os.path.realpath(self.path)), Path(os.path.realpath(source))
        if here == there or there in here.parents:
            raise UserError(f"{self.path} lies in {source}", "give a folder outside the source", exit_code=2)
        if here in there.parents:
            raise UserError(f"{source} lies in {self.path}", "give another output folder", exit_code=2)

    @contextlib.contextmanager
    def begun(self, options: dict[str, Any], partition: Partition) -> Iterator[Path]:
        """Claims the folder, and yields a folder for unfinished files.

        Args:
            options: The options; a folder is filled with one set of them alone.
            partition: The work of this run; two runs may not do the same.

        Raises:
            UserError: prepare did not make the folder, other options filled it, or another run is filling it.
        """
        self._check_same_content(options)
        make_dir(self.unfinished)
        with self._locked(partition):
            try:
                write_atomically(self.unfinished / "options.json", json.dumps(options).encode("ascii"))
            except UserError:
                self._leave(partition)
                raise
            # From here on the folder is not whole, and must not look so.
            (self.path / SUMMARY).unlink(missing_ok=True)
            work = self.unfinished / f"work-{partition}"
            shutil.rmtree(work, ignore_errors=True)
            make_dir(work)
            yield work

    def check_no_strangers(self, expected: set[str]) -> None:
        """Checks that every file is one that this run makes: training would use any other.

        Args:
            expected: The files that it makes, without shards: their number is not known before.

        Raises:
            UserError: A file is not made by this run.
        """
        for name in list_files(self.path):
            if name not in expected and name != SUMMARY and not is_shard(name):
                raise UserError(
                    f"{self.path / name} is not made from an image of this source",
                    "remove it, or give another output folder",
                )

    def finish_partition(self, partition: Partition, record: Record) -> None:
        """Keeps the record of a partition until all are there."""
        write_atomically(self.unfinished / f"part-{partition}.json", record.save())
        shutil.rmtree(self.unfinished / f"work-{partition}", ignore_errors=True)
        shutil.rmtree(self.images(partition), ignore_errors=True)

    def images(self, partition: Partition) -> Path:
        """Returns where the images of a partition wait to be packed into shards."""
        return self.unfinished / f"images-{partition}"

    def finish(self, record: Record) -> None:
        """Declares the folder whole.

        The images reach the disk first, by one `sync` instead of one an image: after a power cut a folder
        that has a summary has its images.

        Raises:
            UserError: Training would refuse what is there, since images were left out.
        """
        record.check_trainable(self.path)
        if record.options.get("dataset_format") == "caltech256":
            write_tables(self.path, self.unfinished, record)
        os.sync()
        # By way of the folder that is removed, so that a kill leaves no unfinished file outside it.
        write_atomically(self.unfinished / SUMMARY, record.save_summary())
        (self.unfinished / SUMMARY).replace(self.path / SUMMARY)
        shutil.rmtree(self.unfinished, ignore_errors=True)

    def join(self) -> Record:
        """Joins the records of all partitions and declares the folder whole.

        Raises:
            UserError: A partition is missing; it is named.
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

    def _check_same_content(self, options: dict[str, Any]) -> None:
        """Checks that a folder holds nothing but what these options make."""
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
        """Returns the options that the folder was filled with; None if prepare did not fill it."""
        try:
            if (self.unfinished / "options.json").exists():
                options: dict[str, Any] = json.loads((self.unfinished / "options.json").read_bytes())
            else:
                options = json.loads((self.path / SUMMARY).read_bytes())["options"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return options

    def _leave(self, partition: Partition) -> None:
        """Takes away what `begun` has made: the folder may be a whole one, and nothing in it has changed."""
        with contextlib.suppress(OSError):
            (self.unfinished / f"lock-{partition}").unlink()
            # Stays where an earlier run or another partition has something in it.
            self.unfinished.rmdir()

    @contextlib.contextmanager
    def _locked(self, partition: Partition) -> Iterator[None]:
        """Keeps a second run from doing the same; the lock ends with the process, however that ends."""
        path = self.unfinished / f"lock-{partition}"
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
