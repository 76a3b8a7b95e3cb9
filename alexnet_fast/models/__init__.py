"""The networks: `create_model("alexnet")`, the list of names, and what each of them is made of."""

from __future__ import annotations

from alexnet_fast.models.alexnet import AlexNet, create_model
from alexnet_fast.models.layers import LayerRow, layer_table
from alexnet_fast.models.lrn import LocalResponseNorm
from alexnet_fast.models.spec import ConvSpec, InputSpec, LrnSpec, ModelSpec, model_names, model_spec

__all__ = [
    "AlexNet",
    "ConvSpec",
    "InputSpec",
    "LayerRow",
    "LocalResponseNorm",
    "LrnSpec",
    "ModelSpec",
    "create_model",
    "layer_table",
    "model_names",
    "model_spec",
]
