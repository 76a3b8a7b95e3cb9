"""The networks: `create_model("alexnet")`, the list of names, and what each of them is made of."""

from __future__ import annotations

from alexnet_fast.models.alexnet import AlexNet, create_model
from alexnet_fast.models.layers import LayerRow, layer_table
from alexnet_fast.models.lrn import LocalResponseNorm
from alexnet_fast.models.own import build_model, input_of, is_own
from alexnet_fast.models.spec import ConvSpec, InputSpec, LrnSpec, ModelSpec, model_names, model_spec

__all__ = [
    "AlexNet",
    "ConvSpec",
    "InputSpec",
    "LayerRow",
    "LocalResponseNorm",
    "LrnSpec",
    "ModelSpec",
    "build_model",
    "create_model",
    "input_of",
    "is_own",
    "layer_table",
    "model_names",
    "model_spec",
]
