"""Collects the nodes and weights of an ONNX graph by name.

The graph is written by hand rather than traced: torch's exporters never emit the LRN operator and add
branches and shape arithmetic that TensorRT then has to undo. Two exports of a network are also the same
bytes.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, NamedTuple

import ml_dtypes
import numpy as np
from onnx import helper, numpy_helper

from alexnet_fast.errors import UserError
from alexnet_fast.runtime.metadata import INPUT

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx

    from alexnet_fast.export.config import GraphConfig


_DTYPES: dict[str, type[Any]] = {"fp16": np.float16, "bf16": ml_dtypes.bfloat16}


class Value(NamedTuple):
    """A tensor of the graph.

    Args:
        name: Its name.
        shape: Its sizes without the batch: (channels, height, width) or (features,).
    """

    name: str
    shape: tuple[int, ...]


class GraphWriter:
    """A graph under construction.

    A node and its output have one name, so that a parser's error about either can be looked up.

    Args:
        config: How the graph is written.
    """

    def __init__(self, config: GraphConfig) -> None:
        self.config = config
        self._place = ""
        self.nodes: list[onnx.NodeProto] = []
        self._names = {INPUT}
        self._initializers: dict[str, onnx.TensorProto] = {}

    @property
    def initializers(self) -> list[onnx.TensorProto]:
        """The weights and constants, in the order in which they were added."""
        return list(self._initializers.values())

    @property
    def dtype(self) -> type[np.floating[Any]]:
        """The numpy type of the net's weights and activations."""
        return _DTYPES.get(self.config.precision, np.float32)

    @property
    def largest(self) -> float:
        """The largest number of that type."""
        return float(ml_dtypes.finfo(self.dtype).max)  # type: ignore[no-untyped-call]

    @property
    def narrow(self) -> int | None:
        """The ONNX type of weights and activations if it is narrower than float32, else None."""
        narrow = self.config.precision in _DTYPES
        return helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype)) if narrow else None

    @contextlib.contextmanager
    def place(self, name: str) -> Iterator[None]:
        """Appends a part of the map to the names of the nodes added inside; weights keep their names.

        Args:
            name: Appended to the name of each node, as in "conv2/top".
        """
        before, self._place = self._place, f"{self._place}/{name}"
        yield
        self._place = before

    def node(self, operator: str, inputs: list[str], name: str, **attributes: Any) -> str:
        """Adds a node with one output and returns the name of that output, which is the node's own.

        Raises:
            UserError: The name is in use: a layer has the name of a part of the graph.
        """
        name = self._claim(name)
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def adopt(self, graph: onnx.GraphProto) -> None:
        """Adds the nodes and weights of a whole graph, whose names are its own."""
        for node in graph.node:
            self._names.update(node.output)
            self.nodes.append(node)
        for tensor in graph.initializer:
            self._initializers[tensor.name] = tensor

    def split(self, x: str, name: str, parts: int) -> list[str]:
        """Adds a Split of the batch into equal parts and returns their names."""
        name = self._claim(name)
        outputs = [f"{name}/{i}" for i in range(parts)]
        self.nodes.append(helper.make_node("Split", [x], outputs, name=name, axis=0, num_outputs=parts))
        return outputs

    def has(self, name: str) -> bool:
        """Returns whether there is a tensor of this name."""
        return name in self._names

    def _claim(self, name: str) -> str:
        name += self._place
        if name in self._names:
            raise UserError(f"two nodes of the graph would be called {name}", "give the layer another name")
        self._names.add(name)
        return name

    def constant(self, name: str, array: np.ndarray[Any, Any]) -> str:
        """Adds a constant once; adding it again under the same name returns the first."""
        if name not in self._initializers:
            self._initializers[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def number(self, name: str, value: float) -> str:
        """Adds one number of the net's own type."""
        return self.constant(name, np.array(value, dtype=self.dtype))

    def integers(self, *values: int) -> str:
        """Adds a list of int64, for shapes, axes and offsets; named after its values."""
        return self.constant(f"int64.{'_'.join(map(str, values))}", np.array(values, dtype=np.int64))

    def cut(self, x: str, name: str, spans: dict[int, tuple[int, int]]) -> str:
        """Adds a Slice.

        Args:
            x: Name of the tensor to cut.
            name: Name of the node.
            spans: Maps an axis to its (first, one past the last) index.
        """
        starts = self.integers(*(first for first, _ in spans.values()))
        ends = self.integers(*(last for _, last in spans.values()))
        return self.node("Slice", [x, starts, ends, self.integers(*spans)], name)
