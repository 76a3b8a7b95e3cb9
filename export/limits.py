"""Limits on the difference between an exported file and PyTorch, by precision."""

from __future__ import annotations

import dataclasses
import types
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from alexnet_fast.export.export_images import LEAST
from alexnet_fast.runtime.metadata import TOP_CLASSES, TOP_PROBABILITIES
from alexnet_fast.utils.arrays import Floats

if TYPE_CHECKING:
    from collections.abc import Mapping

    from alexnet_fast.export.config import Precision

# Largest difference of a probability in float32 on the CPU; measured are 1e-7 to 5e-7 (docs/export.md).
TOLERANCE = 1e-5
# If the answers hardly differ from image to image, 1e-5 would accept anything. The limit is then a tenth of
# their spread, but not below what float32 can resolve.
_SHARE_OF_SPREAD, _ROUNDING = 0.1, 3e-6


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """The accepted differences.

    Args:
        largest: Largest difference of a probability; None if single ones are not judged.
        p99: 99th percentile of the differences.
        agreement: Smallest share of images with PyTorch's top-1 class; a class to which PyTorch gives nearly
            the same probability (within `p99`) counts as the same.
        values: Largest difference of a logit or a feature, as a share of the largest of them.
    """

    largest: float | None
    p99: float
    agreement: float
    values: float


# Rounded files are judged by the effect of rounding on the classes. Half precision and TF32 keep 10 bits,
# bfloat16 keeps 7, int8 has 64 or 127 levels. The 99th percentile measured for an int8 file was 0.054
# (docs/export.md).
_ROUNDED: dict[Precision, Limits] = {
    "fp16": Limits(largest=None, p99=0.02, agreement=0.95, values=0.05),
    "tf32": Limits(largest=None, p99=0.02, agreement=0.95, values=0.05),
    "bf16": Limits(largest=None, p99=0.1, agreement=0.9, values=0.2),
    "int8": Limits(largest=None, p99=0.3, agreement=0.75, values=0.5),
}
# A GPU sums in another order, and its kernels may use Winograd's method.
_ENGINE_TOLERANCE = 1e-4


def limits_of(precision: Precision, tolerance: float, *, engine: bool = False) -> Limits:
    """Returns the limits for a file.

    Args:
        precision: The precision that it computes in.
        tolerance: Largest difference of a probability in float32.
        engine: Whether it is an engine on a GPU.
    """
    if precision in _ROUNDED:
        return _ROUNDED[precision]
    largest = max(tolerance, _ENGINE_TOLERANCE) if engine else tolerance
    return Limits(largest=largest, p99=largest, agreement=1, values=1e-2 if engine else 1e-3)


def judge(got: Answers, want: Answers, limits: Limits) -> str | None:
    """Compares answers with PyTorch's.

    Returns:
        What is wrong, with the figure; None if they agree within the limits.
    """
    # In float64, because float32 would round the differences.
    right = want.probabilities.astype(np.float64)
    error = np.abs(got.probabilities - right)
    if limits.largest is not None:
        spread = float((right.max(0) - right.min(0)).max())
        sharp = _SHARE_OF_SPREAD * spread + _ROUNDING * float(right.max())
        # A few images may be alike; their spread says nothing.
        allowed = min(limits.largest, sharp) if len(right) >= LEAST else limits.largest
        # Negated, so that NaN is refused too.
        if not error.max() <= allowed:
            return f"a probability is {error.max():.2g} off, more than {allowed:.2g}"
    p99 = float(np.quantile(error, 0.99))
    if not p99 <= limits.p99:
        return (
            f"the 99th percentile of the differences of a probability is {p99:.2g}, more than {limits.p99:g}"
        )
    chosen = np.take_along_axis(right, got.probabilities.argmax(1)[:, None], axis=1)[:, 0]
    share = float((chosen >= right.max(1) - limits.p99).mean())
    if share < limits.agreement:
        return f"only {share:.0%} have PyTorch's top-1 class, less than {limits.agreement:.0%}"
    return _judge_values(got, want, limits) or _judge_top(got)


def _judge_values(got: Answers, want: Answers, limits: Limits) -> str | None:
    """Compares logits and features."""
    for name in got.outputs.keys() - {TOP_CLASSES, TOP_PROBABILITIES}:
        right = want.outputs.get(name)
        if right is None or right.shape != got.outputs[name].shape:
            shape = None if right is None else right.shape[1:]
            return f"its {name} are {got.outputs[name].shape[1:]}, PyTorch's {shape}"
        scale = float(np.abs(right).max()) or 1.0
        error = float(np.abs(got.outputs[name].astype(np.float64) - right).max())
        if not error <= limits.values * scale:
            return f"its {name} are {error:.2g} off, of {scale:.2g}"
    return None


def _judge_top(got: Answers) -> str | None:
    """Checks the top classes of a file against its own probabilities."""
    if TOP_CLASSES not in got.outputs:
        return None
    classes, top = got.outputs[TOP_CLASSES], got.outputs[TOP_PROBABILITIES]
    top_k = -np.sort(-got.probabilities, axis=1)[:, : classes.shape[1]]
    named = np.take_along_axis(got.probabilities, classes, axis=1)
    if np.array_equal(top, top_k) and np.array_equal(named, top):
        return None
    return "its top classes are not those of its probabilities"


class Answers(NamedTuple):
    """Probabilities, float32 (N, classes), the runtime, and further outputs (N, ...) by name."""

    backend: str
    probabilities: Floats
    outputs: Mapping[str, np.ndarray[Any, Any]] = types.MappingProxyType({})
