"""Damaged ONNX files, engines and manifests are refused before anything of them is loaded, with a reason."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from alexnet_fast.errors import UserError
from alexnet_fast.export.onnx.model import build_model, serialize
from alexnet_fast.runtime.manifest import (
    BatchProfile,
    FileStamp,
    Manifest,
    TensorInfo,
    manifest_path,
    verify_manifest,
    write_manifest,
)
from alexnet_fast.runtime.onnx_runtime import OnnxModel

VERSION = "1.7.1.116"


def damage(content: bytes, other: bytes, random: np.random.Generator) -> bytes:
    """Flips bits, cuts either end, loses a block, swaps the halves, or swaps the file for another's part."""
    cut = int(random.integers(1, len(content)))
    flipped = bytearray(content)
    for place in random.integers(0, len(content), int(random.integers(1, 4))):
        flipped[place] ^= 1 << int(random.integers(8))
    block = content[:cut] + b"\0" * 512 + content[cut + 512 :]
    kinds = [
        bytes(flipped),
        content[:cut],
        content[cut:],
        content[cut:] + content[:cut],
        content[:cut] + other[cut:],
        block,
        content + content[:cut],
        b"",
    ]
    return kinds[int(random.choice(len(kinds), p=[0.5, 0.1, 0.1, 0.08, 0.08, 0.06, 0.06, 0.02]))]


@pytest.fixture
def files(small_net, metadata, tmp_path):
    """A model, an engine and its manifest that are as they were written."""
    random = np.random.default_rng(1)
    model, engine = tmp_path / "model.onnx", tmp_path / "model.engine"
    model.write_bytes(serialize(build_model(small_net, metadata)))
    # Only its bytes count: it is refused before TensorRT sees it.
    engine.write_bytes(random.bytes(100_000))
    stamps = {"engine": FileStamp.of(engine), "onnx": FileStamp.of(model)}
    tensor = TensorInfo(name="images", dtype="uint8", shape=(-1, 43, 43, 3))
    manifest = Manifest(
        **stamps,
        library="tensorrt_rtx",
        library_version=VERSION,
        compute_capabilities=("8.6",),
        precision="fp32",
        inputs=(tensor,),
        outputs=(tensor,),
        batch=BatchProfile(min=1, opt=8, max=64),
        classes=5,
        crops="ten",
        metadata=metadata.to_props(),
    )
    write_manifest(manifest, engine)
    OnnxModel(model)
    verify_manifest(engine, runtime_version=VERSION)
    return {"onnx": model, "engine": engine, "manifest": manifest_path(engine)}


def refusals(files, what, count, monkeypatch):
    """Damages one file `count` times and counts the refusals that name a file."""
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_, **__: pytest.fail("it was loaded"))
    random, refused = np.random.default_rng(len(what)), 0
    whole, other = files[what].read_bytes(), files["onnx" if what == "engine" else "engine"].read_bytes()
    for _ in range(count):
        contents = damage(whole, other, random)
        if contents == whole:
            contents += b"\0"
        files[what].write_bytes(contents)
        with pytest.raises(UserError) as caught:
            if what == "onnx":
                OnnxModel(files["onnx"])
            else:
                verify_manifest(files["engine"], runtime_version=VERSION)
        refused += str(files["engine"].parent) in str(caught.value)
    return refused


@pytest.mark.parametrize("what", ["onnx", "engine", "manifest"])
def test_a_thousand_damaged_files_are_refused(files, what, monkeypatch, evidence):
    assert refusals(files, what, 1000, monkeypatch) == 1000
    evidence(f"damaged artefacts ({what})", n=1000, refused=1000, loaded=0)
