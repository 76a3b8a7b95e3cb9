"""Sizes of the pictures of a list, read from their headers when they are first met."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from alexnet_fast.pipelines.dali_graph import build_size_graph
from alexnet_fast.pipelines.geometry import Integers
from alexnet_fast.pipelines.reading import Inputs


class PictureSizes:
    """Height and width of each upright picture; eight bytes a picture are kept, so later epochs ask no file.

    Args:
        known: int32 (N, 2), height and width of each picture of the list, 0 where they are not known yet.
        batch_size: Most pictures asked for at once.
        threads: DALI's threads.
    """

    def __init__(self, known: npt.NDArray[np.int32], *, batch_size: int, threads: int) -> None:
        self._sizes = known.copy()
        # Defined here: DALI cannot define a graph inside another one's source, where sizes are asked for.
        self._graph = build_size_graph(batch_size=batch_size, threads=threads)

    def of(self, indices: Integers, inputs: Inputs) -> Integers:
        """Returns int64 (B, 2), height and width; 0 where a picture's header cannot be read.

        Args:
            indices: Of the pictures.
            inputs: "encoded" of these pictures, as the graphs take them.
        """
        unknown = np.flatnonzero(self._sizes[indices, 0] == 0).tolist()
        if unknown:
            self._sizes[indices[unknown]] = self._read([inputs["encoded"][position] for position in unknown])
        return self._sizes[indices].astype(np.int64)

    def known(self, indices: Integers) -> npt.NDArray[np.int32]:
        """Returns what has been read so far, (B, 2); 0 where nothing has."""
        return self._sizes[indices]

    def forget(self, indices: Integers) -> npt.NDArray[np.int32]:
        """Lets some be read again, since their files may have changed; returns what was known."""
        before = self.known(indices)
        self._sizes[indices] = 0
        return before

    def _read(self, encoded: list[Any]) -> npt.NDArray[np.int32]:
        """Reads some sizes together, or one by one where a header among them is bad."""
        try:
            return self._run(encoded)
        except RuntimeError:
            if len(encoded) == 1:
                return np.zeros((1, 2), np.int32)
            return np.concatenate([self._read([one]) for one in encoded])

    def _run(self, encoded: list[Any]) -> npt.NDArray[np.int32]:
        """Runs the graph."""
        (shapes,) = self._graph.run(encoded=encoded)
        return np.array(shapes.as_tensor())[:, :2].astype(np.int32)
