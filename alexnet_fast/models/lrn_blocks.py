"""Local response normalisation block by block: the dozen passes over a block find it in the caches.

A block is a run of `(C, L)` matrices: the rows of a channels_last tensor (L = 1), or the images of a
contiguous one (L = H * W). See `alexnet_fast.models.lrn` for the formulas.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

# Elements of a block for each thread of a CPU. Of 2**16 to 2**22, 2**17 and 2**18 were fastest, within 5 % of
# each other, for 32x96x55x55 and 32x256x27x27 in channels_last (median of 8; AMD EPYC of family 26, 2 threads
# with 1 MiB of L2 each, torch 2.13). The larger one waits half as often for all threads to finish a pass, and
# such a wait is long where other processes want the cores.
CPU_BLOCK_PER_THREAD = 2**18

# Elements of a block on any other device: many for each of its threads, yet no scratch buffer above 64 MiB.
DEVICE_BLOCK = 2**24


class Window(NamedTuple):
    """The constants of a normalisation; see `alexnet_fast.models.lrn.LocalResponseNorm`."""

    size: int
    alpha: float
    beta: float
    k: float

    @property
    def below(self) -> int:
        """Channels of the window before its own; the larger half if the window is even, as in PyTorch."""
        return self.size // 2

    @property
    def above(self) -> int:
        """Channels of the window after its own."""
        return (self.size - 1) // 2

    @property
    def scale(self) -> float:
        """Factor of the sum of the squares."""
        return self.alpha / self.size

    @property
    def slope(self) -> float:
        """Factor of the second term of the gradient."""
        return 2 * self.scale * self.beta


def wide_dtype(x: Tensor) -> torch.dtype:
    """The dtype of the arithmetic on x."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def normalise_in_blocks(x: Tensor, window: Window) -> Tensor:
    """LRN of x, `(N, C, *)`, in its dtype and memory format."""
    x = x if _is_channels_last(x) else x.contiguous()
    y = torch.empty_like(x)
    x_bcl, y_bcl = _blocks(x, x), _blocks(y, x)
    count = _matrices_in_block(x_bcl)
    root_of = _InverseRoot(x_bcl, count, window)
    power_buffer = torch.empty_like(root_of.buffer)
    for x_block, y_block in _walk(count, x_bcl, y_bcl):
        wide = x_block.to(root_of.buffer.dtype)
        power = _power(root_of(wide), window, power_buffer)
        torch.mul(wide, root_of.layout.values(power), out=y_block)
    return y


def gradient_in_blocks(x: Tensor, grad: Tensor, window: Window) -> Tensor:
    """Gradient for x of a loss whose gradient for the normalised x is `grad`; all `(N, C, *)`."""
    x = x if _is_channels_last(x) else x.contiguous()
    x_grad = torch.empty_like(x)
    x_bcl, grad_bcl, out_bcl = (_blocks(t, x) for t in (x, _laid_out_as(x, grad), x_grad))
    count = _matrices_in_block(x_bcl)
    root_of = _InverseRoot(x_bcl, count, window)
    layout = root_of.layout
    power_buffer, products = torch.empty_like(root_of.buffer), layout.buffer(0.0)
    direct_buffer = products.new_empty(count, *x_bcl.shape[1:])
    for x_block, grad_block, out_block in _walk(count, x_bcl, grad_bcl, out_bcl):
        wide = x_block.to(products.dtype)
        root = root_of(wide)
        power = layout.values(_power(root, window, power_buffer))
        direct = torch.mul(grad_block, power, out=direct_buffer[: len(wide)])
        inverse = layout.values(root.square_())
        torch.mul(direct, wide, out=layout.padded_values(products, len(wide))).mul_(inverse)
        through = layout.window_sums(products, len(wide), window.above, out=root)
        torch.addcmul(direct, wide, layout.values(through), value=-window.slope, out=out_block)
    return x_grad


class _Layout:
    """Where `(C, L)` matrices lie in a flat buffer so that window sums are sums of shifted flat vectors.

    Half a window of constant channels lies before the first matrix and after each one. A shift by L elements
    then moves every matrix by one channel and brings the constants in at its ends: no pass has short rows or
    special ends.

    Args:
        like_bcl: Gives C, L, the device and the dtype of the arithmetic.
        count: The most matrices in a buffer.
        size: Channels in a window.
    """

    def __init__(self, like_bcl: Tensor, count: int, size: int) -> None:
        _, self.channels, self.length = like_bcl.shape
        self.count = count
        self.size = size
        self.pitch = (self.channels + size // 2) * self.length
        self.lead = size // 2 * self.length
        self.like = like_bcl.new_empty(0, dtype=wide_dtype(like_bcl))

    def buffer(self, constant: float) -> Tensor:
        """A flat buffer with room for `count` matrices, filled with the constant."""
        return self.like.new_full((self.count * self.pitch + 2 * self.lead,), constant)

    def values(self, flat: Tensor) -> Tensor:
        """The `(count, C, L)` values of window sums, without the rubbish between them."""
        return flat.view(-1, self.channels + self.size // 2, self.length)[:, : self.channels]

    def padded_values(self, buffer: Tensor, count: int) -> Tensor:
        """The `(count, C, L)` values of a whole buffer, without the constants around them."""
        return self.values(buffer[self.lead : self.lead + count * self.pitch])

    def window_sums(self, buffer: Tensor, count: int, below: int, out: Tensor) -> Tensor:
        """Sums the windows that start `below` channels before their own; returns the part of `out` in use."""
        used = count * self.pitch
        starts = (self.lead + (shift - below) * self.length for shift in range(self.size))
        first, *others = (buffer[start : start + used] for start in starts)
        total = out[:used].copy_(first) if not others else torch.add(first, others[0], out=out[:used])
        for vector in others[1:]:
            total.add_(vector)
        return total


class _InverseRoot:
    """Computes d ** -0.5 of a block; `layout.values` leaves out what lies between its matrices."""

    def __init__(self, x_bcl: Tensor, count: int, window: Window) -> None:
        self.window = window
        self.layout = _Layout(x_bcl, count, window.size)
        # With k / size in every place, the constants too, each window adds up to k without a pass of its own.
        self.squares = self.layout.buffer(window.k / window.size)
        self.share = self.squares[:1].clone()
        self.buffer = self.squares.new_empty(count * self.layout.pitch)

    def __call__(self, wide_bcl: Tensor) -> Tensor:
        """Returns a flat view of `buffer`, overwritten by the next call."""
        count = len(wide_bcl)
        squares = self.layout.padded_values(self.squares, count)
        torch.addcmul(self.share, wide_bcl, wide_bcl, value=self.window.scale, out=squares)
        return self.layout.window_sums(self.squares, count, self.window.below, out=self.buffer).rsqrt_()


def _power(root: Tensor, window: Window, buffer: Tensor) -> Tensor:
    """Turns d ** -0.5 into d ** -beta, both flat; returns the part of `buffer` in use."""
    out = buffer[: len(root)]
    if window.beta == 0.75:
        return torch.sqrt(root, out=out).mul_(root)
    return torch.pow(root, 2 * window.beta, out=out)


def _is_channels_last(x: Tensor) -> bool:
    return x.movedim(1, -1).is_contiguous()


def _laid_out_as(x: Tensor, other: Tensor) -> Tensor:
    """Returns `other`, or a copy of it, in the memory format of x."""
    same = other.is_contiguous() if x.is_contiguous() else _is_channels_last(other)
    return other if same else torch.empty_like(x, dtype=other.dtype).copy_(other)


def _blocks(t: Tensor, like: Tensor) -> Tensor:
    """Views t, laid out as `like`, as contiguous `(B, C, L)`."""
    n, channels = t.shape[:2]
    length = math.prod(t.shape[2:])
    if like.is_contiguous():
        return t.view(n, channels, length)
    return t.movedim(1, -1).view(n * length, channels, 1)


def _matrices_in_block(x_bcl: Tensor) -> int:
    """How many `(C, L)` matrices make a block."""
    on_cpu = x_bcl.device.type == "cpu"
    budget = CPU_BLOCK_PER_THREAD * torch.get_num_threads() if on_cpu else DEVICE_BLOCK
    matrices, channels, length = x_bcl.shape
    return max(1, min(matrices, budget // max(1, channels * length)))


def _walk(count: int, *tensors_bcl: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yields blocks of `count` matrices of several tensors; nothing if they are empty."""
    if tensors_bcl[0].numel():
        yield from zip(*(torch.split(t, count) for t in tensors_bcl), strict=True)
