"""C++ under AddressSanitizer and UBSan, with damaged files; and a build of the TensorRT back end."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from installed import ROOT, command, must, skip_where_tools_are_missing

from alexnet_fast.runtime.onnx_runtime import OnnxModel

pytestmark = pytest.mark.slow

HEADERS = ROOT / ".venv" / "tensorrt-headers"


@pytest.mark.parametrize(
    ("mistake", "seen"), [("leak", b"LeakSanitizer: detected"), ("overrun", b"heap-buffer-overflow")]
)
def test_the_sanitizers_detect_a_planted_error(sanitized, mistake, seen):
    done = command(sanitized.probe, mistake)
    assert done.returncode != 0
    assert seen in done.stderr


def test_a_hundred_images(sanitized, model, hundred):
    assert must(sanitized.classify, model, *hundred, "--top", 1).count(b"%") == 100


def test_sanitized_answers_are_those_of_python(sanitized, model, tmp_path):
    squares = np.random.default_rng(3).integers(0, 256, (9, 43, 43, 3), dtype=np.uint8)
    (tmp_path / "squares.raw").write_bytes(squares.tobytes())
    got = np.frombuffer(must(sanitized.probe, "threads", model, tmp_path / "squares.raw"), np.float32)
    np.testing.assert_allclose(got.reshape(4, 9, 7), [OnnxModel(model).run(squares)] * 4, atol=1e-6)


def test_ten_thousand_damaged_images(sanitized, hundred):
    accepted = int(must(sanitized.probe, "damage", 1, 100, *hundred))
    assert 0 < accepted < 10_000


def test_models_and_manifests_with_a_changed_byte(sanitized, model, hundred, tmp_path):
    random = np.random.default_rng(5)
    manifest = model.with_name("manifest.json").read_bytes()
    spoilt = tmp_path / "model.onnx"
    for _ in range(20):
        contents, description = bytearray(model.read_bytes()), bytearray(manifest)
        # The metadata are at the end of the file.
        contents[-int(random.integers(1, 700))] = int(random.integers(256))
        description[int(random.integers(len(description)))] = int(random.integers(256))
        spoilt.write_bytes(contents)
        (tmp_path / "manifest.json").write_bytes(description)
        for options in ((), ("--unverified",)):
            done = command(sanitized.classify, *options, spoilt, hundred[0])
            assert done.returncode in (0, 1), done.stderr
            assert b"Sanitizer" not in done.stderr


def test_the_example_of_the_documentation(sanitized, model, hundred, tmp_path):
    example = ROOT / "serve/cpp/example"
    assert (example / "main.cpp").read_text().split("#include <cstdio>")[1] in (
        ROOT / "docs/cpp.md"
    ).read_text()
    flags = "-fsanitize=address,undefined"
    found = (f"-DCMAKE_PREFIX_PATH={sanitized.prefix}", f"-DCMAKE_CXX_FLAGS={flags}")
    must("cmake", "-S", example, "-B", tmp_path, *found)
    must("cmake", "--build", tmp_path)
    lines = must(tmp_path / "example", model, hundred[0]).decode().splitlines()
    shown = must(sanitized.classify, model, hundred[0]).decode().splitlines()[1:]
    assert [line.split("  ", 1)[1] for line in lines] == [line.split("%  ", 1)[1] for line in shown]


@pytest.fixture(scope="session")
def with_tensorrt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """classify with TensorRT's back end, linked with TensorRT-RTX."""
    skip_where_tools_are_missing()
    rtx = importlib.util.find_spec("tensorrt_rtx_libs")
    if rtx is None or rtx.origin is None:
        pytest.skip("needs pip install 'alexnet-fast[rtx]'")
    if not HEADERS.is_dir():
        pytest.skip("needs the headers of TensorRT and CUDA: make tensorrt-headers")
    cuda = HEADERS / "nvidia/cuda_runtime"
    directory = tmp_path_factory.mktemp("tensorrt")
    must(
        *("cmake", "-S", ROOT / "serve/cpp", "-B", directory),
        *("-DALEXNET_FAST_OPENVINO=OFF", "-DALEXNET_FAST_TENSORRT=ON"),
        f"-DTensorRT_INCLUDE_DIR={HEADERS}/kernel_lens/include/tensorrt",
        f"-DTensorRT_LIBRARY={Path(rtx.origin).parent}/libtensorrt_rtx.so.1",
        f"-DTensorRT_CUDA_INCLUDE_DIR={cuda}/include;{HEADERS}/nvidia/cuda_nvcc/include",
        f"-DTensorRT_CUDART_LIBRARY={cuda}/lib/libcudart.so.12",
    )
    must("cmake", "--build", directory, "--parallel", 2)
    return directory / "classify"


def test_tensorrt_compiles_links_and_names_what_is_missing(with_tensorrt, model, hundred, tmp_path):
    engine = model.with_suffix(".engine")
    done = command(with_tensorrt, engine, hundred[0])
    assert done.returncode in (0, 1)
    assert done.returncode == 0 or b"needs an NVIDIA GPU" in done.stderr or b"cannot load" in done.stderr
    for name in ("model.onnx", "model.engine"):
        (tmp_path / name).write_bytes(model.with_name(name).read_bytes())
    manifest = model.with_name("manifest.json").read_text()
    version = manifest.split('"library_version": "')[1].split('"')[0]
    (tmp_path / "manifest.json").write_text(manifest.replace(version, "1.0.0.0"))
    done = command(with_tensorrt, tmp_path / "model.engine", hundred[0])
    assert done.returncode == 1
    assert f"was built by tensorrt_rtx 1.0.0.0, and this is tensorrt_rtx {version}" in done.stderr.decode()
    done = command(with_tensorrt, "--unverified", engine, hundred[0])
    assert b"never loaded without its manifest" in done.stderr
