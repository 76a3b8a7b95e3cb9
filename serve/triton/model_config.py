"""The `config.pbtxt` of each model in a repository.

Fields and their meaning: https://github.com/triton-inference-server/common/blob/main/protobuf/model_config.proto
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from alexnet_fast.pipelines.color import Color, color_text
from alexnet_fast.runtime.metadata import INPUT, LOGITS, OUTPUT, TENSOR_TYPES
from alexnet_fast.serve.config import Batching
from alexnet_fast.utils.ranges import check_fields

if TYPE_CHECKING:
    from alexnet_fast.runtime.manifest import TensorInfo

LABELS = "labels.txt"
WARMUP = "image"
# Tensors between the models of an ensemble.
ENCODED, SQUARES = "encoded", "squares"

Message = dict[str, Any]


class Enum(str):
    """A value that is written without quotes."""

    __slots__ = ()


def text_proto(message: Mapping[str, Any]) -> str:
    """Returns a message in protobuf's text format.

    Written by hand, because protobuf's own writer needs the schema, which only Triton's client packages have.

    Args:
        message: Fields in order: numbers, booleans, strings, `Enum`, messages
            (mappings), and lists of them for repeated fields.
    """
    return "".join(f"{line}\n" for line in _lines(message, ""))


def _lines(message: Mapping[str, Any], indent: str) -> Iterator[str]:
    for name, value in message.items():
        for item in value if isinstance(value, list | tuple) else (value,):
            if isinstance(item, Mapping):
                yield f"{indent}{name} {{"
                yield from _lines(item, f"{indent}  ")
                yield f"{indent}}}"
            else:
                yield f"{indent}{name}: {_scalar(item)}"


def _scalar(value: object) -> str:
    if isinstance(value, Enum):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(_escaped(byte) for byte in value.encode("utf-8", "surrogateescape")) + '"'
    return repr(value)


def _escaped(byte: int) -> str:
    """Returns a byte of UTF-8 as it is written in a string: plain if it is harmless, else in octal."""
    harmless = 0x20 <= byte < 0x7F and chr(byte) not in "\"\\'"
    return chr(byte) if harmless else f"\\{byte:03o}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TritonConfig:
    """Configuration of the models in a repository.

    Args:
        batching: See `Batching`; Triton counts `max_queue_size` and `timeout` per request.
        instances: Parallel copies of a model.
        threads: CPU threads per copy, of onnxruntime or DALI.

    Raises:
        UserError: A number is not positive.
    """

    batching: Batching = Batching(max_queue_delay=0.002)  # noqa: RUF009 (frozen)
    instances: int = 1
    threads: int = 4

    def __post_init__(self) -> None:
        check_fields(self)


def python_config(name: str, outputs: Sequence[TensorInfo], config: TritonConfig) -> str:
    """Returns the configuration of the model that runs in Python, on the CPU."""
    return text_proto(
        {
            **_head(name, config, backend="python"),
            "input": _tensor(INPUT, "TYPE_STRING", 1),
            "output": [_output(output) for output in outputs],
            **_copies("KIND_CPU", config),
            **_scheduling(config),
            "parameters": _parameter("threads", config.threads),
            **_warmup_with_a_file(),
        }
    )


def unpack_config(name: str, side: int, background: Color, config: TritonConfig) -> str:
    """Returns the configuration of the model that checks encoded images and converts them to bytes for DALI.

    Args:
        name: Name of the model.
        side: Side of the squares in pixels.
        background: Colour behind transparent pixels.
        config: Batching.
    """
    return text_proto(
        {
            **_head(name, config, backend="python"),
            "input": _tensor(INPUT, "TYPE_STRING", 1),
            "output": _tensor(ENCODED, "TYPE_UINT8", -1),
            **_copies("KIND_CPU", config),
            **_scheduling(config),
            "parameters": [_parameter("side", side), _parameter("background", color_text(background))],
        }
    )


def dali_config(name: str, side: int, config: TritonConfig) -> str:
    """Returns the configuration of the model that decodes and resizes on the GPU."""
    return text_proto(
        {
            **_head(name, config, backend="dali"),
            # Files differ in length; without this only files of equal length would share a batch.
            "input": {**_tensor(ENCODED, "TYPE_UINT8", -1), "allow_ragged_batch": True},
            "output": _tensor(SQUARES, "TYPE_UINT8", side, side, 3),
            **_copies("KIND_GPU", config),
            **_scheduling(config),
            "parameters": _parameter("num_threads", config.threads),
        }
    )


def network_config(
    name: str, platform: str, side: int, outputs: Sequence[TensorInfo], config: TritonConfig
) -> str:
    """Returns the configuration of the network: uint8 squares in, probabilities and other outputs out.

    Args:
        name: Name of the model.
        platform: "tensorrt_plan" or "onnxruntime_onnx".
        side: Side of the squares in pixels.
        outputs: Outputs of the network.
        config: Batching.
    """
    square = _tensor(INPUT, "TYPE_UINT8", side, side, 3)
    # In a warm-up the names of inputs are map keys, so the tensors have no "name".
    zeros = {"data_type": square["data_type"], "dims": square["dims"], "zero_data": True}
    return text_proto(
        {
            **_head(name, config, platform=platform),
            "input": square,
            "output": [_output(output) for output in outputs],
            **_copies("KIND_GPU", config),
            **_scheduling(config),
            "model_warmup": [
                {"name": f"batch of {size}", "batch_size": size, "inputs": {"key": INPUT, "value": zeros}}
                for size in sorted({1, config.batching.max_batch_size})
            ],
        }
    )


def ensemble_config(
    name: str, outputs: Sequence[TensorInfo], parts: tuple[str, str, str], config: TritonConfig
) -> str:
    """Returns the configuration of the ensemble that clients call: encoded images in, outputs out.

    Args:
        name: Name of the ensemble.
        outputs: Outputs of the network.
        parts: Names of the models that unpack, decode and classify.
        config: Batching.
    """
    unpack, decode, network = parts
    steps = [
        _step(unpack, (INPUT, INPUT), ENCODED),
        _step(decode, (ENCODED, ENCODED), SQUARES),
        _step(network, (INPUT, SQUARES), *(output.name for output in outputs)),
    ]
    return text_proto(
        {
            **_head(name, config, platform="ensemble"),
            "input": _tensor(INPUT, "TYPE_STRING", 1),
            "output": [_output(output) for output in outputs],
            "ensemble_scheduling": {"step": steps},
            **_warmup_with_a_file(),
        }
    )


def _head(name: str, config: TritonConfig, **kind: str) -> Message:
    return {"name": name, **kind, "max_batch_size": config.batching.max_batch_size}


def _tensor(name: str, kind: str, *dims: int) -> Message:
    return {"name": name, "data_type": Enum(kind), "dims": list(dims)}


def _output(tensor: TensorInfo) -> Message:
    """Describes an output; one with a value per class refers to the names of the classes."""
    plain = _tensor(tensor.name, TENSOR_TYPES[tensor.dtype].config, *tensor.shape[1:])
    return {**plain, "label_filename": LABELS} if tensor.name in (OUTPUT, LOGITS) else plain


def _copies(kind: str, config: TritonConfig) -> Message:
    return {"instance_group": {"count": config.instances, "kind": Enum(kind)}}


def _scheduling(config: TritonConfig) -> Message:
    """Joins requests and bounds the queue, which Triton by default does not."""
    batching = config.batching
    policy = {
        "timeout_action": Enum("REJECT"),
        "default_timeout_microseconds": round(batching.timeout * 1e6),
        "max_queue_size": batching.max_queue_size,
    }
    delay = round(batching.max_queue_delay * 1e6)
    return {"dynamic_batching": {"max_queue_delay_microseconds": delay, "default_queue_policy": policy}}


def _parameter(key: str, value: object) -> Message:
    return {"key": key, "value": {"string_value": str(value)}}


def _warmup_with_a_file() -> Message:
    image = {"data_type": Enum("TYPE_STRING"), "dims": [1], "input_data_file": WARMUP}
    return {
        "model_warmup": {
            "name": "one image",
            "batch_size": 1,
            "inputs": {"key": INPUT, "value": image},
        }
    }


def _step(model: str, inputs: tuple[str, str], *outputs: str) -> Message:
    """Returns a step: its model, the name of the input in the model and in the ensemble, and its outputs."""
    return {
        "model_name": model,
        "model_version": -1,
        "input_map": {"key": inputs[0], "value": inputs[1]},
        "output_map": [{"key": name, "value": name} for name in outputs],
    }
