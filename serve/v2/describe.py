"""What the protocol says about the server and its models, as JSON values; gRPC says the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alexnet_fast.runtime.metadata import INPUT, TENSOR_TYPES
from alexnet_fast.version import __version__

if TYPE_CHECKING:
    from alexnet_fast.serve.config import Batching
    from alexnet_fast.serve.models import ModelRegistry
    from alexnet_fast.serve.served_model import ModelVersion

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
            {"name": one.name, "datatype": TENSOR_TYPES[one.dtype].protocol, "shape": list(one.shape)}
            for one in version.backend.output_tensors
        ],
    }


def model_config(version: ModelVersion, batching: Batching) -> dict[str, Any]:
    """Describes a model as Triton's configuration does, which perf_analyzer asks for."""
    side = version.backend.spec.resize
    return {
        "name": version.model,
        "platform": PLATFORM,
        "backend": PLATFORM,
        "max_batch_size": batching.max_batch_size,
        "input": [{"name": INPUT, "data_type": "TYPE_UINT8", "dims": [side, side, 3]}],
        "output": [
            {"name": one.name, "data_type": TENSOR_TYPES[one.dtype].config, "dims": list(one.shape[1:])}
            for one in version.backend.output_tensors
        ],
        "dynamic_batching": {"max_queue_delay_microseconds": int(batching.max_queue_delay * 1e6)},
    }


def model_statistics(version: ModelVersion) -> dict[str, Any]:
    """Returns what a model did since it was loaded."""
    return {"name": version.model, "version": version.version, **version.statistics.plain()}


def repository_index(hub: ModelRegistry) -> list[dict[str, str]]:
    """Lists the models; the reason says why a newer file is not served."""
    return [
        {
            "name": model.name,
            "version": model.current.version,
            "state": "READY" if hub.ready else "UNAVAILABLE",
            "reason": model.problem or "",
        }
        for model in hub.models.values()
    ]
