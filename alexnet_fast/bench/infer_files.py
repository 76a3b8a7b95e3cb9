"""One network in every form that `bench infer` runs: ours, crop by crop, one crop, and torch's export."""

from __future__ import annotations

import copy
import dataclasses
import importlib.util
from typing import TYPE_CHECKING

from alexnet_fast.export.config import CPU_CONFIG
from alexnet_fast.export.onnx.model import build_model, write_model

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from alexnet_fast.bench.network import Network


@dataclasses.dataclass(frozen=True, kw_only=True)
class InferFiles:
    """The files.

    Args:
        ours: As `export` writes it.
        crop_by_crop: The same without the shared stem.
        single: One crop.
        plain: torch's own export of the stacked ten crops with torch's LRN; None where onnxscript is missing.
    """

    ours: Path
    crop_by_crop: Path
    single: Path
    plain: Path | None


def write_files(network: Network, directory: Path) -> InferFiles:
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


def _write_plain(network: Network, file: Path) -> Path | None:
    """Writes what somebody would export who has never seen ours."""
    if importlib.util.find_spec("onnxscript") is None:
        return None
    from alexnet_fast.bench.plain_export import write_plain

    return write_plain(_with_torchs_lrn(network.net), network.metadata("ten"), file)


def _with_torchs_lrn(net: torch.nn.Module) -> torch.nn.Module:
    """Returns a copy of the network with PyTorch's own LRN."""
    import torch

    from alexnet_fast.models import LocalResponseNorm

    copied = copy.deepcopy(net)
    for module in list(copied.modules()):
        for name, child in module.named_children():
            if isinstance(child, LocalResponseNorm):
                theirs = torch.nn.LocalResponseNorm(child.size, child.alpha, child.beta, child.k)
                setattr(module, name, theirs)
    return copied
