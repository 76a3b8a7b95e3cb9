"""Principal components of colours."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]


def principal_components(covariance: Doubles) -> tuple[Doubles, Doubles]:
    """Returns the standard deviations along the principal components, and the components.

    Args:
        covariance: (3, 3), of R, G and B.

    Returns:
        Standard deviations (3,), largest first, and eigenvectors (3, 3): rows R, G, B, a column a component.
    """
    variances, vectors = np.linalg.eigh(covariance)
    # eigh sorts upwards and leaves the sign open: largest first, largest entry positive, on every machine.
    variances, vectors = variances[::-1], vectors[:, ::-1]
    return np.sqrt(variances.clip(min=0)), vectors * np.sign(vectors[np.abs(vectors).argmax(0), range(3)])
