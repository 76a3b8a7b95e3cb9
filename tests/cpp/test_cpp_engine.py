"""The engine answers as Python does, and loads only files that its manifest describes."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from installed import ROOT, Built, command, must, skip_where_tools_are_missing
from PIL import Image

import alexnet_fast
from alexnet_fast.export.config import ExportConfig
from alexnet_fast.export.export_images import ExportImages
from alexnet_fast.export.exporter import run_export
from alexnet_fast.pipelines.cpu.pillow import centre_square, decode
from alexnet_fast.runtime.onnx_runtime import OnnxModel

# On the same pixels; those of an older Pillow differ by up to one level (test_cpp_pixels.py).
NEAR = 1e-6 if int(Image.__version__.split(".")[0]) >= 13 else 1e-3


@pytest.fixture(scope="session")
def squares(hundred, model) -> np.ndarray:
    """uint8 (100, side, side, 3)."""
    spec = OnnxModel(model).spec
    return np.stack([centre_square(decode(file), spec) for file in hundred])


@pytest.fixture
def copy(model: Path, tmp_path: Path) -> Path:
    """A copy of the model with its manifest and engine, which a test may damage."""
    shutil.copytree(model.parent, tmp_path / "copy")
    return tmp_path / "copy" / "model.onnx"


@pytest.fixture(scope="session")
def image(hundred: list[Path]) -> Path:
    return hundred[0]


def raw(squares: np.ndarray, directory: Path) -> Path:
    (directory / "squares.raw").write_bytes(squares.tobytes())
    return directory / "squares.raw"


def infer(built: Built, model: Path, squares: np.ndarray, directory: Path, how: str = "infer") -> np.ndarray:
    answer = must(built.probe, how, model, raw(squares, directory))
    return np.frombuffer(answer, np.float32).reshape(-1, 7)


def test_a_hundred_images_from_file_to_answer(built, model, hundred, squares):
    answer = json.loads(must(built.classify, model, *hundred, "--json", "--top", 7))
    python = OnnxModel(model)
    wanted = python.run(squares)
    assert wanted.max(axis=1).std() > 0.05, "the network gives every image the same answer"
    assert {"model", "backend", "crops", "predictions"} == answer.keys()
    assert answer["crops"] == "ten"
    assert answer["backend"].startswith("OpenVINO CPU")
    for file, row, prediction in zip(hundred, wanted, answer["predictions"], strict=True):
        assert (prediction["file"], prediction["error"]) == (str(file), None)
        assert [score["index"] for score in prediction["classes"][:1]] == [int(row.argmax())]
        for score in prediction["classes"]:
            assert abs(score["probability"] - row[score["index"]]) <= NEAR
            assert score["label"] == python.classes[score["index"]]


# In a process of its own: OpenVINO in one that has run DALI pipelines crashed it.
IN_OPENVINO = """
import sys
import numpy as np
import openvino

model, folder = sys.argv[1:]
config = {"INFERENCE_PRECISION_HINT": "f32", "EXECUTION_MODE_HINT": "ACCURACY"}
compiled = openvino.Core().compile_model(model, "CPU", config)
np.save(f"{folder}/answers.npy", compiled(np.load(f"{folder}/squares.npy"))[0])
"""


def test_python_with_openvino_gives_the_same_bits(built, model, squares, tmp_path):
    np.save(tmp_path / "squares.npy", squares)
    must(sys.executable, "-c", IN_OPENVINO, model, tmp_path)
    wanted = np.load(tmp_path / "answers.npy")
    np.testing.assert_array_equal(infer(built, model, squares, tmp_path), wanted)


def test_batches_and_single_images_and_none(built, model, squares, tmp_path):
    together = infer(built, model, squares[:3], tmp_path)
    for number in range(3):
        alone = infer(built, model, squares[number : number + 1], tmp_path)
        np.testing.assert_allclose(alone[0], together[number], atol=1e-6)
    assert infer(built, model, squares[:0], tmp_path).shape == (0, 7)


def test_threads_may_share_an_engine(built, model, squares, tmp_path):
    alone = infer(built, model, squares[:20], tmp_path)
    got = infer(built, model, squares[:20], tmp_path, "threads").reshape(4, 20, 7)
    for answer in got:
        np.testing.assert_array_equal(answer, alone)


def test_half_an_image_is_refused(built, model, tmp_path):
    (tmp_path / "half.raw").write_bytes(b"\0" * 5000)
    done = command(built.probe, "infer", model, tmp_path / "half.raw")
    assert done.returncode == 1
    assert done.stderr.decode() == "5000 bytes are not a whole number of images of 5547\n"


def refused(built: Built, model: Path, image: Path, *options: str) -> str:
    """Returns the one-line error for a model."""
    done = command(built.classify, *options, model, image)
    assert (done.returncode, done.stdout) == (1, b"")
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("classify: ")
    return line


def test_a_missing_file_and_another_kind_of_file_are_refused(built, tmp_path, image):
    assert "there is no file" in refused(built, tmp_path / "none.onnx", image)
    assert "is neither .onnx nor .engine" in refused(built, image, image)


def test_an_engine_needs_a_build_with_tensorrt(built, copy, image):
    assert "needs TensorRT, which this build lacks" in refused(built, copy.with_suffix(".engine"), image)


def test_a_model_without_a_manifest_is_refused(built, copy, image):
    copy.with_name("manifest.json").unlink()
    assert "has no manifest" in refused(built, copy, image)
    must(built.classify, "--unverified", copy, image)


@pytest.mark.parametrize("crops", ["single", "five", "ten"])
def test_an_export_without_an_engine_and_with_more_outputs(built, make_net, squares, image, crops, tmp_path):
    net, spec = make_net(squares)
    config = ExportConfig(output=tmp_path, crops=crops, extras=("logits", "features"), top=3)
    run_export(net, spec, tuple("abcdefg"), "small", {}, ExportImages(), config)
    model = tmp_path / "model.onnx"
    np.testing.assert_allclose(
        infer(built, model, squares, tmp_path), OnnxModel(model).run(squares), rtol=0, atol=1e-6
    )
    answer = json.loads(must(built.classify, model, image, "--json"))
    assert answer["crops"] == crops
    model.write_bytes(model.read_bytes() + b"\0")
    assert "bytes, its manifest says" in refused(built, model, image)


def test_a_file_of_the_wrong_size_is_refused(built, copy, image):
    copy.write_bytes(copy.read_bytes() + b"\0")
    assert "bytes, its manifest says" in refused(built, copy, image)


def test_a_file_with_a_flipped_bit_is_refused(built, copy, image):
    contents = bytearray(copy.read_bytes())
    contents[len(contents) // 2] ^= 1
    copy.write_bytes(contents)
    assert "has the SHA-256" in refused(built, copy, image)


def test_a_file_that_the_manifest_does_not_list_is_refused(built, copy, image):
    other = copy.rename(copy.with_name("other.onnx"))
    assert "does not list other.onnx" in refused(built, other, image)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "is not the manifest of an export"),
        (b'{"format": 7}', "is not the manifest of an export"),
        (
            b'{"format": "alexnet-fast ONNX manifest", "format_version": 2}',
            "is not a complete manifest",
        ),
        (
            b'{"format": "alexnet-fast engine manifest", "format_version": 1}',
            "does not have the format version 2",
        ),
        (
            b'{"format": "alexnet-fast engine manifest", "format_version": 2}',
            "is not a complete manifest",
        ),
    ],
)
def test_an_invalid_manifest_is_refused(built, copy, image, contents, message):
    copy.with_name("manifest.json").write_bytes(contents)
    assert message in refused(built, copy, image)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"", "is not an ONNX file"),
        (b"no ONNX at all", "is not an ONNX file"),
        (b"\x08\x08\x12\x0calexnet-fast", "without the metadata alexnet_fast.model"),
    ],
)
def test_an_unverified_file_that_is_not_a_model_is_refused(built, copy, image, contents, message):
    copy.write_bytes(contents)
    assert message in refused(built, copy, image, "--unverified")


def test_a_cut_off_model_is_refused(built, copy, image):
    copy.write_bytes(copy.read_bytes()[:5_000])
    assert "is not an ONNX file, or is cut off" in refused(built, copy, image, "--unverified")


def test_a_bad_image_does_not_stop_the_others(built, model, hundred, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    done = command(built.classify, model, hundred[0], tmp_path / "bad.jpg", tmp_path / "none.jpg", hundred[1])
    assert done.returncode == 1
    assert [line.split("(")[0] for line in done.stderr.decode().splitlines()] == [
        f"classify: {tmp_path}/bad.jpg cannot be decoded ",
        f"classify: there is no file {tmp_path}/none.jpg",
    ]
    assert [line for line in done.stdout.decode().splitlines() if not line.startswith(" ")] == [
        str(hundred[0]),
        str(hundred[1]),
    ]


@pytest.mark.parametrize(
    "words",
    [(), ("model.onnx",), ("--top", "0", "a", "b"), ("--threads", "x", "a", "b"), ("--wrong", "a", "b")],
)
def test_wrong_usage_is_exit_code_2(built, words):
    done = command(built.classify, *words)
    assert (done.returncode, done.stdout) == (2, b"")
    assert len(done.stderr.decode().splitlines()) == 1


def test_the_version_is_that_of_the_python_package():
    lists = (ROOT / "serve/cpp/CMakeLists.txt").read_text()
    assert f"project(alexnet_fast VERSION {alexnet_fast.__version__} " in lists


@pytest.mark.slow
def test_a_copy_of_the_folder_is_part_of_another_project(openvino_cmake, model, hundred, tmp_path):
    """It builds only the library: no program, no install rules, no build type of its own."""
    skip_where_tools_are_missing()
    example = ROOT / "serve/cpp/example"
    shutil.copytree(ROOT / "serve/cpp", tmp_path / "third_party/engine")
    shutil.copy(example / "main.cpp", tmp_path)
    lists = (example / "CMakeLists.txt").read_text()
    found, added = "find_package(alexnet_fast REQUIRED)", "add_subdirectory(third_party/engine)"
    assert found in lists
    (tmp_path / "CMakeLists.txt").write_text(lists.replace(found, added))
    build = tmp_path / "build"
    must("cmake", "-S", tmp_path, "-B", build, f"-DOpenVINO_DIR={openvino_cmake}")
    assert "CMAKE_BUILD_TYPE:STRING=\n" in (build / "CMakeCache.txt").read_text()
    must("cmake", "--build", build, "--parallel", 2)
    assert not list(build.rglob("classify"))
    assert len(must(build / "example", model, hundred[0]).splitlines()) == 5
    for words, code, said in (
        ((), 2, "usage: example "),
        ((model,), 2, "usage: example "),
        ((tmp_path / "none.onnx", hundred[0]), 1, "example: there is no file "),
        ((model, tmp_path), 1, "example: "),
        ((hundred[0], model), 1, "example: "),
    ):
        done = command(build / "example", *words)
        assert (done.returncode, done.stdout) == (code, b"")
        assert done.stderr.decode().startswith(said)


def test_the_help_of_classify_has_an_example(built):
    assert b"Example:\n  classify " in must(built.classify, "--help")
