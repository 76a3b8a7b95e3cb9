"""The nodes of any network, through torch's own exporter, put into a graph of ours.

Images, crops, averages and further outputs are our own nodes; the network's nodes are between them, under
"net/".
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import io
import logging
import re
import warnings
from typing import TYPE_CHECKING

import onnx
from onnx import compose, inliner

from alexnet_fast.errors import UserError
from alexnet_fast.export.layer_place import described, failing_layer, first_line, frames_of, run_network
from alexnet_fast.export.net_copy import evaluation_copy
from alexnet_fast.export.onnx.writer import GraphWriter, Value

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from alexnet_fast.export.layers import UnknownLayerError

_INSTALL = "pip install 'alexnet-fast[torch-export]'"
_PREFIX = "net/"
# Traced on more than one crop: torch.export specialises sizes 0 and 1 as constants.
_TRACED = 2
_PRODUCTS = ("Gemm", "MatMul")
# Elementwise operators that may follow the last matrix product.
_PASSING = frozenset(
    (
        "Identity",
        "Cast",
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Neg",
        "Clip",
        "Relu",
        "Tanh",
        "Sigmoid",
        "Softmax",
        "LogSoftmax",
    )
)


def write_traced(
    graph: GraphWriter, net: torch.nn.Module, unknown: UnknownLayerError, x: Value, opset: int
) -> tuple[Value, Value | None]:
    """Appends a network that torch's exporter has written.

    Args:
        graph: Receives the nodes.
        net: The network; it is copied, not changed.
        unknown: Why our own writer cannot write it.
        x: Normalised crops, (batch, 3, crop, crop) in the graph's type.
        opset: The graph's operator set.

    Returns:
        The logits, and the input of the last matrix product if one makes the logits, else None.

    Raises:
        UserError: The exporter is not installed, the network fails on the crops, it cannot be traced (its
            layer is named) or has an operator without an ONNX form, or the precision is int8.
    """
    _check_possible(graph, unknown)
    import torch

    copied = evaluation_copy(net)
    _check_no_batch_statistics(copied)
    crops = torch.rand(_TRACED, *x.shape, generator=torch.Generator().manual_seed(0)) * 4 - 2
    with torch.no_grad():
        classes = run_network(copied, crops).shape[1]
        narrow = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(graph.config.precision)
        if narrow is not None:
            copied, crops = copied.to(narrow), crops.to(narrow)
        model = torch_model(copied, crops, x.name, "logits", opset, unknown.layer)
    # The prefix keeps the exporter's names apart from ours.
    model = compose.add_prefix(model, _PREFIX, rename_inputs=False)
    graph.adopt(model.graph)
    logits = model.graph.output[0].name
    return Value(logits, (classes,)), _features(model.graph, logits)


def _check_possible(graph: GraphWriter, unknown: UnknownLayerError) -> None:
    if graph.config.precision == "int8":
        raise unknown.in_int8() from unknown
    if importlib.util.find_spec("onnxscript") is None:
        raise UserError(
            f"{unknown.layer} {unknown.why}, so torch's ONNX exporter is needed,"
            " and its part onnxscript is not installed",
            _INSTALL,
        )


def _check_no_batch_statistics(net: torch.nn.Module) -> None:
    """Checks that no answer depends on the other images of its batch.

    Raises:
        UserError: Batch normalisation keeps no running statistics.
    """
    from torch import nn

    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
    for name, module in net.named_modules():
        if type(module) in kinds and module.running_mean is None:
            raise UserError(
                f"{described(name, module)} keeps no running statistics,"
                " so that an answer would depend on the other images of its batch",
                "train it with track_running_stats=True",
            )


def torch_model(
    net: torch.nn.Module,
    example: torch.Tensor,
    input_name: str,
    output_name: str,
    opset: int,
    blamed: str = "",
) -> onnx.ModelProto:
    """Lets torch trace a network and write it as ONNX, for any size of the first axis.

    Args:
        net: In evaluation mode, on the CPU.
        example: Input to trace with; two rows or more.
        input_name: Name of its input.
        output_name: Name of its output.
        opset: Operator set.
        blamed: The layer to name if torch's error leads to none.

    Returns:
        The model, without torch's notes about the files of this machine.

    Raises:
        UserError: It cannot be traced, or has an operation without an ONNX form; the layer is named.
    """
    import torch

    with torch.no_grad(), _quiet():
        try:
            batch = torch.export.Dim("batch", min=1)
            shapes = {0: batch} if not _takes_any_number(net) else ({0: batch},)
            program = torch.export.export(net, (example,), dynamic_shapes=(shapes,), strict=False)
        except Exception as error:
            raise _untraceable(error, net, blamed) from error
        try:
            exported = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=opset,
                input_names=[input_name],
                output_names=[output_name],
                verbose=False,
            )
        except Exception as error:
            raise _no_node(error, net, blamed) from error
    assert exported is not None
    model: onnx.ModelProto = exported.model_proto
    if model.functions:
        model = inliner.inline_local_functions(model)
    _narrow_folded(model.graph)
    _undocument(model.graph)
    return model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences torch's progress messages; its errors come as exceptions."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "torch.fx", "onnxscript")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        # torch prints a half-traced graph there.
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _takes_any_number(net: torch.nn.Module) -> bool:
    """Returns whether forward is written as `forward(self, *inputs)`."""
    first = next(iter(inspect.signature(net.forward).parameters.values()), None)
    return first is not None and first.kind is inspect.Parameter.VAR_POSITIONAL


def _untraceable(error: Exception, net: torch.nn.Module, blamed: str) -> UserError:
    """Returns an error that names the layer that torch cannot trace, and the line."""
    lines = re.findall(r"line \d+, in \w+\n\s*(.+)", str(error))
    where = f" at `{lines[-1].strip()}`" if lines else ""
    reason = first_line(error) or type(error).__name__
    return UserError(
        f"{failing_layer(error, net, blamed)} cannot be traced{where}: {reason}",
        "write that part without branches on its data, and in torch's own operations",
    )


def _no_node(error: Exception, net: torch.nn.Module, blamed: str) -> UserError:
    """Returns an error that names the layer and the operation without an ONNX form."""
    import torch

    nodes = [frame["node"] for frame in frames_of(error) if isinstance(frame.get("node"), torch.fx.Node)]
    if not nodes:
        return UserError(f"torch cannot export {blamed or described('', net)}: {first_line(error)}")
    stack = [path for path, _ in nodes[-1].meta.get("nn_module_stack", {}).values()]
    name = stack[-1].partition("@")[0] if stack else ""
    layer = (
        described(name, dict(net.named_modules()).get(name, net)) if name else blamed or described("", net)
    )
    return UserError(
        f"{layer} has an operation without an ONNX form: {nodes[-1].target}", "replace that layer by another"
    )


def _narrow_folded(graph: onnx.GraphProto) -> None:
    """Casts weights to the type of the values that they multiply.

    torch's exporter folds batch normalisation into a convolution in float32, in a graph of bfloat16 too.
    """
    types = {value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.value_info)}
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        dtype = types.get(node.input[0]) if node.op_type == "Conv" else None
        if dtype not in (onnx.TensorProto.BFLOAT16, onnx.TensorProto.FLOAT16):
            continue
        for name in node.input[1:]:
            weight = weights.get(name)
            if weight is not None and weight.data_type == onnx.TensorProto.FLOAT:
                array = onnx.numpy_helper.to_array(weight).astype(onnx.helper.tensor_dtype_to_np_dtype(dtype))
                weight.CopyFrom(onnx.numpy_helper.from_array(array, name))


def _undocument(graph: onnx.GraphProto) -> None:
    del graph.value_info[:], graph.metadata_props[:]
    graph.doc_string = ""
    for value in (*graph.input, *graph.output, *graph.initializer):
        value.doc_string = ""
        del value.metadata_props[:]
    for node in graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    _undocument(inner)


def _features(graph: onnx.GraphProto, logits: str) -> Value | None:
    """Finds the input of the last matrix product."""
    makers = {output: node for node in graph.node for output in node.output}
    constants = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    name = logits
    while name in makers:
        node = makers[name]
        varying = [name for name in node.input if name and name not in constants]
        if node.op_type in _PRODUCTS:
            weight = constants.get(node.input[1])
            if weight is None or node.input[0] in constants or len(weight) != 2:
                return None
            transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
            return Value(node.input[0], (weight[1 if transposed else 0],))
        if node.op_type not in _PASSING or len(varying) != 1:
            return None
        name = varying[0]
    return None
