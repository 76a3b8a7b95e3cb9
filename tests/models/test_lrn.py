"""Local response normalisation: the numbers of PyTorch's in float64, in every dtype, layout and shape."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import local_response_norm

from alexnet_fast.models import LocalResponseNorm, lrn_blocks

FORMATS = [torch.contiguous_format, torch.channels_last]


def image(
    *shape: int, scale: float = 50.0, dtype: torch.dtype = torch.float32, seed: int = 0
) -> torch.Tensor:
    return (
        torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        .mul(scale)
        .to(dtype)
    )


def in_float64(
    norm: LocalResponseNorm, x: torch.Tensor, grad: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """PyTorch's own forward and gradient, in double precision."""
    exact = x.detach().double().requires_grad_()
    y = local_response_norm(exact, norm.size, norm.alpha, norm.beta, norm.k)
    y.backward(grad.double())
    assert exact.grad is not None
    return y.detach(), exact.grad


def assert_like_pytorch(norm: LocalResponseNorm, x: torch.Tensor, rtol: float = 2e-6) -> None:
    """Compares value and gradient with PyTorch's, relative to the largest of each."""
    x = x.detach().requires_grad_()
    grad = torch.randn_like(x)
    y = norm(x)
    y.backward(grad)
    for ours, exact in zip((y, x.grad), in_float64(norm, x, grad), strict=True):
        assert ours.shape == exact.shape
        assert ours.dtype == x.dtype
        largest = exact.abs().max() if exact.numel() else 1.0
        torch.testing.assert_close(ours.detach().double() / largest, exact / largest, rtol=0, atol=rtol)


@pytest.fixture
def _small_blocks(monkeypatch):
    """Blocks of a few rows, so that small tensors have many and an incomplete last one."""
    monkeypatch.setattr(lrn_blocks, "CPU_BLOCK_PER_THREAD", 50)


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("shape", [(2, 96, 55, 55), (2, 256, 27, 27)])
def test_the_sizes_of_alexnet(shape, memory_format):
    assert_like_pytorch(LocalResponseNorm(), image(*shape).contiguous(memory_format=memory_format))


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("scale", [10.0, 100.0, 1000.0])
def test_any_magnitude_in_float32(scale, memory_format):
    x = image(2, 32, 9, 9, scale=scale)
    assert_like_pytorch(LocalResponseNorm(), x.contiguous(memory_format=memory_format))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("magnitude", [10.0, 255.0, 256.0, 1000.0])
def test_half_precision_neither_overflows_nor_loses_more_than_the_last_bit(dtype, magnitude):
    x = torch.full((1, 16, 4, 4), magnitude, dtype=dtype)
    x[:, ::2] *= -1
    assert LocalResponseNorm()(x).abs().min() > 0
    assert_like_pytorch(LocalResponseNorm(), x, rtol=torch.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_under_autocast(dtype):
    norm = LocalResponseNorm()
    conv = torch.nn.Conv2d(3, 8, 1)
    torch.nn.init.constant_(conv.weight, 1.0)
    x = torch.full((1, 3, 4, 4), 200.0, requires_grad=True)
    with torch.autocast("cpu", dtype=dtype):
        maps = conv(x)
        y = norm(maps)
    y.float().sum().backward()
    assert maps.dtype == y.dtype == dtype
    exact = local_response_norm(maps.double(), 5, 5e-4, 0.75, 2.0)
    torch.testing.assert_close(y.double(), exact, rtol=torch.finfo(dtype).eps, atol=0)
    assert x.grad is not None
    assert x.grad.isfinite().all()


@pytest.mark.usefixtures("_small_blocks")
@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 7, 33])
def test_odd_channels_and_fewer_than_the_window(channels, memory_format):
    assert_like_pytorch(LocalResponseNorm(), image(3, channels, 5, 3).contiguous(memory_format=memory_format))


@pytest.mark.usefixtures("_small_blocks")
@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 11])
def test_any_window_the_even_ones_as_pytorch_places_them(size, memory_format):
    norm = LocalResponseNorm(size, alpha=0.01)
    assert_like_pytorch(norm, image(2, 9, 4, 3).contiguous(memory_format=memory_format))


@pytest.mark.parametrize(
    ("alpha", "beta", "k"), [(1e-4, 0.75, 1.0), (2e-3, 0.5, 0.1), (0.3, 1.0, 4.0), (0.1, 0.6, 2.0)]
)
def test_any_numbers(alpha, beta, k):
    assert_like_pytorch(LocalResponseNorm(5, alpha, beta, k), image(2, 12, 3, 3, scale=5.0))


@pytest.mark.parametrize("batch", [0, 1])
@pytest.mark.parametrize("memory_format", FORMATS)
def test_a_batch_of_none_or_one(batch, memory_format):
    assert_like_pytorch(LocalResponseNorm(), image(batch, 6, 4, 4).contiguous(memory_format=memory_format))


@pytest.mark.parametrize("shape", [(4, 7, 11), (2, 6, 3, 4, 5), (3, 8, 1, 1)])
def test_one_two_or_three_dimensions_beside_the_channels(shape):
    assert_like_pytorch(LocalResponseNorm(), image(*shape))


def test_an_input_that_is_a_strided_part_of_another():
    assert_like_pytorch(LocalResponseNorm(), image(2, 8, 6, 6)[:, :, ::2, 1:5])


def test_a_gradient_in_another_memory_format_or_expanded():
    x = image(2, 8, 5, 5).requires_grad_()
    for grad in (
        image(2, 8, 5, 5).contiguous(memory_format=torch.channels_last),
        torch.ones(()).expand(2, 8, 5, 5),
    ):
        x.grad = None
        LocalResponseNorm()(x).backward(grad)
        torch.testing.assert_close(
            x.grad.double(), in_float64(LocalResponseNorm(), x, grad)[1], rtol=1e-5, atol=1e-6
        )


@pytest.mark.usefixtures("_small_blocks")
@pytest.mark.parametrize("memory_format", FORMATS)
def test_gradcheck(memory_format):
    x = image(2, 7, 3, 2, scale=2.0, dtype=torch.float64).contiguous(memory_format=memory_format)
    for norm in (LocalResponseNorm(alpha=0.5), LocalResponseNorm(4, alpha=0.5, beta=0.6, k=1.0)):
        assert torch.autograd.gradcheck(norm, x.requires_grad_())


@pytest.mark.parametrize("memory_format", FORMATS)
def test_the_memory_format_stays(memory_format):
    x = image(2, 8, 5, 5).contiguous(memory_format=memory_format).requires_grad_()
    y = LocalResponseNorm()(x)
    y.sum().backward()
    assert y.is_contiguous(memory_format=memory_format)
    assert x.grad.is_contiguous(memory_format=memory_format)


def test_repetition_is_bit_equal_and_the_input_is_left_alone():
    x = image(2, 96, 13, 13).requires_grad_()
    before = x.detach().clone()
    results = []
    for _ in range(3):
        x.grad = None
        y = LocalResponseNorm()(x)
        y.backward(torch.ones_like(y))
        results.append((y.detach(), x.grad))
    assert all(torch.equal(a, b) for again in results[1:] for a, b in zip(again, results[0], strict=True))
    assert torch.equal(x, before)


def test_a_pixel_depends_on_its_own_channels_alone():
    """Blocks meet in memory; nothing of one row may reach the next."""
    x = image(2, 6, 3, 3).contiguous(memory_format=torch.channels_last)
    louder = x.clone()
    louder[0, :, 1, 1] = 1e6
    changed = (LocalResponseNorm()(x) != LocalResponseNorm()(louder)).any(dim=1)
    assert changed.nonzero().tolist() == [[0, 1, 1]]


@pytest.mark.parametrize("memory_format", FORMATS)
def test_the_compiled_module_is_one_graph_with_the_same_numbers(memory_format):
    norm = LocalResponseNorm()
    # aot_eager traces forward and backward as inductor does, and needs no C++ compiler.
    compiled = torch.compile(LocalResponseNorm(), fullgraph=True, backend="aot_eager")
    ours, theirs = (
        image(2, 8, 5, 5).contiguous(memory_format=memory_format).requires_grad_() for _ in range(2)
    )
    y, y_compiled = norm(ours), compiled(theirs)
    grad = image(2, 8, 5, 5, seed=1)
    y.backward(grad)
    y_compiled.backward(grad)
    torch.testing.assert_close(y_compiled, y, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(theirs.grad, ours.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_compiled_module_computes_half_precision_in_float32(dtype):
    compiled = torch.compile(LocalResponseNorm(), fullgraph=True, backend="aot_eager")
    x = torch.full((1, 8, 2, 2), 1000.0, dtype=dtype)
    y = compiled(x)
    assert y.dtype == dtype
    torch.testing.assert_close(y, LocalResponseNorm()(x))


@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
def test_tracing_sees_plain_operations():
    x = image(1, 8, 3, 3)
    traced = torch.jit.trace(LocalResponseNorm(), x)
    torch.testing.assert_close(traced(x), LocalResponseNorm()(x))
    assert "PythonOp" not in str(traced.graph)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("memory_format", FORMATS)
def test_the_same_code_on_a_gpu(dtype, memory_format):
    x = image(2, 96, 13, 13, scale=300.0, dtype=dtype).cuda().contiguous(memory_format=memory_format)
    assert_like_pytorch(LocalResponseNorm(), x, rtol=max(2e-6, torch.finfo(dtype).eps))


@pytest.mark.parametrize(("options", "message"), [({"size": 0}, "size is 0"), ({"k": 0.0}, "k is 0")])
def test_refuses_numbers_without_a_meaning(options, message):
    with pytest.raises(ValueError, match=message):
        LocalResponseNorm(**options)
