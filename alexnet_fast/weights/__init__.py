"""Weights of other programs, Caffe's and those made of them, in the layout of our networks."""

from __future__ import annotations

from alexnet_fast.weights.known_networks import Recognised, recognise
from alexnet_fast.weights.pretrained import (
    Fitted,
    Pretrained,
    fit_weights,
    is_external,
    last_layer,
    our_names,
    read_foreign,
)
from alexnet_fast.weights.state_dict import unwrapped

__all__ = [
    "Fitted",
    "Pretrained",
    "Recognised",
    "fit_weights",
    "is_external",
    "last_layer",
    "our_names",
    "read_foreign",
    "recognise",
    "unwrapped",
]
