"""The whole export: all files or none, compared with PyTorch, and nobody's own files overwritten."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from alexnet_fast.errors import UserError
from alexnet_fast.export.config import ExportConfig
from alexnet_fast.export.export_images import ExportImages, VerificationImages
from alexnet_fast.export.exporter import run_export
from alexnet_fast.export.onnx.model import build_model, write_model
from alexnet_fast.export.verify import Verifier
from alexnet_fast.runtime.manifest import (
    FileStamp,
    Manifest,
    find_manifest,
    read_manifest,
    verify_manifest,
)
from alexnet_fast.runtime.onnx_runtime import OnnxModel
from alexnet_fast.runtime.versions import installed_version
from needs import needs_no_gpu, needs_rtx


@pytest.fixture
def export(small_net, metadata, images):
    def run(config, images=images, net=small_net, labels=None, calibration=None):
        verification = None if images is None else VerificationImages(nhwc_u8=images, labels=labels)
        given = ExportImages(verification=verification, calibration=calibration)
        return run_export(net, metadata.spec, metadata.classes, "small", {"epoch": 3}, given, config)

    return run


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_onnx_alone(export, tmp_path):
    result = export(ExportConfig(output=tmp_path / "new" / "folder", verify=True))
    assert names(tmp_path / "new" / "folder") == ["manifest.json", "model.onnx"]
    assert (result["engine"], result["ran_on_gpu"]) == (None, False)
    assert result["manifest"] == str(tmp_path / "new" / "folder" / "manifest.json")
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
    assert len(notes) == 2
    assert any("model.engine was kept from an earlier export" in note for note in notes)
    verify_manifest(tmp_path / "model.engine")


@needs_rtx
def test_an_engine_of_other_weights_is_no_longer_loaded(export, small_net, tmp_path):
    export(ExportConfig(output=tmp_path, trt=True, gpu_archs=("86",)))
    with torch.no_grad():
        small_net.fc8.bias[2] += 0.5
    notes = export(ExportConfig(output=tmp_path))["notes"]
    assert any(
        "model.engine was kept from an earlier export" in n and "will not be loaded" in n for n in notes
    )
    with pytest.raises(UserError, match="lists only an ONNX file, not an engine; build it again"):
        verify_manifest(tmp_path / "model.engine")
    OnnxModel(tmp_path / "model.onnx")


@needs_rtx
def test_the_manifest_of_an_engine_lists_both_onnx_files(export, tmp_path):
    export(ExportConfig(output=tmp_path, trt=True, gpu_archs=("86",)))
    manifest = read_manifest(tmp_path / "manifest.json")
    assert {stamp.file for stamp in manifest.stamps} == {"model.engine", "model.onnx", "model.tensorrt.onnx"}
    assert all(stamp == FileStamp.of(tmp_path / stamp.file) for stamp in manifest.stamps)


def test_the_manifest_of_an_onnx_file(export, tmp_path):
    export(ExportConfig(output=tmp_path, crops="five", extras=("logits",), top=2))
    manifest = find_manifest(tmp_path / "manifest.json")
    assert not isinstance(manifest, Manifest)
    assert manifest.stamps == (FileStamp.of(tmp_path / "model.onnx"),)
    assert (manifest.precision, manifest.crops, manifest.classes) == ("fp32", "five", 5)
    assert [(t.name, t.dtype, t.shape) for t in (*manifest.inputs, *manifest.outputs)] == [
        ("images", "uint8", (-1, 43, 43, 3)),
        ("probabilities", "float", (-1, 5)),
        ("logits", "float", (-1, 5)),
        ("top_classes", "int64", (-1, 2)),
        ("top_probabilities", "float", (-1, 2)),
    ]


def test_a_file_that_its_manifest_does_not_describe_is_not_loaded(export, metadata, tmp_path):
    export(ExportConfig(output=tmp_path))
    export(ExportConfig(output=tmp_path / "other", crops="single"))
    shutil.copy(tmp_path / "other" / "model.onnx", tmp_path / "model.onnx")
    with pytest.raises(UserError, match=r"model\.onnx has \d+ bytes, its manifest says \d+; export it again"):
        OnnxModel(tmp_path / "model.onnx")
    shutil.copy(tmp_path / "model.onnx", tmp_path / "unknown.onnx")
    OnnxModel(tmp_path / "unknown.onnx")
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(UserError, match=r"manifest\.json is not JSON; export it again"):
        OnnxModel(tmp_path / "model.onnx")
    (tmp_path / "manifest.json").write_text('{"name": "a web application"}')
    OnnxModel(tmp_path / "model.onnx")


def accuracies(result):
    return {row["name"]: dict(row) for row in result["accuracy"]}


def test_int8_is_measured_beside_pytorch(export, images, tmp_path):
    labels = np.arange(11) % 5
    result = export(
        ExportConfig(output=tmp_path, precision="int8", verify=True), labels=labels, calibration=images
    )
    rows = accuracies(result)
    assert list(rows) == ["PyTorch", "model.onnx"]
    assert (result["precision"], result["calibration_images"]) == ("int8", 11)
    assert 0 < rows["model.onnx"]["p99_abs_error"] < 0.2
    assert rows["model.onnx"]["backend"].startswith("onnxruntime CPUExecutionProvider")
    answers = OnnxModel(tmp_path / "model.onnx").run(images)
    assert rows["model.onnx"]["top1"] == (answers.argmax(1) == labels).mean()
    assert rows["PyTorch"]["max_abs_error"] == 0
    manifest = find_manifest(tmp_path / "manifest.json")
    assert manifest.precision == "int8"
    assert manifest.accuracy == result["accuracy"]


def test_int8_needs_images(export, images, tmp_path):
    with pytest.raises(UserError, match="int8 needs images to calibrate on; .*--calibration-data"):
        export(ExportConfig(output=tmp_path, precision="int8"))
    with pytest.raises(UserError, match="no images to calibrate int8 on"):
        export(ExportConfig(output=tmp_path, precision="int8"), calibration=images[:0])
    assert names(tmp_path) == []


@needs_rtx
@needs_no_gpu
@pytest.mark.parametrize("precision", ["tf32", "fp16", "bf16", "int8"])
def test_what_cannot_run_here_gets_a_reason_and_no_number(export, images, tmp_path, precision):
    config = ExportConfig(output=tmp_path, trt=True, gpu_archs=("86",), precision=precision)
    result = export(config, calibration=images if precision == "int8" else None)
    rows = accuracies(result)
    engine = rows["model.engine"]
    assert "NVIDIA's driver" in engine.pop("not_measured")
    assert engine.pop("precision") == precision
    assert set(engine.values()) == {"model.engine", None, 0}
    built_from = rows["model.tensorrt.onnx"]
    if precision == "bf16":
        assert "no bfloat16 convolution" in built_from["not_measured"]
        assert built_from["p99_abs_error"] is None
    else:
        assert built_from["precision"] == ("fp32" if precision == "tf32" else precision)
        assert built_from["p99_abs_error"] < (0.2 if precision == "int8" else 1e-2)
    manifest = read_manifest(tmp_path / "manifest.json")
    assert manifest.precision == precision
    assert manifest.accuracy == result["accuracy"]


@pytest.mark.parametrize("name", ["model.onnx", "model.engine", "manifest.json", "model.tensorrt.onnx"])
def test_a_file_that_no_export_wrote_is_not_replaced(export, tmp_path, name):
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
        export(ExportConfig(output=tmp_path, verify=True), images=np.zeros((2, 9, 9, 3), np.uint8))
    with pytest.raises(UserError, match="off, more than 0, on 11 real images; nothing was written"):
        export(ExportConfig(output=tmp_path, tolerance=0))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_options_that_contradict_each_other(export, tmp_path):
    with pytest.raises(UserError, match="--precision fp16 is for the engine"):
        ExportConfig(output=tmp_path, precision="fp16")
    with pytest.raises(UserError, match="--gpu-arch is for the engine"):
        ExportConfig(output=tmp_path, gpu_archs=("86",))
    with pytest.raises(UserError, match="--verify needs images"):
        export(ExportConfig(output=tmp_path, verify=True), images=None)
    with pytest.raises(UserError, match="no images to verify"):
        export(ExportConfig(output=tmp_path, verify=True), images=np.zeros((0, 43, 43, 3), np.uint8))


def test_an_output_folder_that_is_a_file_is_refused(export, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"the folder .*file cannot be made \(file exists\)"):
        export(ExportConfig(output=tmp_path / "file"))
    (tmp_path / "model.onnx").mkdir()
    with pytest.raises(UserError, match=r"model\.onnx is a folder"):
        export(ExportConfig(output=tmp_path, force=True))


def test_verification_notices_another_network(small_net, metadata, images, tmp_path):
    path = tmp_path / "model.onnx"
    write_model(build_model(small_net, metadata), path)
    sample = VerificationImages(nhwc_u8=images)
    row = Verifier(small_net.train(), metadata.spec, sample, "ten").add_onnx(path, "fp32")
    assert row.max_abs_error <= 1e-5
    assert row.images == 11
    assert small_net.training, "verifying changes nothing"
    with torch.no_grad():
        small_net.fc8.bias[2] += 0.5
    other = Verifier(small_net, metadata.spec, sample, "ten")
    with pytest.raises(UserError, match=r"a probability is 0\.\d+ off"):
        other.add_onnx(path, "fp32")


def test_the_files_have_the_usual_mode(export, tmp_path):
    export(ExportConfig(output=tmp_path))
    (tmp_path / "usual").write_text("")
    assert (tmp_path / "model.onnx").stat().st_mode == (tmp_path / "usual").stat().st_mode
