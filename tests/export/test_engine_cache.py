"""An engine that was built before is taken again: for the same graph and options, and only if it is whole."""

from __future__ import annotations

import dataclasses
import os

import pytest

from alexnet_fast.errors import UserError
from alexnet_fast.export.config import EngineConfig, ExportConfig, for_tensorrt
from alexnet_fast.export.export_images import ExportImages
from alexnet_fast.export.exporter import run_export
from alexnet_fast.export.onnx.model import build_model, write_model
from alexnet_fast.export.tensorrt import engine as engine_module
from alexnet_fast.export.tensorrt.build import BuiltPlan
from alexnet_fast.export.tensorrt.cache import EngineCache
from alexnet_fast.export.tensorrt.engine import build_engine
from alexnet_fast.export.tensorrt.library import TrtLibrary, choose_library
from alexnet_fast.runtime.manifest import BatchProfile, FileStamp, TensorInfo, verify_manifest
from needs import needs_rtx

DAY = 86_400
PLAN = BuiltPlan(
    memoryview(b"native code" * 100),
    (TensorInfo(name="images", dtype="uint8", shape=(-1, 43, 43, 3)),),
    (TensorInfo(name="probabilities", dtype="float", shape=(-1, 5)),),
    1234,
)
LIBRARY = TrtLibrary(
    name="tensorrt_rtx", version="1.7", module=os, archs=("86",), compute_capabilities=("8.6",)
)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "kept"))
    return EngineCache()


def fields(built):
    return (bytes(built.plan), built.inputs, built.outputs, built.scratch_bytes)


@needs_rtx
def test_the_second_build_is_a_copy_of_the_first(small_net, metadata, tmp_path, cache, monkeypatch):
    source, library, config = tmp_path / "model.onnx", choose_library(["86"]), EngineConfig()
    write_model(build_model(small_net, metadata, for_tensorrt("fp32")), source)
    first = build_engine(source, tmp_path / "one.engine", library, config, cache=cache)
    monkeypatch.setattr(engine_module, "build_plan", None)  # who builds now, fails
    second = build_engine(source, tmp_path / "two.engine", library, config, cache=cache)
    assert first.cached is None
    assert second.cached == cache.path(FileStamp.of(source).sha256, library, config)
    assert second.scratch_bytes == first.scratch_bytes
    assert (tmp_path / "one.engine").read_bytes() == (tmp_path / "two.engine").read_bytes()
    verified = verify_manifest(tmp_path / "two.engine")
    assert dataclasses.replace(verified, engine=first.manifest.engine) == first.manifest
    with pytest.raises(TypeError):
        build_engine(source, tmp_path / "three.engine", library, config, cache=None)


@needs_rtx
def test_a_damaged_one_is_built_again(small_net, metadata, tmp_path, cache, caplog):
    source, library, config = tmp_path / "model.onnx", choose_library(["86"]), EngineConfig()
    write_model(build_model(small_net, metadata, for_tensorrt("fp32")), source)
    first = build_engine(source, tmp_path / "model.engine", library, config, cache=cache)
    kept = cache.path(FileStamp.of(source).sha256, library, config)
    content = bytearray(kept.read_bytes())
    content[len(content) // 2] ^= 1
    kept.write_bytes(content)
    again = build_engine(source, tmp_path / "model.engine", library, config, cache=cache)
    assert "is damaged and is made again" in caplog.text
    assert again.cached is None
    assert verify_manifest(again.engine).engine.bytes > 10_000
    third = build_engine(source, tmp_path / "model.engine", library, config, cache=cache)
    assert third.cached == kept
    assert third.manifest.inputs == first.manifest.inputs


def test_every_option_of_a_build_changes_the_cache_path(cache):
    config = EngineConfig()
    others = [
        ("another graph", LIBRARY, config),
        ("graph", dataclasses.replace(LIBRARY, version="1.8"), config),
        ("graph", dataclasses.replace(LIBRARY, name="tensorrt"), config),
        ("graph", dataclasses.replace(LIBRARY, compute_capabilities=("8.6", "8.9")), config),
        ("graph", dataclasses.replace(LIBRARY, gpu="NVIDIA L4"), config),
        ("graph", LIBRARY, dataclasses.replace(config, tf32=True)),
        ("graph", LIBRARY, dataclasses.replace(config, level=5)),
        ("graph", LIBRARY, dataclasses.replace(config, workspace_mib=512)),
        ("graph", LIBRARY, dataclasses.replace(config, profiles=(BatchProfile(min=1, opt=1, max=64),))),
    ]
    mine = cache.path("graph", LIBRARY, config)
    assert len({mine, *(cache.path(*other) for other in others)}) == 1 + len(others)
    assert cache.path("graph", LIBRARY, EngineConfig()) == mine


@pytest.mark.parametrize("where", [0, 31, 32, 40, 60, 500, -1])
def test_every_damaged_byte_of_a_cached_engine_is_noticed(cache, where):
    path = cache.path("graph", LIBRARY, EngineConfig())
    cache.save(path, PLAN)
    assert fields(cache.load(path)) == fields(PLAN)
    whole = path.read_bytes()
    path.write_bytes(whole[:where] + bytes([whole[where] ^ 0x20]) + whole[where:][1:])
    assert cache.load(path) is None
    path.write_bytes(whole[: len(whole) + where if where < 0 else where])
    assert cache.load(path) is None


def test_the_least_recently_used_engine_is_removed(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache = EngineCache(most_bytes=3 * 1500)
    paths = [cache.path(str(n), LIBRARY, EngineConfig()) for n in range(4)]
    for age, path in enumerate(paths[:3]):
        cache.save(path, PLAN)
        os.utime(path, (1000 + age, 1000 + age))
    assert cache.load(paths[0]) is not None, "used just now"
    cache.save(paths[3], PLAN)
    assert [path.exists() for path in paths] == [True, False, True, True]


@pytest.mark.parametrize("seconds", [pytest.param(DAY, id="back"), pytest.param(-DAY, id="ahead")])
def test_the_least_recently_used_is_found_under_a_wrong_clock(
    tmp_path, monkeypatch, caplog, seconds, evidence
):
    """The clock was wrong while three were kept, a day ahead or behind; then it was set right."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache = EngineCache(most_bytes=3 * 1500)
    paths = [cache.path(str(n), LIBRARY, EngineConfig()) for n in range(6)]
    for path in paths[:3]:
        cache.save(path, PLAN)
    for path in paths[:3]:
        changed = path.stat().st_mtime_ns + seconds * 10**9
        os.utime(path, ns=(changed, changed))
    cache.save(paths[3], PLAN)
    assert [path.exists() for path in paths] == [False, True, True, True, False, False]
    assert fields(cache.load(paths[1])) == fields(PLAN)
    cache.save(paths[4], PLAN)
    assert [path.exists() for path in paths] == [False, True, False, True, True, False]
    cache.save(paths[5], PLAN)
    assert [path.exists() for path in paths] == [False, True, False, False, True, True]
    assert caplog.text == ""
    evidence(f"engines kept under a clock {seconds:+d} s off, then three more", n=6, dropped_in_order=3)


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    cache = EngineCache()
    path = cache.path("graph", LIBRARY, EngineConfig())
    cache.save(path, PLAN)
    assert "is not kept: cannot make the folder" in caplog.text
    assert cache.load(path) is None


@needs_rtx
def test_a_failed_build_caches_nothing(small_net, metadata, tmp_path, cache):
    source = tmp_path / "model.onnx"
    write_model(build_model(small_net, metadata, for_tensorrt("fp32")), source)
    with pytest.raises(UserError, match="FP32 GEMM"):
        build_engine(source, tmp_path / "x.engine", choose_library(["75"]), EngineConfig(), cache=cache)
    assert not cache.directory.exists()


@needs_rtx
def test_an_export_names_the_cached_engine(small_net, metadata, tmp_path, cache):
    def export(**given):
        config = ExportConfig(output=tmp_path / "out", trt=True, gpu_archs=("86",), **given)
        return run_export(small_net, metadata.spec, metadata.classes, "small", {}, ExportImages(), config)

    assert export(engine_cache=False)["engine_cached"] is None
    assert not cache.directory.exists()
    assert export()["engine_cached"] is None
    assert export()["engine_cached"] == str(next(cache.directory.iterdir()))
    assert export(engine_cache=False)["engine_cached"] is None
    assert export(precision="fp16")["engine_cached"] is None
    several = BatchProfile(min=1, opt=2, max=4), BatchProfile(min=1, opt=4, max=4)
    other = export(engine=EngineConfig(profiles=several))
    assert other["engine_cached"] is None
    assert other["profiles"] == [{"min": 1, "opt": 2, "max": 4}, {"min": 1, "opt": 4, "max": 4}]
