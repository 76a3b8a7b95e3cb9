"""An engine's batches: which profile takes them, how they are split and filled up, and recorded graphs."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from stand_in_gpu import run_on_stand_in

from alexnet_fast.export.config import EngineConfig, for_tensorrt
from alexnet_fast.export.onnx.model import build_model, write_model
from alexnet_fast.export.tensorrt.engine import build_engine
from alexnet_fast.export.tensorrt.library import choose_library
from alexnet_fast.runtime.cuda import gpu_count
from alexnet_fast.runtime.manifest import BatchProfile
from alexnet_fast.runtime.onnx_runtime import OnnxModel
from alexnet_fast.runtime.tensorrt_runtime import EngineModel, nearest_profile
from needs import needs_no_gpu, needs_rtx

SCRIPT = """
import ctypes, json, sys
import numpy as np
from alexnet_fast.runtime.tensorrt_runtime import EngineModel
import tensorrt_rtx
graphs, counts = {graphs}, {counts}
model = EngineModel({engine!r}, cuda_graphs=graphs)
random = np.random.default_rng(1)
for count in counts:
    images = random.integers(0, 256, (count, 43, 43, 3), np.uint8)
    want = images.reshape(count, 43 * 43 * 3).sum(1, dtype=np.int64)[:, None] + np.arange(5)
    np.testing.assert_array_equal(model.run(images), want)
counted = lambda name: ctypes.c_int.in_dll(tensorrt_rtx.driver, name).value
found = [tensorrt_rtx.calls, model.times(), model.backend, counted("graphs_launched"), counted("buffers")]
del model
print(json.dumps([*found, counted("buffers")]))
"""

OUTPUTS = """
import json
import numpy as np
from alexnet_fast.runtime.tensorrt_runtime import EngineModel
model = EngineModel({engine!r})
images = np.random.default_rng(1).integers(0, 256, (11, 43, 43, 3), np.uint8)
sums = images.reshape(11, -1).sum(1, dtype=np.int64)[:, None]
found = model.outputs(images, ["features", "probabilities"])
np.testing.assert_array_equal(found["features"], sums + np.arange(32))
np.testing.assert_array_equal(found["probabilities"], sums + np.arange(5))
every = model.outputs(images)
described = [[one.name, one.dtype, list(one.shape)] for one in model.output_tensors]
print(json.dumps([list(found), described, [[str(a.dtype), list(a.shape)] for a in every.values()]]))
"""

# The stand-in refuses 13 rows.
REFUSED = """
import numpy as np
from alexnet_fast.errors import UserError
from alexnet_fast.runtime.tensorrt_runtime import EngineModel
try: EngineModel({engine!r}).run(np.zeros((13, 43, 43, 3), np.uint8))
except UserError as error: print(error)
"""


def profiles(*sizes):
    return tuple(BatchProfile(min=low, opt=likely, max=high) for low, likely, high in sizes)


def engine_of(net, metadata, directory, *sizes, **outputs):
    source = directory / "model.onnx"
    form = dataclasses.replace(for_tensorrt("fp32"), **outputs)
    write_model(build_model(net, metadata, form), source)
    library = choose_library(None if gpu_count() else ["86"])
    return build_engine(
        source, directory / "model.engine", library, EngineConfig(profiles=profiles(*sizes))
    ).engine


@pytest.mark.parametrize(
    ("sizes", "chosen"),
    [
        ([(1, 1, 64), (1, 64, 64)], {1: 0, 7: 0, 9: 1, 64: 1}),
        ([(1, 8, 64)], {1: 0, 64: 0}),
        ([(1, 1, 1), (2, 16, 32), (33, 64, 64)], {1: 0, 2: 1, 32: 1, 33: 2}),
        ([(16, 16, 64), (4, 8, 8)], {1: 1, 4: 1, 9: 0, 60: 0}),
    ],
)
def test_a_batch_takes_the_profile_that_is_nearest(sizes, chosen):
    assert {count: nearest_profile(profiles(*sizes), count) for count in chosen} == chosen


@needs_rtx
@needs_no_gpu
@pytest.mark.parametrize("graphs", [False, True])
def test_every_row_gets_its_own_answer(small_net, metadata, tmp_path, graphs):
    engine = engine_of(small_net, metadata, tmp_path, (2, 2, 4), (4, 8, 8))
    script = SCRIPT.format(graphs=graphs, counts=[3, 3, 1, 8, 8, 19, 0], engine=str(engine))
    (tmp_path / "gpu").mkdir()
    calls, times, backend, launched, *buffers = json.loads(run_on_stand_in(tmp_path / "gpu", script))
    shapes = [what for what in calls if what[0] == "shape"]
    # 1 is filled up to 2; 19 are 8, 8 and 3.
    assert shapes == [["shape", rows] for rows in (3, 2, 8, 3)]
    assert [what[1] for what in calls if what[0] == "profile"] == [0, 1, 0]
    assert times == [3, 3, 3]
    assert backend.endswith("on Stand-in, fp32")
    assert buffers == [2, 0], "held, and given back with the model"
    assert launched == (8 if graphs else 0)


@needs_rtx
@needs_no_gpu
def test_outputs_besides_the_probabilities(small_net, metadata, tmp_path):
    """Each has its place on the GPU; those that are wanted come back, over several batches."""
    engine = engine_of(small_net, metadata, tmp_path, (1, 4, 8), extras=("features",), top=3)
    (tmp_path / "gpu").mkdir()
    named, described, every = json.loads(
        run_on_stand_in(tmp_path / "gpu", OUTPUTS.format(engine=str(engine)))
    )
    assert named == ["probabilities", "features"]
    assert described == [
        ["probabilities", "float", [-1, 5]],
        ["features", "float", [-1, 32]],
        ["top_classes", "int64", [-1, 3]],
        ["top_probabilities", "float", [-1, 3]],
    ]
    assert every == [["float32", [11, 5]], ["float32", [11, 32]], ["int64", [11, 3]], ["float32", [11, 3]]]


@needs_rtx
@needs_no_gpu
def test_a_batch_that_tensorrt_cannot_run(small_net, metadata, tmp_path):
    engine = engine_of(small_net, metadata, tmp_path, (1, 8, 16))
    (tmp_path / "gpu").mkdir()
    said = run_on_stand_in(tmp_path / "gpu", REFUSED.format(engine=str(engine)))
    assert f"TensorRT cannot run {engine} on 13 image(s); build it again" in said


@pytest.mark.gpu
@needs_rtx
@pytest.mark.parametrize("graphs", [False, True])
def test_on_a_gpu_graphs_and_profiles_change_no_answer(small_net, metadata, tmp_path, images, graphs):
    engine = engine_of(small_net, metadata, tmp_path, (1, 1, 1), (2, 4, 4))
    model, want = EngineModel(engine, cuda_graphs=graphs), OnnxModel(tmp_path / "model.onnx").run(images)
    for count in (1, 3, 4, 4, 11, 1):
        np.testing.assert_allclose(model.run(images[:count]), want[:count], atol=1e-3)
        assert all(time >= 0 for time in model.times())
