"""Local response normalisation that is fast in eager mode and fuses under `torch.compile`.

    y[c] = x[c] / d[c] ** beta,   d[c] = k + alpha / size * (sum of x[i] ** 2 over the window of c)

The window holds `size` channels around c; channels beyond the ends count as zero. The gradient of a loss L is

    dL/dx[c] = g[c] * d[c] ** -beta - 2 * alpha * beta / size * x[c] * s[c]
    s[c] = sum of g[i] * x[i] * d[i] ** (-beta - 1) over the channels i whose window holds c

with g = dL/dy. Nothing but x is kept for the backward pass: computing d again takes less time than writing it
to memory and reading it back. `python -m benchmarks.lrn_speed` measures both forms.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from alexnet_fast.models.lrn_blocks import Window, gradient_in_blocks, normalise_in_blocks, wide_dtype


class LocalResponseNorm(nn.Module):
    """Normalises across channels, as section 3.3 of the AlexNet paper does.

    The arithmetic is float32 (float64 for float64 input) whatever autocast says, because x squared overflows
    float16 from |x| = 256. The result has the dtype and the memory format of the input.

    Args:
        size: Channels in a window. An even window reaches one channel further down than up, as PyTorch's.
        alpha: Multiplies the mean of the squares (PyTorch's, ONNX's and Caffe's convention). The paper's 1e-4
            multiplies their sum, hence 5e-4 with five channels.
        beta: Exponent; 0.75 is computed with two square roots instead of a power.
        k: Additive constant, above 0 so that no channel is divided by zero.

    Shape:
        `(N, C, *)` to the same; any C, also fewer channels than the window; N may be 0.
    """

    def __init__(self, size: int = 5, alpha: float = 5e-4, beta: float = 0.75, k: float = 2.0) -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f"size is {size}; a window holds at least one channel")
        if not k > 0:
            raise ValueError(f"k is {k}; it must be above 0")
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, x: Tensor) -> Tensor:
        """Returns x normalised."""
        window = Window(self.size, self.alpha, self.beta, self.k)
        if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            return normalise(x, window)
        # A compiler fuses the plain form into one loop; blocks would only hide the arithmetic from it.
        function = _Fused if torch.compiler.is_compiling() else _Blocked
        normalised: Tensor = function.apply(x, window)  # type: ignore[no-untyped-call]
        return normalised

    def extra_repr(self) -> str:
        """Returns the constants for the printed network."""
        return f"{self.size}, alpha={self.alpha:g}, beta={self.beta:g}, k={self.k:g}"


class _Blocked(torch.autograd.Function):
    """LRN in eager mode."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, window: Window) -> Tensor:
        ctx.save_for_backward(x)
        ctx.window = window
        return normalise_in_blocks(x, window)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return gradient_in_blocks(x, grad, ctx.window), None


class _Fused(torch.autograd.Function):
    """LRN under a compiler: the plain form with an explicit gradient, since autograd's own is longer."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, window: Window) -> Tensor:
        ctx.save_for_backward(x)
        ctx.window = window
        return normalise(x, window)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return _gradient(x, grad, ctx.window), None


def normalise(x: Tensor, window: Window) -> Tensor:
    """LRN of `(N, C, *)` in plain tensor operations, which autograd can differentiate."""
    wide = x.to(wide_dtype(x))
    return (wide * _power(_root(wide, window), window)).to(x.dtype)


def _gradient(x: Tensor, grad: Tensor, window: Window) -> Tensor:
    """Gradient of `normalise` for x, all `(N, C, *)`."""
    wide = x.to(wide_dtype(x))
    root = _root(wide, window)
    direct = grad * _power(root, window)
    through = _window_sum(direct * wide * (root * root), window.above, window.below)
    return (direct - window.slope * wide * through).to(x.dtype)


def _root(wide: Tensor, window: Window) -> Tensor:
    """Inverse square root of d."""
    return (_window_sum(wide * wide, window.below, window.above) * window.scale + window.k).rsqrt()


def _power(root: Tensor, window: Window) -> Tensor:
    """Turns d ** -0.5 into d ** -beta."""
    return root * root.sqrt() if window.beta == 0.75 else root.pow(2 * window.beta)


def _window_sum(values: Tensor, below: int, above: int) -> Tensor:
    """Sums over `below` channels before each one, itself, and `above` channels after it."""
    channels = values.shape[1]
    padded = nn.functional.pad(values, (0, 0) * (values.dim() - 2) + (below, above))
    total = padded.narrow(1, 0, channels)
    for shift in range(1, below + 1 + above):
        total = total + padded.narrow(1, shift, channels)
    return total
