"""Any classifier gets the ten crops around it, or a sentence that names what stands in the way."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from alexnet_fast.errors import UserError
from alexnet_fast.export.torch_export import export_ten_crop
from alexnet_fast.pipelines.spec import IMAGENET_MEAN, AugmentSpec
from alexnet_fast.pipelines.ten_crop import crop_probabilities
from alexnet_fast.runtime.onnx_runtime import OnnxModel

pytest.importorskip("onnxscript")


class Residual(nn.Module):
    """No sequence of layers: a sum, a concatenation, a pooling over everything."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, 2, 1)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 8, 3, 1, 1)
        self.head = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.first(x)).relu()
        x = torch.cat([x + self.second(x), x], 1)
        return self.head(x.mean((2, 3)))


class Branching(Residual):
    def forward(self, x):
        if x.mean() > 0:
            x = x + 1
        return super().forward(x)


class Exotic(Residual):
    def forward(self, x):
        return torch.linalg.svdvals(super().forward(x)[:, :, None]).repeat(1, 5)


def test_a_network_that_is_not_sequential(small_spec, images, tmp_path):
    torch.manual_seed(0)
    net = Residual().train()
    path = export_ten_crop(net, small_spec, list("abcde"), tmp_path / "any.onnx", provenance={"run": 1})
    model = OnnxModel(path)
    assert (model.metadata.model, model.crops, model.classes) == ("Residual", "ten", tuple("abcde"))
    assert net.training, "exporting changes nothing"
    with torch.no_grad():
        want = crop_probabilities(net.eval(), torch.from_numpy(images), small_spec, "ten").numpy()
    np.testing.assert_allclose(model.run(images), want, atol=1e-6)
    np.testing.assert_allclose(model.run(images[:1]), want[:1], atol=1e-6)


def test_the_file_names_no_path_and_comes_out_the_same_twice(small_spec, tmp_path):
    torch.manual_seed(0)
    net = Residual()
    for name in ("a.onnx", "b.onnx"):
        export_ten_crop(net, small_spec, list("abcde"), tmp_path / name, crops="single")
    contents = (tmp_path / "a.onnx").read_bytes()
    assert contents == (tmp_path / "b.onnx").read_bytes()
    assert b"/" + b"tests" not in contents
    assert b".py" not in contents
    assert onnx.load_from_string(contents).opset_import[0].version == 18


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (
            nn.Sequential(nn.Identity(), Exotic()),
            r"^layer 1 \(Exotic\) has an operation without an ONNX form: aten\.\w*svd",
        ),
        (
            nn.Sequential(nn.Identity(), Branching()),
            r"^layer 1 \(Branching\) cannot be traced at `if x\.mean\(\) > 0:`",
        ),
        (nn.Sequential(nn.GELU(), nn.Conv2d(7, 3, 3)), r"^layer 1 \(Conv2d\) fails on crops of 3x32x32 .*7"),
        (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), "answers with 3 values for 5 class names"),
    ],
)
def test_an_unsupported_network_is_refused_and_leaves_no_file(net, message, small_spec, tmp_path):
    with pytest.raises(UserError, match=message):
        export_ten_crop(net, small_spec, list("abcde"), tmp_path / "any.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_random_answer_is_noticed(small_spec, tmp_path):
    class Chance(Residual):
        def forward(self, x):
            return super().forward(x) + torch.rand(x.shape[0], 5)

    with pytest.raises(
        UserError, match="nothing was written; the network itself answers differently each time"
    ):
        export_ten_crop(Chance(), small_spec, list("abcde"), tmp_path / "any.onnx")
    assert list(tmp_path.iterdir()) == []


def test_mean_and_std_are_not_guessed(small_spec, tmp_path):
    """The paper's scale is no default for somebody else's network."""
    with pytest.raises(UserError, match="does not say with which mean and std the network was trained"):
        export_ten_crop(Residual(), AugmentSpec(resize=43, crop=32), list("abcde"), tmp_path / "any.onnx")
    assert not AugmentSpec(resize=43, crop=32, std=(1.0, 1.0, 1.0)).says_normalisation
    paper = AugmentSpec(mean=IMAGENET_MEAN, std=(1.0, 1.0, 1.0))
    assert paper.says_normalisation
    assert paper == AugmentSpec()
    assert not dataclasses.replace(AugmentSpec(), crop=200).says_normalisation
    assert AugmentSpec.from_dict(AugmentSpec().to_dict()).says_normalisation, "a run has used what it says"
