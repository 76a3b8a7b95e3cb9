"""The networks: `create_model("alexnet")`, their names and their specs."""

from __future__ import annotations

from alexnet_fast.models.alexnet import AlexNet
from alexnet_fast.models.factory import build_model, create_model, input_of, is_custom
from alexnet_fast.models.lrn import LocalResponseNorm
from alexnet_fast.models.network import LayerRow, Network, layer_table
from alexnet_fast.models.registry import model_names, model_spec
from alexnet_fast.models.spec import CAFFE_INPUT, ConvSpec, Initial, InputSpec, LrnSpec, ModelSpec, NetSpec

__all__ = [
    "CAFFE_INPUT",
    "AlexNet",
    "ConvSpec",
    "Initial",
    "InputSpec",
    "LayerRow",
    "LocalResponseNorm",
    "LrnSpec",
    "ModelSpec",
    "NetSpec",
    "Network",
    "build_model",
    "create_model",
    "input_of",
    "is_custom",
    "layer_table",
    "model_names",
    "model_spec",
]
