"""Descriptions of the server and its models in the V2 protocol, as JSON values; gRPC converts them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alexnet_fast.runtime.metadata import INPUT, TENSOR_TYPES
from alexnet_fast.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable

    from alexnet_fast.serve.config import Batching
    from alexnet_fast.serve.models import ModelRegistry, ModelVersion

PLATFORM = "alexnet_fast"


def server_metadata() -> dict[str, Any]:
    """Describes the server."""
    return {
        "name": "alexnet-fast",
        "version": __version__,
        "extensions": ["binary_tensor_data", "classification", "model_configuration", "statistics"],
    }


def model_metadata(version: ModelVersion) -> dict[str, Any]:
    """Describes the input and the outputs of a model."""
    side = version.backend.spec.resize
    return {
        "name": version.model,
        "versions": [version.version],
        "platform": PLATFORM,
        "inputs": [{"name": INPUT, "datatype": "UINT8", "shape": [-1, side, side, 3]}],
        "outputs": [
            {"name": each.name, "datatype": TENSOR_TYPES[each.dtype].protocol, "shape": list(each.shape)}
            for each in version.backend.output_tensors
        ],
    }


def model_config(version: ModelVersion, batching: Batching) -> dict[str, Any]:
    """Describes a model like Triton's configuration, which perf_analyzer requests."""
    side = version.backend.spec.resize
    return {
        "name": version.model,
        "platform": PLATFORM,
        "backend": PLATFORM,
        "max_batch_size": batching.max_batch_size,
        "input": [{"name": INPUT, "data_type": "TYPE_UINT8", "dims": [side, side, 3]}],
        "output": [
            {"name": each.name, "data_type": TENSOR_TYPES[each.dtype].config, "dims": list(each.shape[1:])}
            for each in version.backend.output_tensors
        ],
        "dynamic_batching": {"max_queue_delay_microseconds": int(batching.max_queue_delay * 1e6)},
    }


def statistics(versions: Iterable[ModelVersion]) -> dict[str, Any]:
    """Returns the statistics of models since they were loaded."""
    return {
        "model_stats": [
            {"name": version.model, "version": version.version, **version.statistics.plain()}
            for version in versions
        ]
    }


def repository_index(registry: ModelRegistry) -> list[dict[str, str]]:
    """Lists the models, with the reason why a newer file is not served."""
    return [
        {
            "name": model.name,
            "version": model.current.version,
            "state": "READY" if registry.ready else "UNAVAILABLE",
            "reason": model.problem or "",
        }
        for model in registry.models.values()
    ]
