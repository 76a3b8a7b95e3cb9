"""The repositories that are written for Triton, and the files that are never touched."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from alexnet_fast import create_model
from alexnet_fast.errors import UserError
from alexnet_fast.export.config import EngineConfig
from alexnet_fast.export.onnx.model import serialize
from alexnet_fast.export.tensorrt.engine import build_engine
from alexnet_fast.export.tensorrt.library import choose_library
from alexnet_fast.pipelines.dali.graph import build_square_graph
from alexnet_fast.runtime.manifest import FileStamp, manifest_path, read_manifest, write_manifest
from alexnet_fast.runtime.versions import installed_version
from alexnet_fast.serve.config import Batching
from alexnet_fast.serve.image import square_of
from alexnet_fast.serve.triton.model_config import Enum, TritonConfig, text_proto
from alexnet_fast.serve.triton.repository import write_repository
from alexnet_fast.serve.triton.rows import padded_rows
from warm_commands import run_command


def config_of(directory: Path) -> ModelConfig:
    """Parses a model's configuration as Triton does, against its schema."""
    return text_format.Parse((directory / "config.pbtxt").read_text(), ModelConfig())


def tree(root: Path) -> dict[str, str]:
    files = sorted(file for file in root.rglob("*") if file.is_file())
    return {str(file.relative_to(root)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_the_python_variant_is_one_model(model, tmp_path):
    (directory,) = write_repository(model, tmp_path / "models", name="cells")
    assert tree(directory).keys() == {
        "1/model.onnx", "1/model.py", "config.pbtxt", "labels.txt", "warmup/image"
    }  # fmt: skip
    config = config_of(directory)
    assert (config.name, config.backend, config.max_batch_size) == ("cells", "python", 16)
    assert [(t.name, t.data_type, list(t.dims)) for t in (*config.input, *config.output)] == [
        ("images", 13, [1]),
        ("probabilities", 11, [7]),
    ]
    assert config.dynamic_batching.max_queue_delay_microseconds == 2000
    assert config.dynamic_batching.default_queue_policy.max_queue_size == 128, "the queue is bounded"
    assert (directory / "labels.txt").read_text().splitlines()[2] == "café, noir"
    assert (directory / "1/model.onnx").read_bytes() == model.read_bytes()


def test_the_gpu_variant_is_an_ensemble_whose_tensors_fit(model, tmp_path):
    directories = write_repository(model, tmp_path / "models", name="cells", variant="gpu")
    assert [directory.name for directory in directories] == [
        "cells",
        "cells-unpack",
        "cells-decode",
        "cells-network",
    ]
    whole, *parts = (config_of(directory) for directory in directories)
    shapes = {tensor.name: (tensor.data_type, list(tensor.dims)) for tensor in whole.input}
    for step, part in zip(whole.ensemble_scheduling.step, parts, strict=True):
        assert step.model_name == part.name
        for tensor in part.input:
            assert shapes[step.input_map[tensor.name]] == (tensor.data_type, list(tensor.dims))
        for tensor in part.output:
            shapes[step.output_map[tensor.name]] = (tensor.data_type, list(tensor.dims))
    for tensor in whole.output:
        assert shapes[tensor.name] == (tensor.data_type, list(tensor.dims))
    assert parts[1].backend == "dali"
    assert parts[1].input[0].allow_ragged_batch
    assert parts[2].platform == "onnxruntime_onnx"
    network = onnx.load(directories[3] / "1/model.onnx").graph
    assert {tensor.name for tensor in (*parts[2].input, *parts[2].output)} == {
        tensor.name for tensor in (*network.input, *network.output)
    }


def test_the_decoding_graph_takes_padded_files(model, images, tmp_path):
    from small_model import SMALL

    directories = write_repository(model, tmp_path / "models", name="cells", variant="gpu")
    serialized = (directories[2] / "1/model.dali").read_bytes()
    assert b"encoded" in serialized
    assert b"decoders__Image" in serialized
    assert b"mixed" in serialized
    # The same graph for the CPU, which can be run here.
    graph = build_square_graph(64, device="cpu", batch_size=8, threads=2)
    graph.build()
    graph.feed_input("encoded", list(padded_rows(images)))
    (squares,) = graph.run()
    for place, image in enumerate(images):
        difference = np.asarray(squares[place]).astype(int) - square_of(image, SMALL)
        assert np.abs(difference).max() <= 1


def test_without_dali_the_gpu_variant_is_refused(model, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "alexnet_fast.pipelines.dali.graph", raising=False)
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    with pytest.raises(UserError, match=r"needs nvidia\.dali, which is not installed"):
        write_repository(model, tmp_path / "models", name="cells", variant="gpu")
    assert not (tmp_path / "models").exists()


def test_numbers_reach_the_configuration(model, tmp_path):
    batching = Batching(max_batch_size=4, max_queue_delay=0.01, max_queue_size=9, timeout=2)
    config = TritonConfig(batching=batching, instances=3, threads=2)
    found = config_of(write_repository(model, tmp_path, name="cells", config=config)[0])
    policy = found.dynamic_batching.default_queue_policy
    assert (found.max_batch_size, found.instance_group[0].count) == (4, 3)
    assert found.dynamic_batching.max_queue_delay_microseconds == 10_000
    assert (policy.max_queue_size, policy.default_timeout_microseconds) == (9, 2_000_000)
    assert found.parameters["threads"].string_value == "2"
    with pytest.raises(UserError, match="threads=0 does not fit"):
        TritonConfig(threads=0)


@pytest.mark.parametrize("variant", ["python", "gpu"])
def test_writing_twice_gives_the_same_bytes(model, tmp_path, variant):
    write_repository(model, tmp_path / "one", name="cells", variant=variant)
    before = tree(tmp_path / "one")
    write_repository(model, tmp_path / "one", name="cells", variant=variant)
    write_repository(model, tmp_path / "two", name="cells", variant=variant)
    assert tree(tmp_path / "one") == tree(tmp_path / "two") == before


def test_a_second_model_goes_beside_the_first(model, tmp_path):
    write_repository(model, tmp_path, name="cells")
    before = tree(tmp_path / "cells")
    write_repository(model, tmp_path, name="cars")
    assert tree(tmp_path / "cells") == before
    assert {entry.name for entry in tmp_path.iterdir()} == {"cells", "cars", "alexnet-fast.json"}


def test_export_writes_the_repository_of_the_file_that_it_exported(tmp_path):
    weights, out, repository = tmp_path / "net.pt", tmp_path / "small", tmp_path / "models"
    torch.save(create_model("convnet-64", num_classes=3).state_dict(), weights)
    command = ("export", weights, "--model", "convnet-64", "--output", out, "--triton", repository)
    done = run_command(*command, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["triton"] == [str(repository / "small")]
    assert (repository / "small/1/model.onnx").read_bytes() == (out / "model.onnx").read_bytes()
    assert config_of(repository / "small").backend == "python"
    (repository / "alexnet-fast.json").unlink()
    (out / "model.onnx").unlink()
    refused = run_command(*command)
    assert refused.returncode == 1
    assert f"{repository} is not a repository of alexnet-fast" in refused.stderr
    assert not (out / "model.onnx").exists()


def untouched(directory: Path, call, message: str) -> None:
    before = tree(directory)
    with pytest.raises(UserError, match=message):
        call()
    assert tree(directory) == before


def test_files_that_it_did_not_write_are_not_touched(model, tmp_path):
    theirs = tmp_path / "theirs"
    (theirs / "cells").mkdir(parents=True)
    (theirs / "cells/config.pbtxt").write_text("theirs")
    untouched(
        tmp_path, lambda: write_repository(model, theirs, name="cells"), "is not a repository of alexnet-fast"
    )
    (theirs / "alexnet-fast.json").write_text('{"format": "another"}')
    untouched(
        tmp_path, lambda: write_repository(model, theirs, name="cells"), "is not a repository of alexnet-fast"
    )
    write_repository(model, tmp_path / "ours", name="cars")
    (tmp_path / "ours/cells").mkdir()
    (tmp_path / "ours/cells/config.pbtxt").write_text("theirs")
    untouched(
        tmp_path,
        lambda: write_repository(model, tmp_path / "ours", name="cells"),
        "did not write it",
    )
    with (tmp_path / "ours/cars/config.pbtxt").open("a") as config:
        config.write("# edited\n")
    untouched(tmp_path, lambda: write_repository(model, tmp_path / "ours", name="cars"), "was changed since")
    (tmp_path / "file").write_text("")
    untouched(tmp_path, lambda: write_repository(model, tmp_path / "file", name="cells"), "is not a folder")


@pytest.mark.parametrize("name", ["", "a/b", "..", "a b", ".hidden", "x" * 81])
def test_names_that_triton_or_a_path_cannot_carry(model, tmp_path, name):
    with pytest.raises(UserError, match="cannot be the name of a model"):
        write_repository(model, tmp_path / "models", name=name)
    assert not (tmp_path / "models").exists()


def test_a_failure_leaves_nothing_behind(tmp_path):
    from small_model import make_model

    odd = make_model(tmp_path / "odd.onnx")
    proto = onnx.load(odd)
    props = {prop.key: prop.value for prop in proto.metadata_props}
    props["alexnet_fast.classes"] = json.dumps(["a\nb", *json.loads(props["alexnet_fast.classes"])[1:]])
    onnx.helper.set_model_props(proto, props)
    odd.write_bytes(serialize(proto))
    with pytest.raises(UserError, match="does not fit into a line"):
        write_repository(odd, tmp_path / "models", name="cells")
    assert not (tmp_path / "models").exists()


@pytest.fixture
def engine(model: Path, tmp_path: Path) -> Path:
    """An engine that TensorRT-RTX built, with its manifest."""
    if installed_version("tensorrt_rtx") is None:
        pytest.skip("needs pip install 'alexnet-fast[rtx]'")
    (tmp_path / "model.onnx").write_bytes(model.read_bytes())
    target = tmp_path / "model.engine"
    return build_engine(tmp_path / "model.onnx", target, choose_library(["86"]), EngineConfig()).engine


def test_an_engine_that_triton_cannot_load_is_refused(engine, tmp_path):
    with pytest.raises(UserError, match="built by tensorrt_rtx, and Triton loads engines of tensorrt alone"):
        write_repository(engine, tmp_path / "models", name="cells", variant="gpu")
    with pytest.raises(UserError, match="the Python variant runs ONNX"):
        write_repository(engine, tmp_path / "models", name="cells")
    assert not (tmp_path / "models").exists()


def test_an_engine_of_tensorrt_is_checked_and_copied(engine, tmp_path):
    built = read_manifest(manifest_path(engine))
    described = dataclasses.replace(built, library="tensorrt", library_version="10.14.1.48")
    write_manifest(described, engine)
    directories = write_repository(engine, tmp_path / "models", name="cells", variant="gpu")
    assert config_of(directories[3]).platform == "tensorrt_plan"
    assert FileStamp.of(directories[3] / "1/model.plan").sha256 == described.engine.sha256
    engine.write_bytes(engine.read_bytes()[:-1])
    with pytest.raises(UserError, match="its manifest says"):
        write_repository(engine, tmp_path / "models", name="cells", variant="gpu")


def test_text_protos_are_escaped():
    assert text_proto({"a": 'é"\n\\', "b": [Enum("X"), True], "c": {"d": 0.5}}) == (
        'a: "\\303\\251\\042\\012\\134"\nb: X\nb: true\nc {\n  d: 0.5\n}\n'
    )
    name = 'é"\n\\'
    assert text_format.Parse(text_proto({"name": name}), ModelConfig()).name == name
