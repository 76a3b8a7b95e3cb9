"""Sizes of the pictures of a list, read from their headers when they are first met."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from alexnet_fast.pipelines.dali_graph import build_size_graph
from alexnet_fast.pipelines.geometry import Integers


class PictureSizes:
    """Height and width of each upright picture; eight bytes a picture are kept, so later epochs ask no file.

    Args:
        pictures: How many there are.
        names: Returns the file names of some pictures as the graphs take them.
        batch_size: Most pictures asked for at once.
        threads: DALI's threads.
    """

    def __init__(
        self, pictures: int, names: Callable[[Integers], list[Any]], *, batch_size: int, threads: int
    ) -> None:
        self._sizes: npt.NDArray[np.int32] = np.zeros((pictures, 2), np.int32)
        self._names = names
        # Defined here: DALI cannot define a graph inside another one's source, where sizes are asked for.
        self._graph = build_size_graph(batch_size=batch_size, threads=threads)

    def of(self, indices: Integers) -> Integers:
        """Returns int64 (B, 2), height and width; 0 where a picture's header cannot be read."""
        unknown = indices[self._sizes[indices, 0] == 0]
        if len(unknown):
            self._sizes[unknown] = self._read(unknown)
        return self._sizes[indices].astype(np.int64)

    def forget(self, indices: Integers) -> None:
        """Lets some be read again: their files may have changed."""
        self._sizes[indices] = 0

    def _read(self, indices: Integers) -> npt.NDArray[np.int32]:
        """Reads some sizes together, or one by one where a header among them is bad."""
        try:
            return self._run(indices)
        except RuntimeError:
            if len(indices) == 1:
                return np.zeros((1, 2), np.int32)
            return np.concatenate([self._read(indices[at : at + 1]) for at in range(len(indices))])

    def _run(self, indices: Integers) -> npt.NDArray[np.int32]:
        """Runs the graph."""
        (shapes,) = self._graph.run(names=self._names(indices))
        return np.array(shapes.as_tensor())[:, :2].astype(np.int32)
