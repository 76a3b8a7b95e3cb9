"""alexnet-fast: from a folder of JPEGs to a served TensorRT engine.

Importing this package loads none of torch, DALI or onnxruntime; they load when something that needs them is
used.
"""

from __future__ import annotations

from alexnet_fast.version import __version__

# As typing has it; to import that takes longer than all else that comes before a command can be interrupted.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from alexnet_fast.estimator import AlexNet
    from alexnet_fast.models import create_model, model_names
    from alexnet_fast.serve.predictor import Predictor

__all__ = ["AlexNet", "Predictor", "__version__", "create_model", "model_names"]

_LAZY = {
    "AlexNet": "alexnet_fast.estimator",
    "Predictor": "alexnet_fast.serve.predictor",
    "create_model": "alexnet_fast.models",
    "model_names": "alexnet_fast.models",
}


def __getattr__(name: str) -> Any:
    """Imports the module behind a public name on its first use (PEP 562)."""
    if name not in _LAZY:
        raise AttributeError(f"module 'alexnet_fast' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)
