"""Help answers at once: nothing heavy is imported for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "nvidia", "onnx", "onnxruntime", "numpy", "PIL", "matplotlib", "tensorrt", "tensorrt_rtx")


def loaded_by(code: str) -> set[str]:
    """Returns the heavy packages that some code imports."""
    report = f"import sys\n{code}\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_by("import alexnet_fast") == set()


@pytest.mark.parametrize(
    "command",
    [
        "",
        "prepare",
        "scan",
        "train",
        "evaluate",
        "predict",
        "features",
        "export",
        "serve",
        "bench",
        "bench serve",
        "bench input",
        "bench infer",
        "bench compute",
        "bench train",
        "bench startup",
        "show",
        "show curves",
        "doctor",
        "demo",
    ],
)
def test_help_loads_nothing_heavy_and_has_an_example(command: str) -> None:
    code = (
        "from alexnet_fast.cli.main import commands\n"
        f"try: commands.main({[*command.split(), '--help']!r}, prog_name='alexnet-fast')\n"
        "except SystemExit: pass"
    )
    assert loaded_by(code) == set()
    words = [sys.executable, "-m", "alexnet_fast", *command.split(), "--help"]
    shown = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert "Usage: alexnet-fast" in shown
    if command not in ("", "bench", "show"):
        assert f"alexnet-fast {command}" in shown.split("Example", 1)[1]


def test_predicting_with_an_exported_file_needs_neither_torch_nor_dali(
    alexnet_fast, trained_run: Path, two_classes: Path, tmp_path: Path
) -> None:
    assert alexnet_fast("export", trained_run, "--output", tmp_path).returncode == 0
    arguments = ["predict", str(tmp_path / "model.onnx"), str(two_classes / "val" / "mono")]
    code = f"from alexnet_fast.cli.main import commands\ncommands.main({arguments!r}, standalone_mode=False)"
    loaded = loaded_by(code)
    assert "onnxruntime" in loaded
    assert not {"torch", "nvidia"} & loaded


def test_the_public_names_are_imported_on_demand() -> None:
    import alexnet_fast

    assert alexnet_fast.create_model("alexnet-64", 10).num_classes == 10
    classes = {"AlexNet", "ImageClassifier", "Predictor"}
    assert set(alexnet_fast.__all__) == classes | {"__version__", "create_model", "model_names"}
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        alexnet_fast.nothing  # noqa: B018


def test_the_pipelines_package_loads_nothing_heavy_and_preprocessing_no_torch() -> None:
    assert loaded_by("import alexnet_fast.pipelines") == set()
    assert loaded_by("from alexnet_fast.pipelines import preprocess, AugmentSpec") == {"numpy", "PIL"}
