"""kserve's client and Triton's perf_analyzer, unmodified, each in an environment of its own (make soak).

Both are fetched by pip and apt, which takes a minute and half a gigabyte: too much for every test run.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from alexnet_fast import Predictor
from running_server import RunningServer

pytestmark = pytest.mark.soak

# The last versions of the wheel with a perf_analyzer for the glibc of Debian 12.
_WITH_PERF_ANALYZER = "tritonclient==2.50.0"


def run(*command: object, cwd: Path | None = None, **variables: str) -> str:
    """Runs a command and returns its output."""
    done = subprocess.run(
        [*map(str, command)],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
        cwd=cwd,
        env={**os.environ, **variables},
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_a_kserve_client_gets_answers(
    server: RunningServer, jpegs: list[bytes], tmp_path: Path, reference: Predictor
) -> None:
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    run(tmp_path / "venv/bin/python", "-m", "pip", "install", "--quiet", "kserve")
    (tmp_path / "photo.jpg").write_bytes(jpegs[0])
    script = Path(__file__).with_name("kserve_client.py")
    printed = run(
        tmp_path / "venv/bin/python", script, f"http://{server.http}", tmp_path / "photo.jpg", PYTHONPATH=""
    )
    answers = json.loads(printed.splitlines()[-1])
    pixels = np.random.default_rng(5).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    for name, expected in (
        ("json", reference.probabilities(pixels)),
        ("binary", reference.probabilities(pixels)),
        ("encoded", reference.probabilities(jpegs[0])),
    ):
        np.testing.assert_allclose(answers[name], expected, atol=1e-5)


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="perf_analyzer needs libb64 from Debian")
def test_perf_analyzer_gets_answers(server: RunningServer, tmp_path: Path) -> None:
    packages = (_WITH_PERF_ANALYZER, "nvidia-cuda-runtime-cu12")
    run(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *packages, cwd=tmp_path)
    for wheel in tmp_path.glob("*.whl"):
        zipfile.ZipFile(wheel).extractall(tmp_path)
    run("apt-get", "download", "libb64-0d", cwd=tmp_path)
    run("dpkg", "-x", *tmp_path.glob("libb64*.deb"), tmp_path)
    (program,) = tmp_path.glob("*/data/bin/perf_analyzer")
    program.chmod(0o755)
    libraries = {
        str(file.parent) for name in ("libcudart.so*", "libb64.so*") for file in tmp_path.rglob(name)
    }
    for protocol, address in (("http", server.http), ("grpc", server.grpc)):
        options = ("--measurement-mode", "count_windows", "--measurement-request-count", 100)
        printed = run(
            program, "-m", "small", "-u", address, "-i", protocol, "--concurrency-range", "1:4:3",
            # One stable window is enough: the test checks that it works, not how fast.
            *options, "-s", 999, "-r", 9,
            LD_LIBRARY_PATH=":".join(libraries),
        )  # fmt: skip
        print(*re.findall(r"Concurrency: .*", printed), sep="\n")
        assert len(re.findall(r"Concurrency: \d, throughput: [1-9]", printed)) == 2
        assert re.findall(r"Server: \s+Inference count: [1-9]", printed)
