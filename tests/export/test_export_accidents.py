"""Disks that are full or cannot be written while a network is exported."""

from __future__ import annotations

import pytest
from test_export_job import needs_rtx

from alexnet_fast.errors import UserError
from alexnet_fast.export.config import ExportConfig
from alexnet_fast.export.export_images import ExportImages, VerificationImages
from alexnet_fast.export.exporter import run_export
from alexnet_fast.runtime.manifest import verify_manifest
from small_disk import below, make_larger, make_read_only, small_disk

# Kibibytes; model.onnx has 40, model.tensorrt.onnx as many, and the engine 200 (of TensorRT-RTX 1.7).
SIZES = [4, 24, 44, 64, 84, 120, 200]


@pytest.fixture
def export(small_net, metadata, images):
    def run(directory, *, trt, progress=None):
        config = ExportConfig(
            output=directory, trt=trt, gpu_archs=("86",) if trt else None, verify=True, engine_cache=False
        )
        given = ExportImages(verification=VerificationImages(nhwc_u8=images, labels=None))
        return run_export(
            small_net, metadata.spec, metadata.classes, "small", {}, given, config, progress=progress
        )

    return run


def check_full_disks(export, directory, sizes, *, trt):
    """An export that finds no room leaves what was there before; with room it is what it is elsewhere."""
    directory.mkdir()
    export(directory / "whole", trt=False)
    whole = below(directory / "whole")
    for size in sizes:
        with small_disk(directory / str(size), 10_000) as disk:
            (disk / "out").mkdir()
            for name, content in whole.items():
                (disk / "out" / name).write_bytes(content + b"")
            used = sum(-(-len(content) // 4096) * 4 for content in whole.values())
            make_larger(disk, used + size)
            with pytest.raises(
                UserError, match=f"cannot write {disk}/out(/[a-z.]+)?: no space left on device; check"
            ):
                export(disk / "out", trt=trt)
            assert below(disk) == {f"out/{name}": content for name, content in whole.items()}
            make_larger(disk, 10_000)
            result = export(disk / "out", trt=trt)
            assert (disk / "out" / "model.onnx").read_bytes() == whole["model.onnx"]
            assert not trt or verify_manifest(disk / "out" / "model.engine")
            assert result["verified"]["top1_agreement"] == 1


def test_a_full_disk(export, tmp_path):
    check_full_disks(export, tmp_path / "disks", [4, 24], trt=False)


@needs_rtx
@pytest.mark.soak
def test_full_disks(export, tmp_path, evidence):
    check_full_disks(export, tmp_path / "disks", SIZES, trt=True)
    count = len(SIZES)
    evidence(
        "full disks while an ONNX file and an engine are exported", n=count, clear=count, as_before=count
    )


def test_a_disk_that_turns_read_only_meanwhile(export, tmp_path, evidence):
    """As a kernel lets it do when it meets errors: before the first file, or while images are compared."""
    with small_disk(tmp_path / "disk", 10_000) as disk:
        export(disk / "out", trt=False)
        before = below(disk)

        def turn(*_):
            make_read_only(disk)
            return True

        with pytest.raises(
            UserError, match="cannot write .*: read-only file system; check the folder and the d"
        ):
            export(disk / "out", trt=False, progress=turn)
        assert {name: content for name, content in below(disk).items() if "/.export-" not in name} == before
        with pytest.raises(UserError, match=r"cannot write .*: read-only file system"):
            export(disk / "out", trt=False)
    evidence("a disk that is or turns read-only in an export", n=2, clear=2, as_before=2)
