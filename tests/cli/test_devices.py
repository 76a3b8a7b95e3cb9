"""Whoever asks for CUDA or TensorRT and does not get it is told so; with --allow-fallback it is a warning.

Every command that takes --device for a model, on a machine without a GPU; what ran is in the answer.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from alexnet_fast.errors import UserError
from alexnet_fast.runtime.manifest import manifest_path, read_manifest, write_manifest
from alexnet_fast.runtime.versions import installed_version
from alexnet_fast.utils.device import choose_device
from needs import needs_no_gpu, needs_rtx

NO_GPU = "NVIDIA's driver"


@pytest.fixture(scope="module")
def exported(trained_run: Path, alexnet_fast, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model.onnx, and an engine where TensorRT-RTX is installed."""
    directory = tmp_path_factory.mktemp("exported")
    trt = ("--trt", "--gpu-arch", "86") if installed_version("tensorrt_rtx") else ()
    assert alexnet_fast("export", trained_run, "--output", directory, *trt).returncode == 0
    return directory


@pytest.fixture
def in_process(capfd: pytest.CaptureFixture[str]) -> Any:
    """Runs a command in this process; returns its exit code, its answer or None, and what stderr got."""

    def run(*arguments: object) -> tuple[int, Any, str]:
        from alexnet_fast.cli.main import commands

        code = 0
        try:
            commands.main([*map(str, arguments), "--json"], standalone_mode=False)
        except SystemExit as ended:
            code = int(ended.code or 0)
        out, err = capfd.readouterr()
        return code, json.loads(out) if code == 0 else None, err

    return run


def command(words: str, exported: Path, run: Path, data: Path) -> list[object]:
    image = next((data / "val" / "mono").iterdir())
    places = {
        "ONNX": exported / "model.onnx",
        "ENGINE": exported / "model.engine",
        "RUN": run,
        "DATA": data,
        "IMAGE": image,
        "OUT": exported / "other",
    }
    return [places.get(word, word) for word in words.split()]


ASKING = [
    "predict ONNX IMAGE --device cuda",
    "predict ONNX IMAGE --device cuda:1",
    "predict ONNX IMAGE --device tensorrt",
    "predict RUN IMAGE --device cuda",
    pytest.param("predict ENGINE IMAGE", marks=needs_rtx),
    pytest.param("predict ENGINE IMAGE --device tensorrt", marks=needs_rtx),
    "evaluate ONNX DATA --device cuda",
    "evaluate RUN DATA --device cuda",
    pytest.param("evaluate ENGINE DATA", marks=needs_rtx),
    "export RUN --output OUT --verify --images 2 --device tensorrt",
]


@needs_no_gpu
@pytest.mark.parametrize("words", ASKING)
def test_an_unavailable_device_is_an_error_unless_a_fallback_is_allowed(
    words, in_process, exported, trained_run, two_classes, caplog
) -> None:
    arguments = command(words, exported, trained_run, two_classes)
    code, _, said = in_process(*arguments)
    assert code == 1
    assert said.startswith("alexnet-fast: ")
    assert said.count("\n") == 1, said
    assert NO_GPU in said or "PyTorch finds no CUDA device" in said
    assert "--allow-fallback" in said

    code, answer, said = in_process(*arguments, "--allow-fallback")
    assert code == 0, said
    backend = answer["verified"]["backend"] if "export" in words else answer["backend"]
    if "RUN" in words and "export" not in words:
        assert backend.startswith("PyTorch")
        assert " on cpu " in backend
    else:
        assert backend.startswith("onnxruntime CPUExecutionProvider")
    assert any(record.levelname == "WARNING" for record in caplog.records)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("predict ONNX IMAGE --device tpu", "--device tpu is not a device; give auto, cpu, cuda, cuda:N"),
        ("predict ONNX IMAGE --device cudax", "--device cudax is not a device"),
        ("predict ONNX IMAGE --device cuda:", "--device cuda: is not a device"),
        ("predict ONNX IMAGE --device cuda:x --allow-fallback", "--device cuda:x is not a device"),
        ("predict ONNX IMAGE --device cpu:1", "--device cpu:1 is not a device"),
        ("predict ONNX IMAGE --device tensorrt:1", "--device tensorrt:1 is not a device"),
        ("predict RUN IMAGE --device tensorrt", "--device tensorrt is for exported files"),
        ("evaluate RUN DATA --device tensorrt --allow-fallback", "is for exported files"),
        ("predict ENGINE IMAGE --device cpu", "does not run on --device cpu; give the model.onnx"),
        ("export RUN --output OUT --device tpu", "--device tpu is not a device"),
        ("serve ONNX --device cuda:9x", "--device cuda:9x is not a device"),
    ],
)
def test_an_unknown_device_is_bad_usage(words, said, refusal, exported, trained_run, two_classes) -> None:
    assert said in refusal(*command(words, exported, trained_run, two_classes))


@needs_no_gpu
@needs_rtx
def test_a_file_of_another_export_does_not_replace_an_engine(
    exported, trained_run, two_classes, in_process, tmp_path
) -> None:
    for file in exported.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    arguments = command("predict ENGINE IMAGE --allow-fallback", tmp_path, trained_run, two_classes)
    assert in_process(*arguments)[0] == 0
    code, _, said = in_process("export", trained_run, "--single-crop", "--output", tmp_path)
    assert code == 0, said
    code, _, said = in_process(*arguments)
    assert code == 1
    assert "lists only an ONNX file, not an engine" in said
    (tmp_path / "manifest.json").write_bytes((exported / "manifest.json").read_bytes())
    code, _, said = in_process(*arguments)
    assert code == 1
    assert "model.onnx has" in said
    (tmp_path / "model.onnx").unlink()
    code, _, said = in_process(*arguments)
    assert code == 1
    assert NO_GPU in said


@needs_no_gpu
@needs_rtx
def test_a_damaged_file_is_an_error_even_with_a_fallback(
    exported, trained_run, two_classes, in_process, tmp_path
) -> None:
    for file in exported.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    engine = tmp_path / "model.engine"
    engine.write_bytes(engine.read_bytes()[:-1] + b"?")
    arguments = command("predict ENGINE IMAGE --allow-fallback", tmp_path, trained_run, two_classes)
    code, _, said = in_process(*arguments)
    assert code == 1
    assert "SHA-256" in said


@needs_no_gpu
@needs_rtx
def test_an_engine_of_another_version_names_both(
    exported, trained_run, two_classes, in_process, tmp_path
) -> None:
    for file in exported.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    engine = tmp_path / "model.engine"
    manifest = read_manifest(manifest_path(engine))
    write_manifest(dataclasses.replace(manifest, library_version="1.0.0.1"), engine)
    arguments = command("predict ENGINE IMAGE", tmp_path, trained_run, two_classes)
    code, _, said = in_process(*arguments)
    assert code == 1
    here = installed_version("tensorrt_rtx")
    assert f"was built by tensorrt_rtx 1.0.0.1, and {here} is installed here" in said
    code, answer, _ = in_process(*arguments, "--allow-fallback")
    assert code == 0
    assert answer["backend"].startswith("onnxruntime CPUExecutionProvider")


@needs_no_gpu
def test_the_table_names_the_backend_and_stderr_the_reason(
    alexnet_fast, exported, trained_run, two_classes
) -> None:
    words = command("predict ONNX IMAGE --device cuda --allow-fallback", exported, trained_run, two_classes)
    done = alexnet_fast(*words)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].startswith("answered by onnxruntime CPUExecutionProvider")
    assert done.stdout.splitlines()[-1].endswith("ten crops")
    (line,) = done.stderr.splitlines()
    assert "CUDAExecutionProvider is unavailable" in line
    assert "CPUExecutionProvider" in line.split(";")[1]


@pytest.mark.gpu
@pytest.mark.parametrize("words", ["predict ONNX IMAGE --device cuda", "evaluate ONNX DATA --device cuda"])
def test_on_a_gpu_the_session_reports_its_provider(
    words, in_process, exported, trained_run, two_classes
) -> None:
    code, answer, said = in_process(*command(words, exported, trained_run, two_classes))
    if code:
        assert "would use" in said, "the only reason: this onnxruntime cannot use this GPU"
    else:
        assert not answer["backend"].startswith("onnxruntime CPU")


def test_amp_is_refused_for_an_exported_file(exported: Path, two_classes: Path, in_process: Any) -> None:
    """Its precision is in the file: --amp was taken, and did nothing."""
    words = ("evaluate", exported / "model.onnx", two_classes, "--amp", "bf16")
    code, _, said = in_process(*words)
    assert code == 2
    assert "--amp bf16 is for PyTorch; leave --amp out, or export with --precision bf16" in said
    code, found, _ = in_process(*words[:-1], "auto")
    assert code == 0
    assert "onnxruntime" in found["backend"]


@pytest.mark.parametrize("name", ["cuda:\u00b2", "cuda:x", "cudagpu", "cpu:\u00b2", ""])
def test_an_unknown_device_is_refused_before_devices_are_searched(name: str) -> None:
    with pytest.raises(UserError, match="is not a device; give auto, cpu, cuda or cuda:N"):
        choose_device(name)
