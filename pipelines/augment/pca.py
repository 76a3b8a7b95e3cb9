"""Principal components of colours (PCA), and colour shifts along them."""

from __future__ import annotations

import numpy as np

from alexnet_fast.pipelines.spec import PcaJitter
from alexnet_fast.utils.arrays import Doubles, Floats


def color_shifts(jitter: PcaJitter, components: Floats) -> Doubles:
    """Returns the colour shifts of the paper's jitter (Krizhevsky et al. 2012, section 4.1).

    Args:
        jitter: Standard deviations and components.
        components: (N, 3), drawn from N(0, 1): distance along each component.

    Returns:
        (N, 3): shift of R, G and B on the 0..255 scale.
    """
    scale = np.array(jitter.stdev) * jitter.sigma
    shifts: Doubles = (components * scale) @ np.array(jitter.eigenvectors).T
    return shifts


def principal_components(covariance: Doubles) -> tuple[Doubles, Doubles]:
    """Returns the standard deviations along the principal components, and the components.

    Args:
        covariance: (3, 3), of R, G and B.

    Returns:
        Standard deviations (3,), largest first, and eigenvectors (3, 3): rows are R, G, B, columns are
        components.
    """
    variances, vectors = np.linalg.eigh(covariance)
    # eigh sorts upwards and leaves the sign open: largest first, largest entry positive, on every machine.
    variances, vectors = variances[::-1], vectors[:, ::-1]
    return np.sqrt(variances.clip(min=0)), vectors * np.sign(vectors[np.abs(vectors).argmax(0), range(3)])
