"""The messages of the V2 protocol over gRPC, numbered as in the protocol's specification.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_grpc.md, and for
configuration and statistics as in Triton's extensions of it. Importing this module creates the classes in a
pool of their own: they work beside those of a client in the same process, and with any version of protobuf,
which generated code does not.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "inference"
SERVICE = f"{_PACKAGE}.GRPCInferenceService"

# Each field is "number type name"; "*type" is repeated, "%Type" a map from string, "type|choice" a member of
# a oneof. A type that is not built in is a message of this list.
_MESSAGES = {
    "ServerLiveRequest": "",
    "ServerLiveResponse": "1 bool live",
    "ServerReadyRequest": "",
    "ServerReadyResponse": "1 bool ready",
    "ModelReadyRequest": "1 string name, 2 string version",
    "ModelReadyResponse": "1 bool ready",
    "ServerMetadataRequest": "",
    "ServerMetadataResponse": "1 string name, 2 string version, 3 *string extensions",
    "ModelMetadataRequest": "1 string name, 2 string version",
    "TensorMetadata": "1 string name, 2 string datatype, 3 *int64 shape",
    "ModelMetadataResponse": (
        "1 string name, 2 *string versions, 3 string platform, 4 *TensorMetadata inputs,"
        " 5 *TensorMetadata outputs"
    ),
    "InferParameter": (
        "1 bool|value bool_param, 2 int64|value int64_param, 3 string|value string_param,"
        " 4 double|value double_param, 5 uint64|value uint64_param"
    ),
    "InferTensorContents": (
        "1 *bool bool_contents, 2 *int32 int_contents, 3 *int64 int64_contents, 4 *uint32 uint_contents,"
        " 5 *uint64 uint64_contents, 6 *float fp32_contents, 7 *double fp64_contents, 8 *bytes bytes_contents"
    ),
    "InferInputTensor": (
        "1 string name, 2 string datatype, 3 *int64 shape, 4 %InferParameter parameters,"
        " 5 InferTensorContents contents"
    ),
    "InferRequestedOutputTensor": "1 string name, 2 %InferParameter parameters",
    "InferOutputTensor": (
        "1 string name, 2 string datatype, 3 *int64 shape, 4 %InferParameter parameters,"
        " 5 InferTensorContents contents"
    ),
    "ModelInferRequest": (
        "1 string model_name, 2 string model_version, 3 string id, 4 %InferParameter parameters,"
        " 5 *InferInputTensor inputs, 6 *InferRequestedOutputTensor outputs, 7 *bytes raw_input_contents"
    ),
    "ModelInferResponse": (
        "1 string model_name, 2 string model_version, 3 string id, 4 %InferParameter parameters,"
        " 5 *InferOutputTensor outputs, 6 *bytes raw_output_contents"
    ),
    "ModelStreamInferResponse": "1 string error_message, 2 ModelInferResponse infer_response",
    "ModelConfigRequest": "1 string name, 2 string version",
    "ModelInput": "1 string name, 2 DataType data_type, 4 *int64 dims",
    "ModelOutput": "1 string name, 2 DataType data_type, 3 *int64 dims",
    "ModelDynamicBatching": "2 uint64 max_queue_delay_microseconds",
    "ModelConfig": (
        "1 string name, 2 string platform, 4 int32 max_batch_size, 5 *ModelInput input,"
        " 6 *ModelOutput output, 11 ModelDynamicBatching dynamic_batching, 17 string backend"
    ),
    "ModelConfigResponse": "1 ModelConfig config",
    "ModelStatisticsRequest": "1 string name, 2 string version",
    "StatisticDuration": "1 uint64 count, 2 uint64 ns",
    "InferStatistics": (
        "1 StatisticDuration success, 2 StatisticDuration fail, 3 StatisticDuration queue,"
        " 4 StatisticDuration compute_input, 5 StatisticDuration compute_infer,"
        " 6 StatisticDuration compute_output, 7 StatisticDuration cache_hit, 8 StatisticDuration cache_miss"
    ),
    "InferBatchStatistics": (
        "1 uint64 batch_size, 2 StatisticDuration compute_input, 3 StatisticDuration compute_infer,"
        " 4 StatisticDuration compute_output"
    ),
    "ModelStatistics": (
        "1 string name, 2 string version, 3 uint64 last_inference, 4 uint64 inference_count,"
        " 5 uint64 execution_count, 6 InferStatistics inference_stats, 7 *InferBatchStatistics batch_stats"
    ),
    "ModelStatisticsResponse": "1 *ModelStatistics model_stats",
}
# The data types of a configuration that are used here, with Triton's numbers.
_DATA_TYPES = {"TYPE_INVALID": 0, "TYPE_UINT8": 2, "TYPE_INT64": 9, "TYPE_FP32": 11, "TYPE_STRING": 13}

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    name: getattr(_Field, f"TYPE_{name.upper()}")
    for name in ("bool", "int32", "int64", "uint32", "uint64", "float", "double", "string", "bytes")
}


def _describe() -> Any:
    """Returns the list as a protobuf file descriptor."""
    file = descriptor_pb2.FileDescriptorProto(
        name="alexnet_fast/inference.proto", package=_PACKAGE, syntax="proto3"
    )
    file.enum_type.add(
        name="DataType",
        value=[
            descriptor_pb2.EnumValueDescriptorProto(name=name, number=number)
            for name, number in _DATA_TYPES.items()
        ],
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field in filter(None, fields.split(", ")):
            _add_field(message, *field.split())
    return file


def _add_field(message: Any, number: str, kind: str, name: str) -> None:
    """Adds one field to a message."""
    kind, _, choice = kind.partition("|")
    repeated = kind[0] in "*%"
    field = message.field.add(
        name=name,
        number=int(number),
        label=_Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL,
    )
    if kind[0] == "%":
        _set_type(field, f"{message.name}.{_map_entry(message, name, kind[1:])}")
    else:
        _set_type(field, kind.lstrip("*"))
    if choice:
        if not message.oneof_decl:
            message.oneof_decl.add(name=choice)
        field.oneof_index = 0


def _set_type(field: Any, kind: str) -> None:
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type = _Field.TYPE_ENUM if kind == "DataType" else _Field.TYPE_MESSAGE
        field.type_name = f".{_PACKAGE}.{kind}"


def _map_entry(message: Any, name: str, kind: str) -> str:
    """Adds the message of an entry of a map from strings, and returns its name."""
    entry = message.nested_type.add(name="".join(word.title() for word in name.split("_")) + "Entry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, label=_Field.LABEL_OPTIONAL, type=_Field.TYPE_STRING)
    _set_type(entry.field.add(name="value", number=2, label=_Field.LABEL_OPTIONAL), kind)
    return str(entry.name)


_POOL = descriptor_pool.DescriptorPool()
_POOL.Add(_describe())


def message_class(name: str) -> Any:
    """Returns the class of a message, such as "ModelInferRequest"."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
