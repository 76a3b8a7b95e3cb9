"""A GPU and a TensorRT that are neither: memory is the machine's own, and the engine is one line of C.

`libcuda.so.1` is built from C; the module `tensorrt_rtx` calls the kernel in it. They show that `EngineModel`
gives the right bytes in the right order. How fast or how right a GPU is they cannot show.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

DRIVER = r"""
#include <stdlib.h>
#include <string.h>
struct Kernel { unsigned char *in; float *out; int rows, size, classes; };
static struct Kernel recorded; static int capturing, time_now; int graphs_launched, buffers;
int cuInit(unsigned f) { return 0; }
int cuDeviceGetCount(int *n) { *n = 1; return 0; }
int cuDeviceGet(int *d, int i) { *d = i; return 0; }
int cuDeviceGetName(char *name, int n, int d) { strncpy(name, "Stand-in", n); return 0; }
int cuDeviceTotalMem_v2(unsigned long *b, int d) { *b = 1ul << 30; return 0; }
int cuDeviceGetAttribute(int *v, int which, int d) { *v = which == 75 ? 8 : 6; return 0; }
int cuGetErrorString(int c, const char **t) { *t = "an error"; return 0; }
int cuDevicePrimaryCtxRetain(void **c, int d) { *c = (void *)1; return 0; }
int cuCtxSetCurrent(void *c) { return c != (void *)1; }
int cuStreamCreate(void **s, unsigned f) { *s = (void *)7; return 0; }
int cuStreamSynchronize(void *s) { return s != (void *)7; }
int cuMemAlloc_v2(unsigned long *a, unsigned long n) { ++buffers; *a = (unsigned long)malloc(n); return 0; }
int cuMemFree_v2(unsigned long a) { --buffers; free((void *)a); return 0; }
int cuMemcpyHtoDAsync_v2(unsigned long to, void *from, unsigned long n, void *s) {
  memcpy((void *)to, from, n); return capturing; }
int cuMemcpyDtoHAsync_v2(void *to, unsigned long from, unsigned long n, void *s) {
  memcpy(to, (void *)from, n); return capturing; }
int cuEventCreate(void **e, unsigned f) { *e = calloc(1, sizeof(int)); return 0; }
int cuEventRecord(void *e, void *s) { *(int *)e = time_now; time_now += 3; return 0; }
int cuEventElapsedTime(float *t, void *a, void *b) { *t = *(int *)b - *(int *)a; return 0; }
int cuStreamBeginCapture_v2(void *s, int mode) { capturing = 1; return mode != 1; }
int cuStreamEndCapture(void *s, void **g) { capturing = 0; *g = (void *)3; return 0; }
int cuGraphInstantiateWithFlags(void **x, void *g, unsigned long long f) { *x = (void *)5; return f != 0; }
int cuGraphDestroy(void *g) { return g != (void *)3; }
int cuGraphExecDestroy(void *x) { memset(&recorded, 0, sizeof recorded); return x != (void *)5; }
static void run(struct Kernel k) {
  for (int r = 0; r < k.rows; ++r) {
    float sum = 0;
    for (int i = 0; i < k.size; ++i) sum += k.in[r * k.size + i];
    for (int c = 0; c < k.classes; ++c) k.out[r * k.classes + c] = sum + c;
  } }
int cuGraphLaunch(void *x, void *s) { ++graphs_launched; run(recorded); return x != (void *)5; }
void kernel(void *in, void *out, int rows, int size, int classes) {
  struct Kernel k = {in, out, rows, size, classes};
  if (capturing) recorded = k; else run(k); }
"""

TENSORRT = """
import ctypes
calls = []
driver = ctypes.CDLL("libcuda.so.1")
class Logger:
    ERROR = 1
    def __init__(self, level): pass
class Context:
    def set_optimization_profile_async(self, profile, stream):
        calls.append(("profile", profile)); return True
    def set_input_shape(self, name, shape):
        calls.append(("shape", shape[0])); self.shape = shape; return True
    def set_tensor_address(self, name, address): setattr(self, name, ctypes.c_void_p(address))
    def execute_async_v3(self, stream):
        rows, *image = self.shape
        size = image[0] * image[1] * image[2]
        driver.kernel(self.images, self.probabilities, rows, size, 5)
        if hasattr(self, "features"): driver.kernel(self.images, self.features, rows, size, 32)
        return rows != 13
class Engine:
    def create_execution_context(self): return Context()
class Runtime:
    def __init__(self, logger): pass
    def deserialize_cuda_engine(self, content): return Engine()
"""


def run_on_stand_in(directory, script):
    """Runs a Python script on a machine with the stand-in GPU; returns what it prints."""
    compiler = shutil.which("cc") or shutil.which("c++")
    if compiler is None:
        pytest.skip("needs a C compiler")
    (directory / "driver.c").write_text(DRIVER)
    shared = ["-x", "c", "-shared", "-fPIC", directory / "driver.c", "-o", directory / "libcuda.so.1"]
    subprocess.run([compiler, *shared], check=True)
    (directory / "tensorrt_rtx.py").write_text(TENSORRT)
    paths = os.pathsep.join([str(directory), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "LD_LIBRARY_PATH": str(directory), "PYTHONPATH": paths}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
