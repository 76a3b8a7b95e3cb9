"""The ONNX file computes what PyTorch computes, says what it is, and refuses what it cannot express."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from torch import nn

from alexnet_fast.errors import UserError
from alexnet_fast.export.config import GraphConfig, for_tensorrt
from alexnet_fast.export.onnx.model import build_model, serialize
from alexnet_fast.export.torch_export import export_onnx
from alexnet_fast.models import create_model
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.pipelines.ten_crop import crop_probabilities, take_crops
from alexnet_fast.runtime.metadata import GraphMetadata


def run_onnx(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(serialize(model), providers=["CPUExecutionProvider"])
    return session.run(["probabilities"], {"images": images})[0]


@torch.inference_mode()
def run_torch(net: nn.Module, images: np.ndarray, spec: AugmentSpec, crops: str) -> np.ndarray:
    training = net.training
    answer = crop_probabilities(net.eval(), torch.from_numpy(images), spec, crops).numpy()
    net.train(training)
    return answer


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


# Each network and each form of local response normalisation once.
FAST = {("alexnet-64", "op"), ("alexnet-bn-64", "conv"), ("caffenet-64", "slices")}


@pytest.mark.parametrize("crops", ["single", "five", "ten"])
@pytest.mark.parametrize("lrn", ["conv", "slices", "op"])
def test_probabilities_are_those_of_pytorch(small_net, metadata, images, crops, lrn):
    model = build_model(small_net, dataclasses.replace(metadata, crops=crops), GraphConfig(lrn=lrn))
    got, want = run_onnx(model, images), run_torch(small_net, images, metadata.spec, crops)
    assert len(set(want.argmax(axis=1))) > 2, "the test needs images that differ"
    np.testing.assert_allclose(got, want, rtol=0, atol=5e-6)


@pytest.mark.parametrize(
    ("name", "lrn"),
    [
        pytest.param(name, lrn, marks=[] if (name, lrn) in FAST else pytest.mark.slow)
        for name in ("alexnet-64", "alexnet-bn-64", "alexnet-owt-64", "caffenet-64")
        for lrn in ("conv", "slices", "op")
    ],
)
def test_every_family_of_the_small_networks(name, lrn, sharpen, make_images):
    torch.manual_seed(0)
    net = create_model(name, 5)
    spec = AugmentSpec(resize=70, crop=64, mean=net.input.mean, std=net.input.std)
    images = make_images(3, 70)
    sharpen(net, images, spec)
    metadata = _metadata(spec, 5)
    model = build_model(net, metadata, GraphConfig(lrn=lrn))
    assert not {"If", "BatchNormalization", "Dropout"} & set(operators(model))
    np.testing.assert_allclose(
        run_onnx(model, images), run_torch(net, images, spec, "ten"), rtol=0, atol=1e-5
    )


@pytest.mark.slow
def test_alexnet_itself_to_five_digits(sharpen, make_images, tmp_path):
    torch.manual_seed(0)
    net, spec = create_model("alexnet", 1000), AugmentSpec()
    images = make_images(3, 256)
    sharpen(net, images, spec)
    path = tmp_path / "model.onnx"
    export_onnx(net, spec, [f"n{i}" for i in range(1000)], path, model_name="alexnet", provenance={})
    got = run_onnx(onnx.load(path), images)
    want = run_torch(net, images, spec, "ten")
    assert want.max() > 0.02, "the test needs probabilities that differ"
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)
    assert (got.argmax(1) == want.argmax(1)).all()


def test_the_batch_is_free(small_net, metadata, images):
    model = build_model(small_net, metadata)
    together = run_onnx(model, images)
    apart = np.concatenate([run_onnx(model, images[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(together[:3], apart, atol=1e-6)


def test_the_graph_is_clean(small_net, metadata):
    model = build_model(small_net, metadata, for_tensorrt("fp32"))
    assert model.opset_import[0].version == 18
    assert model.graph.node[0].op_type == "Cast", "TensorRT takes no other first operator on uint8"
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names) > 0
    assert {"conv1", "norm1", "pool1", "fc8"} <= set(names)
    assert operators(model).count("LRN") == 1
    assert "BatchNormalization" not in operators(model), "folded into conv2"
    assert not {"If", "Shape", "Dropout", "Identity"} & set(operators(model))


def test_two_exports_are_the_same_bytes(small_net, small_spec, tmp_path):
    for name in ("a.onnx", "b.onnx"):
        export_onnx(
            small_net, small_spec, list("abcde"), tmp_path / name, model_name="x", provenance={"b": 1, "a": 2}
        )
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_the_file_says_what_it_is(small_net, metadata):
    model = build_model(small_net, metadata)
    props = {prop.key: prop.value for prop in model.metadata_props}
    assert set(props) == {
        f"alexnet_fast.{key}"
        for key in ("classes", "preprocessing", "model", "crops", "version", "provenance")
    }
    assert GraphMetadata.from_props(props, "model.onnx") == metadata
    (images,), (probabilities,) = model.graph.input, model.graph.output
    assert (images.name, probabilities.name) == ("images", "probabilities")
    assert images.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert images.type.tensor_type.shape.dim[0].dim_param == "batch"


def test_the_net_stays_in_training(small_net, metadata):
    before = {name: tensor.clone() for name, tensor in small_net.state_dict().items()}
    build_model(small_net.train(), metadata)
    assert all(module.training for module in small_net.modules())
    assert all(torch.equal(before[name], tensor) for name, tensor in small_net.state_dict().items())


def test_batch_norm_away_from_weights_stays_a_node(small_spec, images, sharpen):
    torch.manual_seed(2)
    net = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 4, 3, 4),
            relu1=nn.ReLU(),
            bn1=nn.BatchNorm2d(4),
            flatten=nn.Flatten(),
            fc6=nn.Linear(4 * 8 * 8, 8),
            relu6=nn.ReLU(),
            bn6=nn.BatchNorm1d(8, affine=False),
            fc8=nn.Linear(8, 2),
        )
    )
    nn.init.uniform_(net.bn1.running_var, 0.2, 3)
    nn.init.uniform_(net.bn6.running_mean, -1, 3)
    sharpen(net, images, small_spec)
    model = build_model(net, _metadata(small_spec, 2))
    assert operators(model).count("BatchNormalization") == 2
    want = run_torch(net, images, small_spec, "ten")
    np.testing.assert_allclose(run_onnx(model, images), want, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("kernel", [2, 3, 5])
def test_same_padding_and_dilation(kernel, small_spec, images):
    torch.manual_seed(2)
    net = nn.Sequential(
        nn.Conv2d(3, 4, kernel, padding="same"),
        nn.Conv2d(4, 4, kernel, dilation=2),
        nn.MaxPool2d(4, 3, 1),
        nn.Identity(),
        nn.Flatten(),
        nn.LazyLinear(3),
    )
    want = run_torch(net, images, small_spec, "ten")
    np.testing.assert_allclose(run_onnx(build_model(net, _metadata(small_spec, 3)), images), want, atol=1e-6)


@pytest.mark.parametrize(("size", "beta", "k"), [(3, 0.75, 1.0), (5, 0.5, 2.0), (7, 1.0, 1.0)])
def test_lrn_with_other_constants(size, beta, k, small_spec, images, sharpen):
    torch.manual_seed(2)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2),
        nn.LocalResponseNorm(size, 0.1, beta, k),
        nn.Flatten(),
        nn.Linear(8 * 15 * 15, 3),
    )
    sharpen(net, images, small_spec)
    want = run_torch(net, images, small_spec, "ten")
    for lrn in ("conv", "slices", "op"):
        got = run_onnx(build_model(net, _metadata(small_spec, 3), GraphConfig(lrn=lrn)), images)
        np.testing.assert_allclose(got, want, atol=1e-5)


@torch.inference_mode()
def test_half_precision_is_right_where_activations_reach_a_thousand(small_net, metadata, images):
    crops = take_crops(torch.from_numpy(images), metadata.spec, "ten")
    before_lrn = small_net.eval()[:2]
    gain = 1000 / before_lrn(crops).max()
    small_net.conv1.weight.mul_(gain)
    small_net.conv1.bias.mul_(gain)
    small_net.fc8.weight.div_(small_net(crops).std(dim=0).mean() / 2)
    small_net.fc8.bias.sub_(small_net(crops).mean(dim=0))
    assert before_lrn(crops).max() > 999, "1000 squared overflows float16"
    model, images = build_model(small_net, metadata, for_tensorrt("fp16")), images[:4]
    # ONNX's own evaluator keeps float16 between nodes; onnxruntime on a CPU goes on in float32 by itself.
    (got,) = ReferenceEvaluator(model).run(["probabilities"], {"images": images})
    want = run_torch(small_net, images, metadata.spec, "ten")
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, atol=1e-2)
    assert (got.argmax(1) == want.argmax(1)).all()
    np.testing.assert_allclose(run_onnx(model, images), want, atol=1e-2)
    weights = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    assert weights["conv1.weight"] == weights["fc8.weight"] == onnx.TensorProto.FLOAT16
    assert weights["images.mean"] == onnx.TensorProto.FLOAT


def test_half_precision_refuses_weights_that_it_cannot_hold(small_net, metadata):
    with torch.no_grad():
        small_net.fc6.weight[0, 0] = 1e6
    with pytest.raises(UserError, match=r"weight of layer fc6 exceeds 65504.*use --precision fp32"):
        build_model(small_net, metadata, for_tensorrt("fp16"))


MISFITS = {
    "conv1 takes 5 channels but gets 3x43x43": ("conv1", nn.Conv2d(5, 3, 3)),
    "pool1 takes a map of at least 40x40": ("pool1", nn.MaxPool2d(40)),
    "fc1 takes 9 values but gets 3x32x32": ("fc1", nn.Linear(9, 9)),
    "two nodes .* called images/float": ("images/float", nn.ReLU()),
}


@pytest.mark.parametrize("message", MISFITS)
def test_a_layer_that_does_not_fit_is_named(message, small_spec):
    name, layer = MISFITS[message]
    net = nn.Sequential(OrderedDict([(name, layer), ("flatten", nn.Flatten()), ("fc8", nn.Linear(1, 2))]))
    with pytest.raises(UserError, match=message):
        build_model(net, _metadata(small_spec, 2))


def test_diverged_weights_are_refused(small_net, metadata):
    with torch.no_grad():
        small_net.fc6.bias[0] = float("nan")
    with pytest.raises(UserError, match="layer fc6 has weights that are not finite"):
        build_model(small_net, metadata)


def test_class_names_must_fit(small_net, small_spec):
    with pytest.raises(UserError, match="5 values for 4 class names"):
        build_model(small_net, _metadata(small_spec, 4))


def test_ten_crops_need_a_margin(small_net):
    with pytest.raises(UserError, match="ten crops need an image larger"):
        build_model(small_net, _metadata(AugmentSpec(resize=32, crop=32), 5))


def test_a_failed_export_leaves_the_old_file(small_net, small_spec, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"old")
    with pytest.raises(UserError):
        export_onnx(small_net, small_spec, ["one"], path, model_name="x", provenance={})
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_named(small_net, small_spec, tmp_path):
    path = tmp_path / "none" / "model.onnx"
    with pytest.raises(UserError, match=r"cannot write .*model\.onnx: no such file or directory"):
        export_onnx(small_net, small_spec, list("abcde"), Path(path), model_name="x", provenance={})


def _metadata(spec: AugmentSpec, classes: int) -> GraphMetadata:
    return GraphMetadata(
        classes=tuple(f"c{i}" for i in range(classes)),
        spec=spec,
        model="test",
        crops="ten",
        version="0",
        provenance={},
    )
