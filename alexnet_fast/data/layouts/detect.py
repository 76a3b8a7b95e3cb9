"""Which layout a folder has."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from alexnet_fast.data.layouts.base import Layout
from alexnet_fast.data.layouts.caltech256 import caltech256
from alexnet_fast.data.layouts.csv_lists import csv_lists, is_csv_lists
from alexnet_fast.data.layouts.imagenet import ilsvrc2012, is_ilsvrc2012
from alexnet_fast.data.layouts.json_labels import LabelFiles, find_label_files, json_labels
from alexnet_fast.data.layouts.tiny_imagenet import is_tiny_imagenet, tiny_imagenet
from alexnet_fast.data.shard_fields import DEFAULT_FIELDS, ShardFields
from alexnet_fast.errors import UserError

Kind = Literal["folders", "json", "csv", "tiny-imagenet", "ilsvrc2012", "caltech256"]
KINDS: tuple[Kind, ...] = ("folders", "json", "csv", "tiny-imagenet", "ilsvrc2012", "caltech256")

# Not Caltech-256: its folders are class folders, and only who asks for it wants other names and a split.
_RECOGNISED: tuple[tuple[Callable[[Path], bool], Callable[[Path], Layout]], ...] = (
    (is_csv_lists, csv_lists),
    (is_tiny_imagenet, tiny_imagenet),
    (is_ilsvrc2012, ilsvrc2012),
)
_READ: dict[str, Callable[[Path], Layout]] = {
    "csv": csv_lists,
    "tiny-imagenet": tiny_imagenet,
    "ilsvrc2012": ilsvrc2012,
    "caltech256": caltech256,
}


@dataclasses.dataclass(frozen=True)
class DatasetFormat:
    """How a folder is to be read.

    Args:
        kind: Its layout; None to look.
        label_files: Those of the layout "json", where they stand elsewhere.
        fields: Of WebDataset tars: which fields are a sample's image and label.
    """

    kind: Kind | None = None
    label_files: LabelFiles | None = None
    fields: ShardFields = DEFAULT_FIELDS

    @classmethod
    def from_options(
        cls,
        layout: str | None,
        labels: Path | None,
        label_encoding: Path | None,
        image_key: str | None = None,
        label_key: str | None = None,
    ) -> DatasetFormat:
        """Makes one of what the command line says.

        Raises:
            UserError: The options contradict each other.
        """
        if layout is not None and layout not in KINDS:
            raise UserError(
                f"--dataset-format {layout} is not known", f"choose from {', '.join(KINDS)}", exit_code=2
            )
        if (labels is None) != (label_encoding is None):
            raise UserError(
                "--labels and --label-encoding belong together",
                "give the JSON of image id -> label and the one of label -> index",
                exit_code=2,
            )
        if labels is None or label_encoding is None:
            fields = ShardFields.from_options(image_key, label_key)
            return cls(kind=next((kind for kind in KINDS if kind == layout), None), fields=fields)
        if layout not in (None, "json"):
            raise UserError(
                f"--labels belongs to --dataset-format json, not {layout}", "leave one out", exit_code=2
            )
        return cls(kind="json", label_files=LabelFiles(labels, label_encoding))


def find_layout(root: Path, dataset_format: DatasetFormat) -> Layout | None:
    """Reads a folder in the layout that it has, or that it is said to have.

    Args:
        root: The folder.
        dataset_format: Its format, as far as the user gave it.

    Returns:
        The layout; None for class folders and tars, which say everything themselves.

    Raises:
        UserError: A file of the layout is missing or wrong.
    """
    kind = dataset_format.kind
    if kind == "folders":
        return None
    if kind == "json":
        files = dataset_format.label_files or find_label_files(root)
        if files is None:
            raise UserError(
                f"{root} does not hold one JSON of image id -> label and one of label -> index",
                "give --labels and --label-encoding",
                exit_code=2,
            )
        return json_labels(root, files)
    if kind is not None:
        return _READ[kind](root)
    read = next((read for fits, read in _RECOGNISED if fits(root)), None)
    if read is not None:
        return read(root)
    found = find_label_files(root)
    return json_labels(root, found) if found else None
