"""Engines are really built, with TensorRT-RTX, for GPUs that need not be there."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict

import pytest
import torch
from torch import nn

from alexnet_fast.errors import UserError
from alexnet_fast.export.config import EngineConfig, for_tensorrt
from alexnet_fast.export.onnx.model import build_model, serialize, write_model
from alexnet_fast.export.tensorrt import library as trt_library
from alexnet_fast.export.tensorrt.engine import build_engine
from alexnet_fast.export.tensorrt.library import choose_library
from alexnet_fast.models import create_model
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.runtime.manifest import BatchProfile, FileStamp, verify_manifest
from alexnet_fast.runtime.metadata import GraphMetadata
from alexnet_fast.runtime.versions import installed_version
from alexnet_fast.utils.ranges import OPTION_RANGES, whole
from needs import needs_rtx


def write(net, metadata, directory, precision="fp32"):
    path = directory / "model.tensorrt.onnx"
    write_model(build_model(net, metadata, for_tensorrt(precision)), path)
    return path


@needs_rtx
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_an_engine_with_its_manifest(small_net, metadata, tmp_path, precision):
    source, engine = write(small_net, metadata, tmp_path, precision), tmp_path / "model.engine"
    batch = BatchProfile(min=1, opt=4, max=16)
    built = build_engine(
        source, engine, choose_library(["86", "8.9", "120"]), EngineConfig(profiles=(batch,))
    )
    assert built.engine == engine
    assert engine.read_bytes()[:4] != b"\0\0\0\0"
    manifest = verify_manifest(engine)
    assert manifest == built.manifest
    assert (manifest.library, manifest.library_version) == ("tensorrt_rtx", installed_version("tensorrt_rtx"))
    assert manifest.compute_capabilities == ("8.6", "8.9", "12.0")
    assert (manifest.precision, manifest.batch) == (precision, batch)
    assert manifest.onnx == FileStamp.of(source)
    (images,), (probabilities,) = manifest.inputs, manifest.outputs
    assert (images.name, images.dtype, images.shape) == ("images", "uint8", (-1, 43, 43, 3))
    assert (probabilities.name, probabilities.shape) == ("probabilities", (-1, 5))
    assert (manifest.classes, manifest.crops) == (5, "ten")


@needs_rtx
@pytest.mark.parametrize("arch", ["80", "86", "89", "120"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_every_default_architecture_in_both_precisions(small_net, metadata, tmp_path, arch, precision):
    source = write(small_net, metadata, tmp_path, precision)
    built = build_engine(source, tmp_path / "model.engine", choose_library([arch]), EngineConfig())
    assert built.manifest.engine.bytes > 10_000


@needs_rtx
@pytest.mark.parametrize("crops", ["single", "ten"])
def test_alexnet_bn_with_a_batch_norm_that_stays(crops, small_spec, tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 8, 3, 4),
            relu1=nn.ReLU(),
            bn1=nn.BatchNorm2d(8),
            flatten=nn.Flatten(),
            fc6=nn.Linear(8 * 8 * 8, 8),
            relu6=nn.ReLU(),
            bn6=nn.BatchNorm1d(8),
            fc8=nn.Linear(8, 2),
        )
    )
    metadata = GraphMetadata(
        classes=("a", "b"), spec=small_spec, model="x", crops=crops, version="0", provenance={}
    )
    source = write(net, metadata, tmp_path)
    built = build_engine(source, tmp_path / "model.engine", choose_library(["86"]), EngineConfig())
    assert built.manifest.crops == crops


@needs_rtx
def test_alexnet_itself_for_four_architectures(tmp_path):
    net = create_model("alexnet", 10)
    metadata = GraphMetadata(
        classes=tuple("abcdefghij"),
        spec=AugmentSpec(),
        model="alexnet",
        crops="ten",
        version="0",
        provenance={},
    )
    source = write(net, metadata, tmp_path, "fp16")
    built = build_engine(source, tmp_path / "model.engine", choose_library(), EngineConfig())
    assert built.manifest.compute_capabilities == ("8.0", "8.6", "8.9", "12.0")
    assert built.manifest.engine.bytes > 100e6, "57 million weights of two bytes"


@needs_rtx
def test_progress_names_phases_and_steps(small_net, metadata, tmp_path):
    seen = []
    build_engine(
        write(small_net, metadata, tmp_path),
        tmp_path / "model.engine",
        choose_library(["86"]),
        EngineConfig(),
        progress=lambda *step: seen.append(step),
    )
    assert "Building engine" in {phase for phase, _, _ in seen}
    assert len({phase for phase, _, _ in seen}) > 1, "phases within phases"
    for wanted in {phase for phase, _, _ in seen}:
        steps = [(step, most) for phase, step, most in seen if phase == wanted]
        assert all(1 <= step <= most for step, most in steps)


@needs_rtx
def test_progress_can_cancel(small_net, metadata, tmp_path):
    source, engine = write(small_net, metadata, tmp_path), tmp_path / "model.engine"
    with pytest.raises(UserError, match=r"engine for model\.tensorrt\.onnx was not built: cancelled"):
        build_engine(source, engine, choose_library(["86"]), EngineConfig(), progress=lambda *_: False)
    assert not engine.exists()


@needs_rtx
def test_control_c_during_the_build_arrives(small_net, metadata, tmp_path):
    def interrupted(*_):
        raise KeyboardInterrupt

    source, engine = write(small_net, metadata, tmp_path), tmp_path / "model.engine"
    with pytest.raises(KeyboardInterrupt):
        build_engine(source, engine, choose_library(["86"]), EngineConfig(), progress=interrupted)
    assert not engine.exists()


@needs_rtx
def test_a_node_that_tensorrt_refuses_is_named(small_net, metadata, tmp_path):
    model = build_model(small_net, metadata, for_tensorrt("fp32"))
    node = next(node for node in model.graph.node if node.op_type == "LRN")
    next(attribute for attribute in node.attribute if attribute.name == "size").i = 17
    source = tmp_path / "odd.onnx"
    source.write_bytes(serialize(model))
    with pytest.raises(UserError, match=r"TensorRT does not support node norm1 \(LRN\) of odd\.onnx"):
        build_engine(source, tmp_path / "model.engine", choose_library(["86"]), EngineConfig())


@needs_rtx
def test_a_build_that_fails_gives_tensorrts_reason(small_net, metadata, tmp_path):
    source, engine = write(small_net, metadata, tmp_path), tmp_path / "model.engine"
    with pytest.raises(UserError, match=r"cannot build an engine .*FP32 GEMM is not supported"):
        build_engine(source, engine, choose_library(["75"]), EngineConfig())
    assert sorted(path.name for path in tmp_path.iterdir()) == [source.name]


@needs_rtx
def test_the_workspace_is_a_limit(small_net, metadata, tmp_path):
    source, engine = write(small_net, metadata, tmp_path), tmp_path / "model.engine"
    config = EngineConfig(profiles=(BatchProfile(min=1, opt=64, max=1024),), workspace_mib=1)
    with pytest.raises(UserError, match="a larger workspace"):
        build_engine(source, engine, choose_library(["86"]), config)
    build_engine(source, engine, choose_library(["86"]), dataclasses.replace(config, workspace_mib=4096))


@needs_rtx
def test_a_file_that_is_no_onnx(tmp_path):
    source = tmp_path / "odd.onnx"
    source.write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match=r"odd\.onnx is not an ONNX file"):
        build_engine(source, tmp_path / "model.engine", choose_library(["86"]), EngineConfig())


@needs_rtx
def test_an_onnx_file_of_another_program_is_refused(small_net, metadata, tmp_path):
    model = build_model(small_net, metadata)
    del model.metadata_props[:]
    (tmp_path / "other.onnx").write_bytes(serialize(model))
    with pytest.raises(UserError, match=r"other\.onnx is an ONNX file without the metadata"):
        build_engine(tmp_path / "other.onnx", tmp_path / "x.engine", choose_library(["86"]), EngineConfig())


@needs_rtx
def test_a_damaged_engine_is_refused(small_net, metadata, tmp_path):
    engine = tmp_path / "model.engine"
    build_engine(write(small_net, metadata, tmp_path), engine, choose_library(["86"]), EngineConfig())
    contents = bytearray(engine.read_bytes())
    contents[len(contents) // 2] ^= 0x10
    engine.write_bytes(contents)
    with pytest.raises(UserError, match="SHA-256"):
        verify_manifest(engine)
    engine.write_bytes(bytes(contents[: len(contents) // 2]) + b"\0" * 7)
    with pytest.raises(UserError, match="bytes, its manifest says"):
        verify_manifest(engine)


@needs_rtx
@pytest.mark.parametrize("arch", ["90", "abc", ""])
def test_an_unknown_architecture_lists_the_known(arch):
    with pytest.raises(
        UserError, match=rf"--gpu-arch {arch} is not supported .*choose from .*80, 86"
    ) as caught:
        choose_library(["86", arch])
    assert caught.value.exit_code == 2


def test_no_tensorrt_says_what_to_install(monkeypatch):
    monkeypatch.setattr(trt_library.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'alexnet-fast\[rtx\]'"):
        choose_library()


@needs_rtx
def test_several_profiles_and_a_level(small_net, metadata, tmp_path):
    source, engine = write(small_net, metadata, tmp_path), tmp_path / "model.engine"
    profiles = (BatchProfile(min=1, opt=1, max=4), BatchProfile(min=5, opt=16, max=32))
    build_engine(source, engine, choose_library(["86"]), EngineConfig(profiles=profiles, level=0))
    manifest = verify_manifest(engine)
    assert (manifest.batch, manifest.profiles) == (profiles[0], profiles)
    two = engine.stat().st_size
    build_engine(source, engine, choose_library(["86"]), EngineConfig(profiles=profiles[:1], level=0))
    assert verify_manifest(engine).profiles == ()
    assert engine.stat().st_size != two, "a second set of kernels"


@needs_rtx
def test_the_reported_memory_is_that_of_the_largest_profile(small_net, metadata, tmp_path):
    source, engine = write(small_net, metadata, tmp_path), tmp_path / "model.engine"

    def scratch(*sizes):
        profiles = tuple(BatchProfile(min=1, opt=size, max=size) for size in sizes)
        config = EngineConfig(profiles=profiles)
        return build_engine(source, engine, choose_library(["86"]), config).scratch_bytes

    assert scratch(64, 1) == scratch(1, 64) == scratch(64) > scratch(1) > 0


@needs_rtx
def test_a_batch_that_tensorrt_cannot_count_is_refused(small_net, metadata, tmp_path, monkeypatch):
    source, engine = write(small_net, metadata, tmp_path), tmp_path / "model.engine"
    # The largest tensor is that of conv1: ten crops of 16 x 16 x 16 numbers.
    most = (2**31 - 1) // (10 * 16**3)
    # No option takes so large a batch; a network of larger tensors is at its end earlier.
    monkeypatch.setitem(OPTION_RANGES, "max_batch_size", whole(1, most + 1))
    config = EngineConfig(profiles=(BatchProfile(min=1, opt=1, max=most + 1),))
    with pytest.raises(UserError, match=rf"TensorRT counts to 2,147,483,647; give at most {most} with"):
        build_engine(source, engine, choose_library(["86"]), config)
    assert not engine.exists()


@pytest.mark.gpu
def test_classic_tensorrt_builds_for_the_gpu_that_is_there(small_net, metadata, tmp_path):
    pytest.importorskip("tensorrt")
    library = choose_library()
    built = build_engine(
        write(small_net, metadata, tmp_path), tmp_path / "model.engine", library, EngineConfig()
    )
    assert built.manifest.library == "tensorrt"
    assert verify_manifest(built.engine) == built.manifest


# What TensorRT-RTX 1.7.1 needed for a batch of 64 single crops of `alexnet`, on each
# architecture; ten crops need a little less than ten times that.
SCRATCH = {"fp32": 224_075_776, "fp16": 112_037_888}


@needs_rtx
@pytest.mark.slow
@pytest.mark.parametrize("arch", ["80", "86", "89", "120"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize(("crops", "factor"), [("single", 1), ("ten", 10)])
def test_scratch_memory_does_not_grow(arch, precision, crops, factor, tmp_path):
    metadata = GraphMetadata(
        classes=tuple(map(str, range(1000))),
        spec=AugmentSpec(),
        model="alexnet",
        crops=crops,
        version="0",
        provenance={},
    )
    source = write(create_model("alexnet"), metadata, tmp_path, precision)
    built = build_engine(source, tmp_path / "model.engine", choose_library([arch]), EngineConfig())
    assert built.manifest.batch.max == 64
    assert 0 < built.scratch_bytes <= factor * SCRATCH[precision]


@needs_rtx
def test_tf32_is_the_builders_rounding_of_a_float32_file(small_net, metadata, tmp_path):
    source, engine = write(small_net, metadata, tmp_path, "tf32"), tmp_path / "model.engine"
    assert source.read_bytes() == write(small_net, metadata, tmp_path, "fp32").read_bytes()
    built = build_engine(source, engine, choose_library(["86"]), EngineConfig(tf32=True))
    assert built.manifest.precision == "tf32"
    assert build_engine(source, engine, choose_library(["86"]), EngineConfig()).manifest.precision == "fp32"
