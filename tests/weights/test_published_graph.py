"""Weights in Caffe's files give what the published BVLC AlexNet graph gives for the same image.

Caffe reads BGR from 0 to 255 less a mean; ours read RGB and normalise as their spec says. So images go in
as the bytes that they are, and what comes out must be the same.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from foreign_files import write_caffe_model, write_numpy
from onnx import numpy_helper

from alexnet_fast.pipelines.ten_crop import take_crops
from alexnet_fast.training.checkpoint.model_io import TrainedModel, load_trained

GRAPH = Path(onnx.__file__).parent / "backend/test/data/light/light_bvlc_alexnet.onnx"
LOGITS = "r24"  # what enters the softmax
MEAN_BGR = np.array([104.00698793, 116.66876762, 122.67891434], np.float32)
LAYERS = {
    "conv1": (96, 3, 11, 11), "conv2": (256, 48, 5, 5), "conv3": (384, 256, 3, 3), "conv4": (384, 192, 3, 3),
    "conv5": (256, 192, 3, 3), "fc6": (4096, 9216), "fc7": (4096, 4096), "fc8": (1000, 4096),
}  # fmt: skip


@pytest.fixture(scope="module")
def arrays() -> dict[str, list[np.ndarray]]:
    """Caffe's blobs: large enough weights that LRN and groups matter."""
    random = np.random.default_rng(0)
    made = {}
    for name, shape in LAYERS.items():
        scale = np.float32((2 / np.prod(shape[1:])) ** 0.5)
        weight = random.standard_normal(shape, np.float32) * scale
        made[name] = [weight, random.standard_normal(shape[0], np.float32)]
    return made


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    """uint8 (256, 256, 3), RGB; the channels differ, so that their order matters."""
    ramp = np.linspace(0, 255, 256)
    colours = np.stack(
        [ramp[:, None] + 0 * ramp, 0 * ramp[:, None] + ramp, 255 - ramp[:, None] + 0 * ramp], -1
    )
    noise = np.random.default_rng(1).normal(0, 30, colours.shape)
    return (0.7 * colours + noise).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def theirs(arrays: dict[str, list[np.ndarray]], image: np.ndarray) -> np.ndarray:
    """The published graph's logits for the centre of the image, BGR less the mean."""
    model = onnx.load(GRAPH)
    model.ir_version = 8
    graph = model.graph
    for node in [node for node in graph.node if node.op_type == "ConstantOfShape"]:
        graph.node.remove(node)
    for name, blobs in arrays.items():
        for kind, blob in zip("wb", blobs, strict=True):
            graph.initializer.append(numpy_helper.from_array(blob, f"{name}_{kind}_0"))
    for dim in graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.dim_value = 227
    del graph.output[:]
    graph.output.append(onnx.helper.make_tensor_value_info(LOGITS, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    centre = image[14 : 14 + 227, 14 : 14 + 227, ::-1].astype(np.float32) - MEAN_BGR
    return session.run([LOGITS], {"data_0": centre.transpose(2, 0, 1)[None]})[0]


def logits(trained: TrainedModel, image: np.ndarray) -> np.ndarray:
    """What a network says about the centre of an image of bytes, prepared as its spec says."""
    with torch.inference_mode():
        crops = take_crops(torch.from_numpy(image[None]), trained.spec, "single")
        return trained.net(crops).numpy()


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("old.caffemodel", marks=pytest.mark.slow),
        pytest.param("new.caffemodel", marks=pytest.mark.slow),
        pytest.param("bvlc_alexnet.npy", marks=pytest.mark.slow),
    ],
)
def test_the_same_logits(kind, arrays, image, theirs, tmp_path):
    path = tmp_path / kind
    if path.suffix == ".npy":
        write_numpy(path, arrays)
    else:
        write_caffe_model(path, arrays, old=kind.startswith("old"))
    trained = load_trained(path)
    assert (trained.model, len(trained.classes)) == ("alexnet-caffe", 1000)
    assert trained.spec.crop == 227
    found = logits(trained, image)
    assert np.abs(found - theirs).max() < 1e-5 * np.abs(theirs).max()
    assert theirs.std() > 0.1 * np.abs(theirs).max(), "the comparison needs logits that differ"
    # The comparison sees the order of the channels.
    assert np.abs(logits(trained, image[..., ::-1].copy()) - theirs).max() > 1e-2 * np.abs(theirs).max()
