"""`OnnxModel` runs an exported file, refuses every other, and says what really runs."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import onnxruntime
import pytest

from alexnet_fast.errors import UserError
from alexnet_fast.export.onnx.model import build_model, serialize, write_model
from alexnet_fast.runtime.manifest import FileStamp, OnnxManifest, write_manifest
from alexnet_fast.runtime.onnx_runtime import OnnxModel
from needs import needs_no_gpu


@pytest.fixture
def model_file(small_net, metadata, tmp_path):
    path = tmp_path / "model.onnx"
    write_model(build_model(small_net, metadata), path)
    return path


def test_it_describes_itself(model_file, metadata):
    model = OnnxModel(model_file, threads=1)
    assert (model.classes, model.spec, model.crops) == (metadata.classes, metadata.spec, "ten")
    assert model.metadata == metadata
    assert model.backend == f"onnxruntime CPUExecutionProvider {onnxruntime.__version__}"


def test_probabilities_of_any_number_of_images(model_file, images):
    model = OnnxModel(model_file, threads=1)
    assert model.run(images[:0]).shape == (0, 5)
    got = model.run(images)
    assert got.shape == (11, 5)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got.sum(axis=1), 1, atol=1e-6)
    reversed_view = images[::-1]
    np.testing.assert_allclose(model.run(reversed_view), got[::-1], atol=1e-6)


def test_threads_may_share_a_model(model_file, images):
    model = OnnxModel(model_file, threads=1)
    want = model.run(images)
    with ThreadPoolExecutor(4) as pool:
        for got in pool.map(model.run, [images] * 12):
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p.astype(np.float32), "must be uint8, not float32"),
        (lambda p: p[0], r"must have the shape \(N, 43, 43, 3\), not \(43, 43, 3\)"),
        (lambda p: p[:, :32, :32], r"not \(11, 32, 32, 3\)"),
        (lambda p: p.transpose(0, 3, 1, 2), r"not \(11, 3, 43, 43\)"),
        (lambda p: p.tolist(), "must be a numpy array, not list"),
    ],
)
def test_other_arrays_are_refused(model_file, images, make, message):
    with pytest.raises(UserError, match=message):
        OnnxModel(model_file).run(make(images))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"there is no file .*none\.onnx"):
        OnnxModel(tmp_path / "none.onnx")
    with pytest.raises(UserError, match="there is no file"):
        OnnxModel(tmp_path)


@pytest.mark.parametrize("contents", [b"", b"no ONNX at all", b"\x08\x08\x12\x0calexnet-fast"])
def test_a_file_that_is_no_onnx(tmp_path, contents):
    path = tmp_path / "odd.onnx"
    path.write_bytes(contents)
    with pytest.raises(UserError, match=r"odd\.onnx is not an ONNX file"):
        OnnxModel(path)


def test_half_a_file(model_file):
    model_file.write_bytes(model_file.read_bytes()[:20_000])
    with pytest.raises(UserError, match=r"model\.onnx is not an ONNX file"):
        OnnxModel(model_file)


@pytest.mark.parametrize("place", [0, 30_000, -1], ids=["first", "a weight", "last"])
def test_one_changed_byte_is_noticed_by_the_manifest(model_file, metadata, place):
    """onnxruntime itself would load the changed weight, and answer wrongly."""
    manifest = OnnxManifest(
        onnx=FileStamp.of(model_file),
        precision="fp32",
        inputs=(),
        outputs=(),
        classes=5,
        crops="ten",
        metadata=metadata.to_props(),
    )
    write_manifest(manifest, model_file)
    contents = bytearray(model_file.read_bytes())
    contents[place] ^= 1
    model_file.write_bytes(contents)
    with pytest.raises(UserError, match=r"model\.onnx has the SHA-256 [0-9a-f]{12}…, its manifest says"):
        OnnxModel(model_file)


def test_a_file_that_another_tool_has_rewritten_is_loaded_without_its_manifest(model_file, images):
    want = OnnxModel(model_file).run(images)
    model = onnx.load(model_file)
    model.doc_string = "rewritten"
    onnx.save(model, model_file)
    np.testing.assert_array_equal(OnnxModel(model_file).run(images), want)


def test_a_graph_that_contradicts_itself(small_net, metadata, tmp_path, images):
    model = build_model(small_net, metadata)
    conv2 = next(node for node in model.graph.node if node.name == "conv2")
    next(attribute for attribute in conv2.attribute if attribute.name == "group").i = 3
    path = tmp_path / "odd.onnx"
    path.write_bytes(serialize(model))
    with pytest.raises(UserError, match=r"onnxruntime cannot (load|run) .*odd\.onnx"):
        OnnxModel(path).run(images)


def test_an_onnx_file_of_another_program_is_refused(small_net, metadata, tmp_path):
    model = build_model(small_net, metadata)
    del model.metadata_props[:]
    path = tmp_path / "other.onnx"
    path.write_bytes(serialize(model))
    with pytest.raises(UserError, match=r"without the metadata alexnet_fast\.classes"):
        OnnxModel(path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("classes", "[1, 2]", "is damaged"),
        ("classes", '["a", "b"]', "not those that its metadata describe"),
        ("crops", "twelve", "is damaged"),
        ("preprocessing", '{"resize": 43}', "is damaged .*preprocessing description"),
        ("provenance", "{", "is damaged"),
        ("preprocessing", "7", "is damaged"),
        ("preprocessing", '"text"', "is damaged"),
        ("classes", "[" * 100_000, "is damaged"),
    ],
)
def test_metadata_that_do_not_hold(small_net, metadata, tmp_path, key, value, message):
    model = build_model(small_net, metadata)
    props = {prop.key: prop.value for prop in model.metadata_props}
    onnx.helper.set_model_props(model, {**props, f"alexnet_fast.{key}": value})
    path = tmp_path / "odd.onnx"
    path.write_bytes(serialize(model))
    with pytest.raises(UserError, match=message):
        OnnxModel(path)


@needs_no_gpu
@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
class TestWithoutGpu:
    def test_asking_for_it_fails(self, model_file, provider):
        with pytest.raises(
            UserError, match=r"(CUDA|Tensorrt)ExecutionProvider is unavailable; .*would use CPUExecution"
        ):
            OnnxModel(model_file, providers=(provider,))

    def test_an_allowed_fallback_is_a_warning(self, model_file, provider, images, caplog, capsys):
        model = OnnxModel(model_file, providers=(provider, "cpu"), allow_fallback=True)
        assert "is unavailable; CPUExecutionProvider runs the model" in caplog.text
        assert "CPUExecutionProvider" in model.backend
        assert len(model.run(images)) == len(images)
        assert capsys.readouterr().out == "", "stdout belongs to --json"


@pytest.mark.gpu
def test_cuda_runs_it_where_it_is(model_file, images):
    try:
        model = OnnxModel(model_file, providers=("cuda",))
    except UserError as error:
        pytest.skip(f"onnxruntime cannot use this GPU: {error}")
    assert "CUDAExecutionProvider" in model.backend
    np.testing.assert_allclose(model.run(images), OnnxModel(model_file).run(images), atol=1e-3)


def test_an_unknown_provider_is_bad_usage(model_file):
    with pytest.raises(UserError, match="no provider 'gpu'; choose from cpu, cuda, tensorrt") as caught:
        OnnxModel(model_file, providers=("gpu",))
    assert caught.value.exit_code == 2


def test_serving_needs_neither_torch_nor_dali_and_says_nothing(model_file):
    code = f"""
import sys, numpy
from alexnet_fast.runtime.manifest import FileStamp, OnnxManifest, write_manifest
from alexnet_fast.runtime.onnx_runtime import OnnxModel
model = OnnxModel({str(model_file)!r})
model.run(numpy.zeros((1, 43, 43, 3), numpy.uint8))
heavy = {{"torch", "nvidia.dali", "onnx", "tensorrt_rtx"}} & set(sys.modules)
assert not heavy, heavy
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_memory_can_be_given_back(model_file, images):
    model = OnnxModel(model_file, threads=1)
    want = model.run(images)
    model.release_memory()
    np.testing.assert_array_equal(model.run(images), want)
