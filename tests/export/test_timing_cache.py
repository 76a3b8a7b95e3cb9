"""Classic TensorRT's times of kernels are kept; a stand-in plays its settings, because it needs a GPU."""

from __future__ import annotations

import dataclasses
import os

import pytest

from alexnet_fast.export.config import EngineConfig, for_tensorrt
from alexnet_fast.export.onnx.model import build_model, write_model
from alexnet_fast.export.tensorrt.build import TimingCache
from alexnet_fast.export.tensorrt.engine import build_engine
from alexnet_fast.export.tensorrt.library import TrtLibrary, choose_library

CLASSIC = TrtLibrary(
    name="tensorrt",
    version="10.12.0.36",
    module=os,
    archs=(),
    compute_capabilities=("8.9",),
    gpu="NVIDIA L4",
)


class Times:
    def __init__(self, content):
        self.content = content

    def serialize(self):
        return memoryview(self.content)


class Settings:
    """Refuses times that begin with "other", as TensorRT does with those of another GPU."""

    def create_timing_cache(self, content):
        return Times(content)

    def set_timing_cache(self, times, ignore_mismatch):
        assert ignore_mismatch is False
        if times.content.startswith(b"other"):
            return False
        self.times = times
        return True

    def get_timing_cache(self):
        return self.times


@pytest.fixture(autouse=True)
def cache_home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def build(library, new):
    """Returns the times that a build begins with, after it has added new ones."""
    settings = Settings()
    with TimingCache(library).used_by(settings):
        began = settings.times.content
        settings.times.content += new
    return began


def test_the_next_build_begins_with_the_times_of_the_last():
    assert build(CLASSIC, b"conv1 ") == b""
    assert build(CLASSIC, b"conv2 ") == b"conv1 "
    assert build(CLASSIC, b"") == b"conv1 conv2 "


def test_another_version_or_gpu_begins_anew():
    build(CLASSIC, b"conv1")
    assert build(dataclasses.replace(CLASSIC, version="11.0"), b"") == b""
    assert build(dataclasses.replace(CLASSIC, gpu="NVIDIA L40S"), b"") == b""


def test_times_that_do_not_fit_are_replaced(caplog):
    build(CLASSIC, b"other GPU")
    assert build(CLASSIC, b"mine") == b""
    assert "do not fit this GPU" in caplog.text
    assert build(CLASSIC, b"") == b"mine"


def test_damaged_times_are_not_given_to_tensorrt(caplog):
    build(CLASSIC, b"conv1")
    path = TimingCache(CLASSIC).path
    path.write_bytes(path.read_bytes()[:-1] + b"2")
    assert build(CLASSIC, b"") == b""
    assert "is damaged" in caplog.text


def test_tensorrt_rtx_measures_no_kernel_times(tmp_path):
    with TimingCache(dataclasses.replace(CLASSIC, name="tensorrt_rtx")).used_by(None):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.gpu
def test_classic_tensorrt_caches_its_kernel_times(small_net, metadata, tmp_path):
    pytest.importorskip("tensorrt")
    source, library = tmp_path / "model.onnx", choose_library()
    write_model(build_model(small_net, metadata, for_tensorrt("fp32")), source)
    build_engine(source, tmp_path / "model.engine", library, EngineConfig())
    assert TimingCache(library).path.stat().st_size > 32
