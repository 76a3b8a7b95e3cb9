"""Measures LRN, forward and backward: `python -m benchmarks.lrn_speed [--batch 32] [--turns 15]`.

Every turn times each form once, so that a busy machine slows all of them alike; the table shows medians, and
how many times as fast as `torch.nn.functional.local_response_norm` each is. Compiling needs a C++ compiler.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import local_response_norm

from alexnet_fast.models.lrn import LocalResponseNorm, normalise
from alexnet_fast.models.lrn_blocks import Window

if TYPE_CHECKING:
    from collections.abc import Callable

Form = dict[str, "Callable[[Tensor], Tensor]"]

PAPER = Window(size=5, alpha=5e-4, beta=0.75, k=2.0)
SHAPES = ((96, 55, 55), (256, 27, 27))  # what norm1 and norm2 of AlexNet see: channels, height, width
LAYOUTS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
BASELINE = "F.local_response_norm"


class BandMatmul(torch.autograd.Function):
    """A known fast form, for comparison: window sums as a product with a band matrix of ones."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Normalises `(N, C, H, W)`."""
        rows = x.movedim(1, -1).reshape(-1, x.shape[1])
        number = torch.arange(x.shape[1], device=x.device)
        band = ((number[:, None] - number).abs() <= PAPER.below).to(x.dtype) * PAPER.scale
        d = torch.addmm(x.new_tensor(PAPER.k), rows * rows, band)
        root = d.rsqrt()
        power = root * root.sqrt()
        ctx.save_for_backward(rows, d, power, band)
        return (rows * power).view(x.movedim(1, -1).shape).movedim(-1, 1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """Gradient for x."""
        rows, d, power, band = ctx.saved_tensors
        direct = grad.movedim(1, -1).reshape(rows.shape) * power
        through = torch.mm(direct * rows / d, band)
        x_grad = torch.addcmul(direct, rows, through, value=-2 * PAPER.beta)
        return x_grad.view(grad.movedim(1, -1).shape).movedim(-1, 1)


def forms() -> Form:
    """Returns every form by its name in the table."""
    ours = LocalResponseNorm()

    def plain(x: Tensor) -> Tensor:
        return normalise(x, PAPER)

    def theirs(x: Tensor) -> Tensor:
        return local_response_norm(x, PAPER.size, PAPER.alpha, PAPER.beta, PAPER.k)

    return {
        BASELINE: theirs,
        "band matmul": BandMatmul.apply,
        "five shifts, compiled": torch.compile(plain),
        "LocalResponseNorm": ours,
        "LocalResponseNorm, compiled": torch.compile(ours, fullgraph=True),
    }


def seconds(form: Callable[[Tensor], Tensor], x: Tensor, grad: Tensor) -> float:
    """Returns the seconds of one forward and backward pass."""
    x.grad = None
    start = time.perf_counter()
    form(x).backward(grad)  # type: ignore[no-untyped-call]
    if x.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(shape: tuple[int, ...], layout: torch.memory_format, turns: int, device: str) -> dict[str, float]:
    """Returns the median seconds of each form over `turns` turns, after an uncounted one.

    Args:
        shape: `(N, C, H, W)`.
        layout: Memory format of the input and of the incoming gradient.
        turns: Counted turns.
        device: Device to run on.
    """
    x = torch.randn(shape, device=device).mul(50).relu().contiguous(memory_format=layout).requires_grad_()
    grad = torch.randn(shape, device=device).contiguous(memory_format=layout)
    torch.compiler.reset()  # a second shape would otherwise be compiled for all shapes, which is slower
    candidates = forms()
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(turns + 1):
        for name, form in candidates.items():
            times[name].append(seconds(form, x, grad))
    return {name: median(seconds[1:]) for name, seconds in times.items()}


def hardware(device: str) -> str:
    """Returns the machine and the versions."""
    name = torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine()
    where = f"{name}, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"
    return f"{where}; torch {torch.__version__}, Python {platform.python_version()}"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description="Measures local response normalisation, forward and backward."
    )
    parser.add_argument("--batch", type=int, default=32, help="images in a batch")
    parser.add_argument("--turns", type=int, default=15, help="times that each form is measured")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to run")
    options = parser.parse_args()
    write = sys.stdout.write
    write(f"{hardware(options.device)}; float32, batch {options.batch}, median of {options.turns}\n")
    for layout_name, layout in LAYOUTS.items():
        for shape in SHAPES:
            write(f"\n{'x'.join(map(str, shape))}, {layout_name}\n")
            times = measure((options.batch, *shape), layout, options.turns, options.device)
            for name, seconds in times.items():
                write(f"  {name:<28}{seconds * 1e3:8.1f} ms {times[BASELINE] / seconds:6.1f} x\n")


if __name__ == "__main__":
    main()
