"""The ONNX files that `bench infer` runs."""

from __future__ import annotations

import dataclasses
import importlib.util
from typing import TYPE_CHECKING

from alexnet_fast.bench.network import with_torch_lrn
from alexnet_fast.export.config import CPU_CONFIG
from alexnet_fast.export.onnx.model import build_model, write_model

if TYPE_CHECKING:
    from pathlib import Path

    from alexnet_fast.bench.network import BenchModel


@dataclasses.dataclass(frozen=True, kw_only=True)
class InferFiles:
    """One network in four forms.

    Args:
        ours: As `export` writes it.
        crop_by_crop: The same without the shared stem.
        single: One crop.
        plain: torch's own export of the stacked ten crops with torch's LRN; None without onnxscript.
    """

    ours: Path
    crop_by_crop: Path
    single: Path
    plain: Path | None


def write_files(network: BenchModel, directory: Path) -> InferFiles:
    """Writes the network in each form."""
    ten, single = network.metadata("ten"), network.metadata("single")
    plain_stem = dataclasses.replace(CPU_CONFIG, stem="plain")
    files = InferFiles(
        ours=directory / "ours.onnx",
        crop_by_crop=directory / "crop-by-crop.onnx",
        single=directory / "single.onnx",
        plain=_write_plain(network, directory / "plain.onnx"),
    )
    write_model(build_model(network.net, ten), files.ours)
    write_model(build_model(network.net, ten, plain_stem), files.crop_by_crop)
    write_model(build_model(network.net, single), files.single)
    return files


def _write_plain(network: BenchModel, file: Path) -> Path | None:
    """Writes torch's own export, unless onnxscript is missing."""
    if importlib.util.find_spec("onnxscript") is None:
        return None
    from alexnet_fast.bench.plain_export import write_plain

    return write_plain(with_torch_lrn(network.net), network.metadata("ten"), file)
