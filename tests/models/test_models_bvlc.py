"""`alexnet` with Caffe's LRN computes what the published BVLC AlexNet graph computes.

The onnx package carries that graph with every weight 0.02, which hides mistakes: all channels are alike, and
the softmax is 1/1000 whatever the layers do. So the logits are compared, and with random weights in the
place of the constants.

The published graph reads 224 pixels without padding conv1 and pads pool5 below and to the right; at Caffe's
227 pixels that padding has no effect. Both are compared, the smaller with pool5 rounding up, which is equal.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from alexnet_fast.models import AlexNet, create_model

if TYPE_CHECKING:
    import numpy as np

PUBLISHED = Path(onnx.__file__).parent / "backend/test/data/light/light_bvlc_alexnet.onnx"
LOGITS = "r24"  # what enters the softmax


def bvlc_alexnet(**options) -> AlexNet:
    return create_model("alexnet", image_size=227, **{"lrn_k": 1.0, "lrn_alpha": 1e-4} | options).eval()


def onnx_name(key: str) -> str:
    layer, kind = key.split(".")
    return f"{layer}_{kind[0]}_0"


def published_graph(side: int, weights: dict[str, np.ndarray] | None = None) -> onnx.ModelProto:
    """The published graph with its logits as an output, and with other weights if they are given."""
    model = onnx.load(PUBLISHED)
    graph = model.graph
    if weights is not None:
        model.ir_version = 8  # initializers need not be inputs from version 4 on
        constant = [node for node in graph.node if node.op_type == "ConstantOfShape"]
        assert {node.output[0] for node in constant} == set(weights)
        for node in constant:
            graph.node.remove(node)
        graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in weights.items())
    for dim in graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.dim_value = side
    del graph.output[:]
    graph.output.append(onnx.helper.make_tensor_value_info(LOGITS, onnx.TensorProto.FLOAT, None))
    return model


def onnx_logits(model: onnx.ModelProto, x: torch.Tensor) -> torch.Tensor:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run([LOGITS], {"data_0": x.numpy()})[0])


def image(side: int) -> torch.Tensor:
    """A random image of the size of values that Caffe feeds: 0..255 less a mean."""
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(1)) * 255 - 120


def randomise(net: AlexNet) -> dict[str, np.ndarray]:
    """Gives a net random weights that keep activations large, so that LRN matters, and returns them."""
    torch.manual_seed(2)
    for layer in net:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.normal_(layer.bias)
    return {onnx_name(key): value.numpy() for key, value in net.state_dict().items()}


def relative_difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize("side", [pytest.param(224, marks=pytest.mark.slow), 227])
def test_the_same_logits_with_random_weights(side):
    net = bvlc_alexnet()
    theirs = onnx_logits(published_graph(side, randomise(net)), image(side))
    net.pool5.ceil_mode = side == 224
    with torch.no_grad():
        assert relative_difference(net(image(side)), theirs) < 1e-5


@pytest.mark.slow
def test_the_comparison_sees_the_numbers_of_the_lrn():
    net = bvlc_alexnet(lrn_k=2.0)
    theirs = onnx_logits(published_graph(227, randomise(net)), image(227))
    with torch.no_grad():
        assert relative_difference(net(image(227)), theirs) > 1e-2


def test_the_same_logits_with_the_constant_weights_of_the_file():
    net = bvlc_alexnet()
    for parameter in net.parameters():
        nn.init.constant_(parameter, 0.02)
    net.pool5.ceil_mode = True
    theirs = onnx_logits(published_graph(224), image(224).abs())
    with torch.no_grad():
        assert relative_difference(net(image(224).abs()), theirs) < 1e-5
