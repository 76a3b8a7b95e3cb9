"""Runs `prepare`: list the source, make the images, sum their colours, write the summary."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from alexnet_fast.data.class_map import SUMMARY
from alexnet_fast.data.entries import Ignored
from alexnet_fast.data.layouts.detect import DatasetFormat
from alexnet_fast.data.splits import check_trainable
from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.color_stats import ColorSums
from alexnet_fast.pipelines.loader import BadImages, Policy
from alexnet_fast.prepare.output_dir import TABLES, OutputDir, Record
from alexnet_fast.prepare.partition import Partition
from alexnet_fast.prepare.shard_writer import make_sample, write_shards
from alexnet_fast.prepare.sources import MOST_UNPACKED, SourceList, open_source
from alexnet_fast.prepare.transform import ImageWorker, ResizeConfig, Task
from alexnet_fast.scan.worker_pool import TaskFailed, run_tasks


def output_names(names: Sequence[str], suffix: str) -> list[str]:
    """Returns a distinct name for each image: its own, with `suffix` as its extension.

    If images differ in nothing but their extensions, one that has `suffix` already keeps its name and the
    others keep their extensions inside: a.jpg and a.png become a.jpg and a.png.jpg. The names depend on the
    list alone.

    Args:
        names: Distinct paths, sorted.
        suffix: With its dot.
    """
    plain = [str(PurePosixPath(name).with_suffix(suffix)) for name in names]
    count = Counter(plain)
    used = {new for name, new in zip(names, plain, strict=True) if count[new] == 1 or name == new}
    chosen = []
    for name, new in zip(names, plain, strict=True):
        if count[new] == 1 or name == new:
            chosen.append(new)
            continue
        chosen.append(_free(name, suffix, used))
        used.add(chosen[-1])
    return chosen


def _free(name: str, suffix: str, used: set[str]) -> str:
    """Returns the first of name.jpg, name-2.jpg, name-3.jpg ... that no other has."""
    new, number = f"{name}{suffix}", 1
    while new in used:
        number += 1
        new = f"{name}-{number}{suffix}"
    return new


_log = logging.getLogger("alexnet_fast")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """Options of `prepare`.

    Args:
        source: Folder, CSV, tar or zip.
        dataset_format: Its format, as far as the user gave it.
        output: The folder that is filled.
        recipe: How each image is made.
        partition: The partition of the work that this run does.
        val_fraction: Fraction of an undivided source that goes to val/; None leaves it undivided.
        shard_mib: Maximum MiB of a WebDataset shard; None for files in class folders.
        workers: Number of processes.
        seconds: Maximum seconds for one image.
        on_bad_image: What to do about an image that cannot be used.
        most_unpacked: Maximum bytes in a compressed tar.

    Raises:
        UserError: `workers` or `shard_mib` is out of range.
    """

    source: Path
    output: Path
    dataset_format: DatasetFormat = dataclasses.field(default_factory=DatasetFormat)
    recipe: ResizeConfig = dataclasses.field(default_factory=ResizeConfig)
    partition: Partition = dataclasses.field(default_factory=Partition)
    val_fraction: float | None = None
    shard_mib: int | None = None
    workers: int = 1
    seconds: float = 60.0
    on_bad_image: Policy = "fail"
    most_unpacked: int = MOST_UNPACKED

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise UserError(
                f"--workers {self.workers} is not a number of processes", "give 1 or more", exit_code=2
            )
        if self.shard_mib is not None and self.shard_mib < 1:
            raise UserError(f"--shard-size {self.shard_mib} is not a size", "give 1 MiB or more", exit_code=2)
        if self.val_fraction is not None and not 0 < self.val_fraction < 1:
            raise UserError(f"--val-fraction {self.val_fraction:g} must lie between 0 and 1", exit_code=2)
        if self.has_tables and (self.shard_mib is not None or self.recipe.encoding != "jpeg"):
            raise UserError(
                "--dataset-format caltech256 writes CSVs of JPEG files",
                "leave out --shards and --encoding, or prepare the class folders: --dataset-format folders",
                exit_code=2,
            )

    @property
    def has_tables(self) -> bool:
        """Whether train.csv, val.csv, categories.csv and the colours are written too."""
        return self.dataset_format.kind == "caltech256"

    def options(self) -> dict[str, Any]:
        """Returns the options that the written bytes depend on."""
        return {
            **self.recipe.to_dict(),
            "shard-size": self.shard_mib,
            "val-fraction": self.val_fraction,
            "dataset_format": self.dataset_format.kind if self.has_tables else None,
        }


class Preparation:
    """A source that has been listed, ready to be prepared.

    Raises:
        UserError: Source or output cannot be used.
    """

    def __init__(self, config: PrepareConfig) -> None:
        self.config = config
        self.directory = OutputDir(config.output)
        self.directory.check_not_nested(config.source)
        self.ignored = Ignored()
        self.source: SourceList = _open(config, self.ignored)
        check_trainable(config.source, self.source.counts())
        if self.ignored.summary():
            summary = self.ignored.summary()
            _log.warning("ignored in %s: %s; alexnet-fast scan names each", config.source, summary)
        names = [image.name for image in self.source.images]
        self.targets = output_names(names, config.recipe.suffix)
        self.mine = [number for number, name in enumerate(names) if config.partition.has(name)]
        self.divided = self.source.divided
        self.root = config.output if config.shard_mib is None else self.directory.images(config.partition)

    def __len__(self) -> int:
        return len(self.mine)

    def run(self, on_progress: Callable[[], None] = lambda: None) -> dict[str, Any]:
        """Prepares every image of this partition; what an earlier run has finished is kept.

        Args:
            on_progress: Called after each image.

        Returns:
            The content of `prepared.json`, for this partition, and that file's path (None before parts join).

        Raises:
            UserError: An image cannot be used (policy "fail"), or the folder cannot be filled.
        """
        config = self.config
        with self.directory.begun(config.options(), config.partition) as work:
            tables = set(TABLES) if config.has_tables else set()
            targets = set(self.targets) if config.shard_mib is None else set()
            self.directory.check_no_strangers(tables | targets)
            record = self._make_all(ImageWorker(config.recipe, str(work)), on_progress)
            if config.shard_mib is not None:
                record = self._pack(record, config.shard_mib, work)
            if config.partition.whole:
                self.directory.finish(record)
            else:
                self.directory.finish_partition(config.partition, record)
        done = config.output / SUMMARY if config.partition.whole else None
        ignored = {"ignored": dict(self.ignored.counts.most_common())}
        return {**record.summary(), **ignored, "prepared": done}

    def _make_all(self, worker: ImageWorker, on_progress: Callable[[], None]) -> Record:
        """Makes the images and records them."""
        bad = BadImages(self.config.on_bad_image)
        colours, files, skipped = ColorSums(), [], []
        for task, made in run_tasks(
            worker, self._tasks(), workers=self.config.workers, seconds=self.config.seconds
        ):
            image, target = self.source.images[task.number], self.targets[task.number]
            if isinstance(made, TaskFailed):
                bad.report(image.name, made.reason)
                skipped.append((image.name, made.reason))
                # An earlier run may have made it, when the source was still good.
                (self.root / target).unlink(missing_ok=True)
            else:
                files.append((target, made.sha256))
                if image.split == "train" or not self.divided:
                    colours += made.colours
            on_progress()
        return Record(
            options=self.config.options(),
            source=self.source.fingerprint(),
            classes=self.source.classes.names,
            divided=self.divided,
            files=tuple(sorted(files)),
            skipped=tuple(sorted(skipped)),
            colours=colours,
        )

    def _pack(self, record: Record, mebibytes: int, work: Path) -> Record:
        """Packs the prepared files into shards."""
        made = {name for name, _ in record.files}
        labels = {label: index for index, label in enumerate(record.classes)}
        samples = [
            make_sample(number, image.name, image.split, labels[image.label], target, self.root / target)
            for number, (image, target) in enumerate(zip(self.source.images, self.targets, strict=True))
            if target in made
        ]
        shards = write_shards(
            samples, self.config.output, work, mebibytes=mebibytes, partition=self.config.partition
        )
        return dataclasses.replace(record, shards=shards)

    def _tasks(self) -> list[Task]:
        """Returns the tasks of the workers."""
        return [
            Task(self.source.images[number].location, f"{self.root}/{self.targets[number]}", number)
            for number in self.mine
        ]


def _open(config: PrepareConfig, ignored: Ignored) -> SourceList:
    """Lists the source, divided where it is to be.

    Raises:
        UserError: The source cannot be used, or is divided already.
    """
    source = open_source(
        config.source, config.dataset_format, ignored=ignored, most_unpacked=config.most_unpacked
    )
    if config.val_fraction is None:
        return source
    if source.divided:
        raise UserError(
            f"{config.source} is divided into splits already", "leave out --val-fraction", exit_code=2
        )
    return source.divide(config.val_fraction)


def join(output: Path) -> dict[str, Any]:
    """Joins the parts of a job array; returns the content of `prepared.json`, and its path.

    Raises:
        UserError: A part is missing.
    """
    return {**OutputDir(output).join().summary(), "ignored": {}, "prepared": output / SUMMARY}
