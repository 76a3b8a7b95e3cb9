"""The processes that train one network together: who this one is, and how they speak."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import distributed, nn

from alexnet_fast.errors import UserError

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistributedContext:
    """This process among those of the job.

    Args:
        rank: Counted from 0 over all machines; 0 writes the run's files.
        world: Number of processes.
        control: The group that host values travel through, always over gloo, so that nothing waits for a GPU.
    """

    rank: int = 0
    world: int = 1
    control: distributed.ProcessGroup | None = None

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def wrap(self, net: nn.Module) -> nn.Module:
        """Returns a network whose backward pass averages the gradients of all processes."""
        return net if self.world == 1 else nn.parallel.DistributedDataParallel(net)

    def total(self, values: list[float]) -> list[float]:
        """Returns the sums over all processes."""
        if self.world == 1:
            return values
        sums = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(sums, group=self.control)
        found: list[float] = sums.tolist()
        return found

    def gather(self, value: T) -> list[T]:
        """Returns what each process gave, by rank."""
        if self.world == 1:
            return [value]
        found: list[Any] = [None] * self.world
        distributed.all_gather_object(found, value, group=self.control)
        return found

    @torch.no_grad()
    def average(self, tensors: list[torch.Tensor]) -> None:
        """Replaces tensors by their mean over all processes."""
        if self.world > 1:
            for tensor in tensors:
                distributed.all_reduce(tensor)
                tensor.div_(self.world)

    @torch.no_grad()
    def broadcast(self, tensors: list[torch.Tensor]) -> None:
        """Replaces tensors by those of the first process."""
        if self.world > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, src=0)

    def run_on_main(self, function: Callable[[], T]) -> T:
        """Runs a function in the first process alone and gives its result to all.

        Raises:
            UserError: The function did, in every process alike.
        """
        if self.world == 1:
            return function()
        answer: list[Any] = [None]
        if self.first:
            try:
                answer = [function()]
            except UserError as error:
                answer = [error]
        distributed.broadcast_object_list(answer, src=0, group=self.control)
        if isinstance(answer[0], UserError):
            raise answer[0]
        found: T = answer[0]
        return found


ALONE = DistributedContext()
