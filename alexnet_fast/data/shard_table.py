"""The table of the samples of a tar, kept beside it."""

from __future__ import annotations

import dataclasses
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from alexnet_fast.data.image_list import StringArray
from alexnet_fast.errors import UserError
from alexnet_fast.utils.arrays import Integers
from alexnet_fast.utils.special_files import check_plain

TABLE_SUFFIX = ".npz"


@dataclasses.dataclass(frozen=True, eq=False)
class ShardTable:
    """The images of one shard.

    Args:
        tar_bytes: Size of the tar.
        names: Of the prepared files, below train/, val/ or test/.
        labels: int64 (N,), class index.
        offsets: int64 (N,), where each image begins.
        lengths: int64 (N,), its bytes.
        sizes: int32 (N, 2), height and width.
    """

    tar_bytes: int
    names: StringArray
    labels: Integers
    offsets: Integers
    lengths: Integers
    sizes: npt.NDArray[np.int32]

    def save(self, file: IO[bytes]) -> None:
        """Writes the table; its bytes depend on the content alone."""
        arrays: dict[str, Any] = {
            "tar_bytes": np.array(self.tar_bytes),
            **self.names.pack("names", "stops"),
            "labels": self.labels,
            "offsets": self.offsets,
            "lengths": self.lengths,
            "sizes": self.sizes,
        }
        np.savez(file, **arrays)

    @classmethod
    def load(cls, tar: Path) -> ShardTable | None:
        """Reads the table of a shard; None if there is none.

        Raises:
            UserError: The table is damaged, or of another tar.
        """
        path = tar.with_suffix(TABLE_SUFFIX)
        try:
            check_plain(path)
            with np.load(path, allow_pickle=False) as file:
                arrays = dict(file)
            table = cls(
                tar_bytes=int(arrays["tar_bytes"]),
                names=StringArray.unpack(arrays, "names", "stops"),
                labels=arrays["labels"],
                offsets=arrays["offsets"],
                lengths=arrays["lengths"],
                sizes=arrays["sizes"],
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise UserError(
                f"{path} is not the table of a shard ({error})", "copy it again, or remove it"
            ) from error
        if tar.stat().st_size != table.tar_bytes:
            raise UserError(
                f"{tar} has {tar.stat().st_size} bytes, not the {table.tar_bytes} it was written with",
                "copy it again",
            )
        return table
