"""What the processes of a job decide together between two steps."""

from __future__ import annotations

import dataclasses

import torch
from torch import distributed

from alexnet_fast.training.distributed.group import DistributedContext


@dataclasses.dataclass(frozen=True, kw_only=True)
class ControlFlags:
    """What is to happen between two steps.

    Args:
        stop: Save and end.
        save: Save.
    """

    stop: bool = False
    save: bool = False


class StopSaveConsensus:
    """Makes every process follow a wish of any of them at the same step.

    The wishes of one step travel while the next one is computed, so nobody waits for them; they are
    followed one step later. A job of one process follows its own at once.

    Args:
        processes: Those who agree.
    """

    def __init__(self, processes: DistributedContext) -> None:
        self._processes = processes
        self._sent: torch.Tensor | None = None
        self._work: distributed.Work | None = None

    def settle(self, own: ControlFlags) -> ControlFlags:
        """Returns what all are to do now. Must be called equally often by all.

        Args:
            own: What this process wishes for.
        """
        if self._processes.world == 1:
            return own
        agreed = self._received()
        self._sent = torch.tensor([own.stop, own.save and not agreed.save], dtype=torch.int32)
        self._work = distributed.all_reduce(
            self._sent, distributed.ReduceOp.MAX, group=self._processes.control, async_op=True
        )
        return agreed

    def close(self) -> None:
        """Waits for what is still under way."""
        self._received()

    def _received(self) -> ControlFlags:
        """Returns the wishes of the step before."""
        if self._work is None or self._sent is None:
            return ControlFlags()
        self._work.wait()
        stop, save = self._sent.tolist()
        self._work = self._sent = None
        return ControlFlags(stop=bool(stop), save=bool(save))
