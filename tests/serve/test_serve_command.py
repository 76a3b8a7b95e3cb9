"""`alexnet-fast serve` and `bench serve`: wrong usage ends in one line with a hint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from alexnet_fast.cli.commands.bench import bench
from alexnet_fast.cli.commands.serve import serve
from running_server import RunningServer


def last_line(command: Any, *words: object) -> tuple[int, str]:
    """Runs a command in this process; returns its exit code and its last line on stderr."""
    done = CliRunner().invoke(command, [*map(str, words)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stderr.splitlines()[-1]


@pytest.mark.parametrize("which", ["http", "grpc"])
def test_a_port_in_use_is_refused_in_one_line(server: RunningServer, model_file: Path, which: str) -> None:
    ports = {"http": 0, "grpc": 0, which: getattr(server, which).split(":")[1]}
    code, line = last_line(serve, model_file, "--http-port", ports["http"], "--grpc-port", ports["grpc"])
    assert code == 1
    assert line.startswith(f"alexnet-fast: cannot listen on 127.0.0.1:{ports[which]}: ")
    assert "choose another --host or" in line


@pytest.mark.parametrize(
    ("options", "wanted", "code"),
    [
        (("--name", "a", "--name", "b"), "there are 1 models and 2 --name", 2),
        (("--name", "a/b"), "cannot be the name of a model", 2),
        (("--max-batch-size", 0), "'--max-batch-size': give a whole number of at least 1", 2),
        (("--max-queue-size", 3), "--max-queue-size 3 is too small", 2),
        (("--max-queue-delay-ms", -1), "'--max-queue-delay-ms': give a number of at least 0", 2),
        (("--timeout", 0), "'--timeout': give a number of at least 0.001", 2),
        (("--http-port", 70000), "'--http-port': give a whole number of at least 0 and at most 65,535", 2),
        (("--no-http", "--no-grpc"), "there is nothing to listen on", 2),
        (("--device", "tpu"), "--device tpu is not a device", 2),
        (("--host", "300.1.2.3", "--http-port", 0), "cannot listen on 300.1.2.3", 1),
    ],
    ids=str,
)
def test_wrong_options_end_in_one_line(
    model_file: Path, options: tuple[object, ...], wanted: str, code: int
) -> None:
    found, line = last_line(serve, model_file, *options)
    assert (found, line.count("\n")) == (code, 0)
    assert wanted in line


def test_wrong_models_end_in_one_line(model_file: Path, tmp_path: Path) -> None:
    loop = tmp_path / "loop.onnx"
    loop.symlink_to(loop)
    for words, wanted, code in (
        ((loop,), "loop.onnx (too many levels of symbolic links)", 1),
        (("nothing.onnx",), "there is no file nothing.onnx", 1),
        ((__file__,), "is not an ONNX file", 1),
        ((tmp_path,), "there is no model.onnx in", 1),
        ((model_file, model_file), "two models are called", 2),
        ((model_file.with_suffix(".engine"),), "there is no file", 1),
    ):
        found, line = last_line(serve, *words)
        assert found == code, line
        assert wanted in line


def test_bench_serve_reports_the_server_beside_the_bare_model(
    model_file: Path, server: RunningServer
) -> None:
    against = f"other=http://{server.http}/v2/models/small/infer"
    words = [
        str(model_file),
        "--runs",
        "2",
        "--seconds",
        "0.3",
        "--threads",
        "1",
        "--against",
        against,
        "--json",
    ]
    done = CliRunner().invoke(bench, ["serve", *words], catch_exceptions=False)
    report = json.loads(done.stdout.splitlines()[-1])
    assert done.exit_code == 0
    assert (report["rejected"], report["failed"], report["runs"]) == (0, 0, 2)
    assert 0 < report["low"] <= report["requests_per_second"] <= report["high"]
    assert 0 < report["p50_ms"] <= report["p90_ms"] <= report["p99_ms"]
    assert sum(int(size) * count for size, count in report["batch_sizes"].items()) > 0
    assert [other["name"] for other in report["compared"]] == ["other", "bare session, same batches"]
    for other in report["compared"]:
        assert other["p50_ms"] > 0
        assert other["added_p50_ms"] == pytest.approx(report["p50_ms"] - other["p50_ms"])
    assert {"hardware", "versions", "url"} <= set(report)


def test_bench_serve_in_an_open_loop_with_an_image(
    model_file: Path, jpegs: list[bytes], tmp_path: Path
) -> None:
    (tmp_path / "photo.jpg").write_bytes(jpegs[0])
    words = [
        str(model_file),
        "--runs",
        "1",
        "--seconds",
        "0.5",
        "--rate",
        "40",
        "--image",
        str(tmp_path / "photo.jpg"),
    ]
    done = CliRunner().invoke(bench, ["serve", *words], catch_exceptions=False)
    assert "open loop, encoded image, median of 1 turns" in done.stdout
    assert "0 rejected, 0 failed" in done.stdout


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (("--runs", 0), "'--runs': give a whole number of at least 1"),
        (("--rate", -1), "'--rate': give a number above 0"),
        (("--rate", "nan"), "'--rate': give a number above 0"),
        (("--rate", 0.1, "--seconds", 2), "--rate 0.1 asks nothing in 2 s"),
        (("--image", "nothing.jpg"), "--image nothing.jpg cannot be read"),
        (("--against", "triton"), "--against triton is not NAME=URL"),
        (("--against", "a=https://x"), "https://x is not an address"),
        (("--against", "a=http://127.0.0.1:1/v2", "--runs", 1, "--seconds", 0.2), "answered none of"),
    ],
    ids=str,
)
def test_wrong_options_of_bench_serve_end_in_one_line(
    model_file: Path, options: tuple[object, ...], wanted: str
) -> None:
    code, line = last_line(bench, "serve", model_file, *options)
    assert code in (1, 2)
    assert wanted in line
