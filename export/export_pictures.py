"""The pictures that an export needs."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from alexnet_fast.export.verify import Pictures


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TrialPictures:
    """Pictures to try an export on.

    Args:
        nhwc_u8: uint8 (N, resize, resize, 3), RGB.
        labels: int64 (N,), the class of each; None where it is not known.
    """

    nhwc_u8: Pictures
    labels: np.ndarray[Any, np.dtype[np.int64]] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ExportPictures:
    """All of them.

    Args:
        trial: To compare the files with PyTorch on, with `ExportConfig.verify` or any precision but fp32.
        calibration: For int8: uint8 (N, resize, resize, 3), RGB, of the training pictures.
    """

    trial: TrialPictures | None = None
    calibration: Pictures | None = None
