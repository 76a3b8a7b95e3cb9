"""The memory of a batch is reused, but never while somebody holds it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from alexnet_fast.pipelines.prefetch import BufferPool


def address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def test_memory_comes_back_once_every_view_is_gone() -> None:
    buffers = BufferPool()
    first = buffers.get((4, 5), np.float32)
    where = address(first)
    tensor = torch.from_numpy(first.reshape(2, 10))[1]
    del first
    assert address(buffers.get((4, 5), np.float32)) != where
    part = tensor.numpy()[2:]
    del tensor
    assert address(buffers.get((4, 5), np.float32)) != where
    del part
    assert address(buffers.get((4, 5), np.float32)) == where


def test_a_little_less_is_taken_from_the_same_memory_and_much_less_is_not() -> None:
    buffers = BufferPool()
    where = address(buffers.get((1000,), np.uint8))
    assert address(buffers.get((30, 30), np.uint8)) == where
    assert address(buffers.get((10,), np.uint8)) != where


def test_who_keeps_many_batches_keeps_them_whole() -> None:
    buffers = BufferPool()
    held = [buffers.get((100,), np.int64) for _ in range(30)]
    for number, batch in enumerate(held):
        batch[:] = number
    assert [set(batch.tolist()) for batch in held] == [{number} for number in range(30)]


def test_threads_never_share() -> None:
    buffers = BufferPool()

    def work(number: int) -> bool:
        mine = buffers.get((1000,), np.int64)
        mine[:] = number
        return all(bool((mine == number).all()) for _ in range(20))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(2000)))
