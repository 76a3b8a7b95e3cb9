"""Names of the NumPy array types that signatures use."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

# Pixels of images; the name of a variable gives the layout.
Pixels = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
# (images, classes); each row adds up to 1.
Probabilities = npt.NDArray[np.float32]
AnyArray = npt.NDArray[Any]
