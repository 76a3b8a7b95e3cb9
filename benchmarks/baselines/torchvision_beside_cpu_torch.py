"""Lets torchvision be imported beside a torch built for the CPU alone.

PyPI's torchvision is built for CUDA. Beside a CPU torch its compiled operators do not load, and importing it
fails as it describes the outputs of two of them (`operator torchvision::nms does not exist`). Transforms and
data sets use neither: declaring the two is enough.
"""

from __future__ import annotations

import torch

_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"

if torch.version.cuda is None:
    LIBRARY = torch.library.Library("torchvision", "DEF")
    for _name in ("nms", "qnms"):
        LIBRARY.define(_name + _SIGNATURE)
