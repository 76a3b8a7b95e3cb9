"""`doctor` quotes the hint of each check and gives a reason for each part that does not work."""

from __future__ import annotations

import pytest

from alexnet_fast.doctor import Finding, attempt, examine
from alexnet_fast.errors import UserError


def test_the_hint_of_an_error_is_quoted() -> None:
    """On a machine with a GPU and no TensorRT the advice was to install alexnet-fast again."""

    def check() -> Finding:
        raise UserError("TensorRT is not installed", "pip install 'alexnet-fast[tensorrt]'")

    assert attempt("tensorrt", check) == Finding(
        works=False, what="TensorRT is not installed", hint="pip install 'alexnet-fast[tensorrt]'"
    )


def test_a_part_that_breaks_or_computes_wrongly_is_named() -> None:
    def breaks() -> Finding:
        raise OSError("libcudart.so.12: cannot open\nand more")

    broken = attempt("onnxruntime", breaks)
    assert (broken.works, broken.what) == (False, "onnxruntime fails: libcudart.so.12: cannot open")
    wrong = attempt("torch", lambda: Finding(works=False))
    assert wrong.what == "torch runs and gives a wrong result"
    assert wrong.hint


def test_every_part_that_does_not_work_has_a_reason_and_a_hint() -> None:
    found = examine()
    assert {problem["part"] for problem in found["problems"]} == {
        part for part, works in found["can"].items() if not works
    }
    assert all(problem["what"] and problem["hint"] for problem in found["problems"])


@pytest.mark.parametrize("starts", [True, False])
def test_triton_is_started_to_see(starts: bool, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = tmp_path / "tritonserver"
    server.write_text(f"#!/bin/sh\nexit {0 if starts else 3}\n")
    server.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = examine()
    assert found["can"]["triton"] == starts
    said = [problem["what"] for problem in found["problems"] if problem["part"] == "triton"]
    assert said == ([] if starts else ["tritonserver does not start"])
