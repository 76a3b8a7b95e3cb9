"""An engine is refused, with the reason, whenever it is not the one that its manifest describes."""

from __future__ import annotations

import json

import pytest

from alexnet_fast.errors import UserError
from alexnet_fast.runtime.manifest import (
    BatchProfile,
    FileStamp,
    Manifest,
    TensorInfo,
    digest,
    manifest_path,
    verify_manifest,
    write_manifest,
)

VERSION = "1.7.1.116"


@pytest.fixture
def engine(tmp_path):
    engine, onnx = tmp_path / "model.engine", tmp_path / "model.onnx"
    engine.write_bytes(bytes(range(256)) * 40)
    onnx.write_bytes(b"graph")
    write_manifest(_manifest(engine, onnx), engine)
    return engine


def _manifest(engine, onnx):
    return Manifest(
        engine=FileStamp.of(engine),
        onnx=FileStamp.of(onnx),
        library="tensorrt_rtx",
        library_version=VERSION,
        compute_capabilities=("8.6", "12.0"),
        precision="fp32",
        inputs=(TensorInfo(name="images", dtype="uint8", shape=(-1, 256, 256, 3)),),
        outputs=(TensorInfo(name="probabilities", dtype="float", shape=(-1, 5)),),
        batch=BatchProfile(min=1, opt=8, max=64),
        classes=5,
        crops="ten",
        metadata={"alexnet_fast.model": "small"},
    )


def edit(engine, change):
    path = manifest_path(engine)
    plain = json.loads(path.read_text())
    change(plain)
    plain["sha256"] = digest(plain)
    path.write_text(json.dumps(plain))


def test_what_was_written_is_read(engine, tmp_path):
    assert verify_manifest(engine, runtime_version=VERSION) == _manifest(engine, tmp_path / "model.onnx")


def test_an_unpublished_engine_is_compared_with_the_manifest_in_memory(engine, tmp_path):
    manifest = _manifest(engine, tmp_path / "model.onnx")
    manifest_path(engine).unlink()
    assert verify_manifest(engine, manifest=manifest, runtime_version=VERSION) is manifest
    engine.write_bytes(b"another")
    with pytest.raises(UserError, match="has 7 bytes, its manifest says 10240"):
        verify_manifest(engine, manifest=manifest, runtime_version=VERSION)


def test_the_file_is_plain_json(engine):
    plain = json.loads(manifest_path(engine).read_text())
    assert plain["format_version"] == 2
    assert plain["engine"]["file"] == "model.engine"
    assert plain["engine"]["bytes"] == 10240
    assert len(plain["onnx"]["sha256"]) == 64


def refused(engine, message, version=VERSION):
    with pytest.raises(UserError, match=message):
        verify_manifest(engine, runtime_version=version)


def test_no_engine(engine):
    engine.unlink()
    refused(engine, r"there is no engine .*model\.engine")


def test_no_manifest(engine):
    manifest_path(engine).unlink()
    refused(engine, r"the engine has no manifest .*manifest\.json")


@pytest.mark.parametrize("contents", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000])
def test_a_manifest_that_is_no_json(engine, contents):
    manifest_path(engine).write_bytes(contents)
    refused(engine, r"manifest\.json is not JSON")


@pytest.mark.parametrize("contents", ["[]", "7", "{}", '{"name": "a web application"}'])
def test_a_manifest_of_something_else(engine, contents):
    manifest_path(engine).write_text(contents)
    refused(engine, "is not the manifest of an engine")


@pytest.mark.parametrize(
    "key",
    [
        *("engine", "onnx", "library", "library_version", "compute_capabilities", "precision"),
        *("inputs", "outputs", "batch", "classes", "crops", "metadata"),
    ],
)
def test_a_missing_key_is_named(engine, key):
    edit(engine, lambda plain: plain.pop(key))
    refused(engine, f"not a valid manifest .*missing required field `{key}`")
    edit(engine, lambda plain: plain.update({key: None}))
    refused(engine, rf"not a valid manifest .*got `null` - at `\$\.{key}`")


def test_a_missing_key_inside_is_named(engine):
    edit(engine, lambda plain: plain["engine"].pop("sha256"))
    refused(engine, r"missing required field `sha256` - at `\$\.engine`")


def test_a_manifest_of_the_future(engine):
    edit(engine, lambda plain: plain.update(format_version=3))
    refused(engine, "has format version 3; this version reads 2")


def test_another_size(engine):
    engine.write_bytes(engine.read_bytes()[:-1])
    refused(engine, "has 10239 bytes, its manifest says 10240")


def test_one_flipped_bit(engine):
    contents = bytearray(engine.read_bytes())
    contents[5000] ^= 1
    engine.write_bytes(contents)
    refused(engine, "has the SHA-256 .* its manifest says")


def test_another_version_of_the_runtime(engine):
    refused(engine, "built by tensorrt_rtx 1.7.1.116, and 1.8.0.1 is installed here", version="1.8.0.1")


def test_no_runtime_at_all(engine):
    edit(engine, lambda plain: plain.update(library="tensorrt_of_another_world"))
    refused(engine, "which is not installed here; pip install", version=None)


def test_a_value_that_changed_is_noticed(engine):
    path = manifest_path(engine)
    path.write_text(path.read_text().replace('"classes": 5', '"classes": 7'))
    refused(engine, r"manifest\.json is damaged: its values are not those that were written")
