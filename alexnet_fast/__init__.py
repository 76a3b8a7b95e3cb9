"""alexnet-fast: from a folder of JPEGs to a served TensorRT engine.

Importing this package does not import torch, DALI or onnxruntime; they load on first use.
"""

from __future__ import annotations

from alexnet_fast.version import __version__

# As in typing, whose import takes longer than everything else before a command can be interrupted.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from alexnet_fast.estimator import AlexNet, ImageClassifier
    from alexnet_fast.models import create_model, model_names
    from alexnet_fast.serve.predictor import Predictor

__all__ = ["AlexNet", "ImageClassifier", "Predictor", "__version__", "create_model", "model_names"]

_LAZY = {
    "AlexNet": "alexnet_fast.estimator",
    "ImageClassifier": "alexnet_fast.estimator",
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
