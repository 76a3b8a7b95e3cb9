"""The whole export: all files or none, compared with PyTorch, and nobody's own files overwritten."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from alexnet_fast.errors import UserError
from alexnet_fast.export.export_config import ExportConfig
from alexnet_fast.export.job import run_export
from alexnet_fast.export.manifest import verify_manifest
from alexnet_fast.export.onnx_graph import build_model, write_model
from alexnet_fast.export.trt_library import installed_version
from alexnet_fast.export.verify import verify_onnx
from alexnet_fast.serve.onnx_model import OnnxModel

needs_rtx = pytest.mark.skipif(
    installed_version("tensorrt_rtx") is None, reason="needs pip install 'alexnet-fast[rtx]'"
)


@pytest.fixture
def export(small_net, metadata, pictures):
    def run(config, pictures=pictures, net=small_net):
        return run_export(net, metadata.spec, metadata.classes, "small", {"epoch": 3}, pictures, config)

    return run


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_onnx_alone(export, tmp_path):
    result = export(ExportConfig(output=tmp_path / "new" / "folder", verify=True))
    assert names(tmp_path / "new" / "folder") == ["model.onnx"]
    assert (result["engine"], result["manifest"], result["ran_on_gpu"]) == (None, None, False)
    assert result["verified"]["max_abs_error"] <= 1e-5
    assert result["verified"]["p99_abs_error"] <= result["verified"]["max_abs_error"]
    assert result["verified"]["top1_agreement"] == 1
    assert result["verified"]["images"] == 11
    assert result["verified"]["backend"].startswith("onnxruntime CPUExecutionProvider")
    assert json.loads(json.dumps(result)) == result
    assert OnnxModel(result["onnx"]).metadata.provenance == {"epoch": 3}


@needs_rtx
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_with_an_engine(export, tmp_path, precision):
    config = ExportConfig(output=tmp_path, trt=True, gpu_archs=("86", "89"), precision=precision, verify=True)
    result = export(config)
    assert names(tmp_path) == ["manifest.json", "model.engine", "model.onnx", "model.tensorrt.onnx"]
    assert result["ran_on_gpu"] is False, "it was only built"
    assert result["library"] == "tensorrt_rtx"
    assert result["compute_capabilities"] == ["8.6", "8.9"]
    assert result["verified"]["max_abs_error"] <= 1e-5
    assert result["engine_onnx_verified"]["max_abs_error"] <= (1e-5 if precision == "fp32" else 1e-2)
    assert verify_manifest(tmp_path / "model.engine").onnx.file == "model.tensorrt.onnx"
    assert json.loads(json.dumps(result)) == result


@needs_rtx
def test_a_net_without_lrn_needs_one_file_only(export, small_net, tmp_path):
    del small_net.norm1
    export(ExportConfig(output=tmp_path, trt=True, gpu_archs=("86",)))
    assert names(tmp_path) == ["manifest.json", "model.engine", "model.onnx"]
    assert verify_manifest(tmp_path / "model.engine").onnx.file == "model.onnx"


@needs_rtx
def test_an_export_may_replace_an_export(export, tmp_path):
    config = ExportConfig(output=tmp_path, trt=True, gpu_archs=("86",))
    assert export(config)["notes"] == []
    assert export(config)["notes"] == []
    notes = export(ExportConfig(output=tmp_path))["notes"]
    assert len(notes) == 3
    assert any("model.engine is of an earlier export" in note for note in notes)


@pytest.mark.parametrize("name", ["model.onnx", "model.engine", "manifest.json", "model.tensorrt.onnx"])
def test_somebodys_own_file_is_not_replaced(export, tmp_path, name):
    own = tmp_path / name
    own.write_text('{"name": "mine"}')
    if installed_version("tensorrt_rtx") is None and name != "model.onnx":
        pytest.skip("needs tensorrt-rtx")
    trt = name != "model.onnx"
    with pytest.raises(UserError, match=rf"{name} exists and was not written by an export; .*--force"):
        export(ExportConfig(output=tmp_path, trt=trt))
    assert own.read_text() == '{"name": "mine"}'
    export(ExportConfig(output=tmp_path, trt=trt, gpu_archs=("86",) if trt else None, force=True))
    assert (tmp_path / "model.onnx").stat().st_size > 10_000


@needs_rtx
def test_a_failure_leaves_everything_as_it_was(export, tmp_path):
    export(ExportConfig(output=tmp_path, trt=True, gpu_archs=("86",)))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UserError, match="FP32 GEMM"):
        export(ExportConfig(output=tmp_path, trt=True, gpu_archs=("75",)))
    with pytest.raises(UserError, match="--gpu-arch 90"):
        export(ExportConfig(output=tmp_path, trt=True, gpu_archs=("90",)))
    with pytest.raises(UserError, match=r"must have the shape"):
        export(ExportConfig(output=tmp_path, verify=True), pictures=np.zeros((2, 9, 9, 3), np.uint8))
    with pytest.raises(UserError, match="more than 0; nothing was written"):
        export(ExportConfig(output=tmp_path, verify=True, tolerance=0))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_options_that_contradict_each_other(export, tmp_path):
    with pytest.raises(UserError, match="--precision fp16 is for the engine"):
        ExportConfig(output=tmp_path, precision="fp16")
    with pytest.raises(UserError, match="--gpu-arch is for the engine"):
        ExportConfig(output=tmp_path, gpu_archs=("86",))
    with pytest.raises(UserError, match="--verify needs pictures"):
        export(ExportConfig(output=tmp_path, verify=True), pictures=None)
    with pytest.raises(UserError, match="no pictures to verify"):
        export(ExportConfig(output=tmp_path, verify=True), pictures=np.zeros((0, 43, 43, 3), np.uint8))


def test_an_output_that_is_a_file(export, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"the folder .*file cannot be made \(File exists\)"):
        export(ExportConfig(output=tmp_path / "file"))
    (tmp_path / "model.onnx").mkdir()
    with pytest.raises(UserError, match=r"model\.onnx is a folder"):
        export(ExportConfig(output=tmp_path, force=True))


def test_verification_notices_another_network(small_net, metadata, pictures, tmp_path):
    path = tmp_path / "model.onnx"
    write_model(build_model(small_net, metadata), path)
    same = verify_onnx(path, small_net.train(), metadata.spec, pictures, "ten")
    assert same.max_abs_error <= 1e-5
    assert small_net.training, "verifying changes nothing"
    with torch.no_grad():
        small_net.fc8.bias[2] += 0.5
    other = verify_onnx(path, small_net, metadata.spec, pictures, "ten")
    assert other.max_abs_error > 0.01
    assert other.images == 11


def test_the_files_have_the_usual_mode(export, tmp_path):
    export(ExportConfig(output=tmp_path))
    (tmp_path / "usual").write_text("")
    assert (tmp_path / "model.onnx").stat().st_mode == (tmp_path / "usual").stat().st_mode
