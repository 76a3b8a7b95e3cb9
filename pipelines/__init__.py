"""Input pipelines: one augmentation spec, the DALI graphs and the plain PyTorch loader built from it.

`ImageLoader` and `preprocess` are for your own scripts (docs/loader.md). Importing this package loads neither
torch nor DALI.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alexnet_fast.pipelines.cpu.pillow import preprocess
    from alexnet_fast.pipelines.image_loader import TORCHVISION_SPEC, ImageLoader
    from alexnet_fast.pipelines.spec import AugmentSpec

__all__ = ["TORCHVISION_SPEC", "AugmentSpec", "ImageLoader", "preprocess"]

_LAZY = {
    "TORCHVISION_SPEC": "image_loader",
    "AugmentSpec": "spec",
    "ImageLoader": "image_loader",
    "preprocess": "cpu.pillow",
}


def __getattr__(name: str) -> Any:
    """Imports the module behind a public name on its first use (PEP 562)."""
    if name not in _LAZY:
        raise AttributeError(f"module 'alexnet_fast.pipelines' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"alexnet_fast.pipelines.{_LAZY[name]}"), name)
