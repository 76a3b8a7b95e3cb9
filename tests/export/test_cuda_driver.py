"""The driver is asked through ctypes; a stand-in driver in C shows that its answers are read correctly."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from alexnet_fast.runtime.cuda import driver_problem, gpu_count, gpus

FAKE_DRIVER = r"""
#include <string.h>
static int count = COUNT;
int cuInit(unsigned flags) { return INIT; }
int cuDeviceGetCount(int *n) { *n = count; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return 0; }
int cuDeviceGetName(char *name, int length, int device) { strncpy(name, "Test GPU", length); return 0; }
int cuDeviceTotalMem_v2(unsigned long *bytes, int device) { *bytes = 24ul << 30; return 0; }
int cuDeviceGetAttribute(int *v, int which, int device) { *v = which == 75 ? 8 : 6 + device; return 0; }
int cuGetErrorString(int code, const char **text) { *text = "no CUDA-capable device is detected"; return 0; }
"""

ASK = """
import dataclasses, json
from alexnet_fast.runtime import cuda as d
print(json.dumps([d.gpu_count(), d.driver_problem(), [dataclasses.asdict(g) for g in d.gpus()]]))
"""


def ask_fake_driver(directory, *, init, count):
    compiler = shutil.which("cc") or shutil.which("c++")
    if compiler is None:
        pytest.skip("needs a C compiler")
    source = directory / "driver.c"
    source.write_text(FAKE_DRIVER)
    numbers = [f"-DINIT={init}", f"-DCOUNT={count}"]
    subprocess.run(
        [compiler, "-x", "c", "-shared", "-fPIC", *numbers, source, "-o", directory / "libcuda.so.1"],
        check=True,
    )
    environment = {**os.environ, "LD_LIBRARY_PATH": str(directory)}
    answer = subprocess.run(
        [sys.executable, "-c", ASK], env=environment, check=True, capture_output=True, text=True
    )
    return json.loads(answer.stdout)


def test_two_gpus(tmp_path):
    count, problem, described = ask_fake_driver(tmp_path, init=0, count=2)
    assert (count, problem) == (2, None)
    assert described == [
        {"name": "Test GPU", "compute_capability": f"8.{minor}", "memory_bytes": 24 << 30} for minor in (6, 7)
    ]


def test_a_driver_without_a_gpu(tmp_path):
    count, problem, described = ask_fake_driver(tmp_path, init=0, count=0)
    assert (count, described) == (0, [])
    assert "shows no GPU" in problem


def test_a_driver_that_does_not_start(tmp_path):
    count, problem, described = ask_fake_driver(tmp_path, init=100, count=1)
    assert (count, described) == (0, [])
    assert problem.endswith("no CUDA-capable device is detected (CUDA error 100)")


def test_this_machine_is_consistent():
    assert len(gpus()) == gpu_count()
    assert (driver_problem() is None) == (gpu_count() > 0)


@pytest.mark.gpu
def test_a_real_gpu_has_a_name_and_memory():
    for gpu in gpus():
        assert gpu.name
        assert float(gpu.compute_capability) >= 5
        assert gpu.memory_bytes > 1 << 30
