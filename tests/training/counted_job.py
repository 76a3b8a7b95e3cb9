"""One process of a job that counts how often gradients travel; started by torchrun in `test_processes.py`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn

from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.distributed.group import DistributedContext
from alexnet_fast.training.run import train


def main() -> None:
    """Trains as the JSON file says that is the first argument, and writes the count beside it.

    `{rank}` in the run's folder stands for the rank: so machines without a common disk look.
    """
    file = Path(sys.argv[1])
    options: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    options["run"] = options["run"].format(rank=os.environ["RANK"])
    paths = {name: Path(options[name]) for name in ("data", "run", "weights") if name in options}
    travelled: list[int] = []
    wrap = DistributedContext.wrap

    def counting(dist: DistributedContext, net: nn.Module) -> nn.Module:
        wrapped = wrap(dist, net)

        def hook(state, bucket):  # torch compares annotations with types, which are texts here
            travelled.append(bucket.index())
            tensor = bucket.buffer().div_(dist.world)
            return (
                distributed.all_reduce(tensor, async_op=True).get_future().then(lambda done: done.value()[0])
            )

        wrapped.register_comm_hook(None, hook)
        return wrapped

    DistributedContext.wrap = counting
    torch.set_num_threads(1)
    train(TrainConfig(**{**options, **paths}))
    count = file.with_suffix(f".{os.environ['RANK']}")
    count.write_text(str(len(travelled)), encoding="utf-8")


if __name__ == "__main__":
    main()
