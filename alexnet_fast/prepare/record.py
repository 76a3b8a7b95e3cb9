"""What a run, or one share of it, has done; and the summary that they join to."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alexnet_fast import __version__
from alexnet_fast.data.parts import some
from alexnet_fast.data.splits import refuse_untrainable
from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.colours import ColourSums


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """What was made of a share of a source.

    Args:
        options: The recipe, as plain values.
        source: Fingerprint of the list of all images.
        classes: Names of all classes, sorted.
        divided: Whether there are train/, val/ and test/.
        files: (name, SHA-256) of each prepared file, sorted.
        skipped: (source file, reason), sorted.
        colours: Sums over the training images; over all where there is no train/.
        shards: (name, number of images) of each shard, sorted; empty where the files stand by themselves.
    """

    options: dict[str, Any]
    source: str
    classes: tuple[str, ...]
    divided: bool
    files: tuple[tuple[str, str], ...]
    skipped: tuple[tuple[str, str], ...]
    colours: ColourSums
    shards: tuple[tuple[str, int], ...] = ()

    def save(self) -> bytes:
        """Returns the record as JSON."""
        return _json(dataclasses.asdict(self))

    @classmethod
    def load(cls, path: Path) -> Record:
        """Reads what `save` wrote.

        Raises:
            UserError: It is not there or is something else.
        """
        try:
            plain = json.loads(path.read_bytes())
            sums = plain.pop("colours")
            plain["colours"] = ColourSums(sums["pixels"], tuple(sums["totals"]), tuple(sums["products"]))
            for key in ("files", "skipped", "shards"):
                plain[key] = tuple((name, value) for name, value in plain[key])
            plain["classes"] = tuple(plain["classes"])
            return cls(**plain)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path} is not the record of a part ({error})", "prepare that part again"
            ) from error

    def summary(self) -> dict[str, Any]:
        """Returns what stands in `prepared.json`."""
        mean, pca = self.colours.statistics()
        return {
            "format": 1,
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

    def refuse_untrainable(self, where: Path) -> None:
        """Refuses a folder that training would refuse; see `splits.refuse_untrainable`.

        Raises:
            UserError: It is so.
        """
        counts = {"" if part == "all" else part: found for part, found in self._counts().items()}
        main = counts.get("train", counts.get("", {}))
        empty = [label for label in self.classes if not main.get(label)]
        if empty and self.skipped:
            raise UserError(
                f"{where} has no images of class {some(empty)}: all of them were left out",
                "add images that can be used, or remove the class from the source",
            )
        refuse_untrainable(
            where,
            {part: {label: n for label, n in found.items() if n} for part, found in counts.items()},
        )

    def save_summary(self) -> bytes:
        """Returns `prepared.json`."""
        return _json(self.summary())

    def _counts(self) -> dict[str, dict[str, int]]:
        """Returns how many images each class has in each part."""
        split = [name.split("/", 2) for name, _ in self.files]
        counts = Counter((words[0], words[1]) if self.divided else ("all", words[0]) for words in split)
        return {
            part: {label: counts[part, label] for label in self.classes}
            for part in sorted({part for part, _ in counts})
        }

    def _fingerprint(self) -> str:
        """Returns a SHA-256 over names and contents."""
        digest = hashlib.sha256()
        for name, sha256 in self.files:
            digest.update(f"{sha256} {name}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()


def join_records(records: Sequence[Record]) -> Record:
    """Joins the records of all shares; the order does not matter.

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
        colours=sum((record.colours for record in records), ColourSums()),
    )


def _json(plain: dict[str, Any]) -> bytes:
    """Returns JSON whose bytes depend on the content alone; names that are not UTF-8 are escaped."""
    return (json.dumps(plain, indent=1) + "\n").encode("ascii")
