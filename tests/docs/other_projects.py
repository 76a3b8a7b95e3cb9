"""The Python of other projects' loaders: `make baselines` lays them over our environment."""

from __future__ import annotations

import re

from doc_blocks import ROOT, Block

BASELINES = ROOT / "alexnet_fast" / "bench" / "baselines"
PYTHON = BASELINES / ".venv" / "bin" / "python"

_OTHERS = re.compile(r"^\s*(?:import|from) (torchvision|timm|ffcv|lightning)\b", re.MULTILINE)


def is_of_others(block: Block) -> bool:
    """Tells whether a block imports another project, which our environment does not have."""
    return bool(_OTHERS.search(block.code))
