"""`alexnet-fast train` in several processes: what starts them, and what each of them runs.

The launcher and the processes speak through a folder: `options.json` goes in, `result.json` of the first one
or `error-RANK.json` of one that failed comes out.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alexnet_fast.errors import UserError
from alexnet_fast.utils.interrupts import Interrupted, gone_at_the_end, interruptible
from alexnet_fast.utils.streams import OutputError, prepare_streams

if TYPE_CHECKING:
    from alexnet_fast.training.config import TrainConfig


def train_in_processes(config: TrainConfig, processes: int, **how: Any) -> dict[str, Any]:
    """Trains in several processes of this machine.

    Args:
        config: The options.
        processes: How many.
        how: The other arguments of `training.job.train`.

    Returns:
        What `training.job.train` returned in the first process.

    Raises:
        UserError: One of them raised it, or ended otherwise.
    """
    from alexnet_fast.training.distributed.launcher import launch

    temporary = tempfile.TemporaryDirectory(prefix="alexnet-fast-")
    folder = Path(temporary.name)
    with temporary as name, gone_at_the_end(folder):
        options = {"config": config.to_dict(), "how": how}
        (folder / "options.json").write_text(json.dumps(options), encoding="utf-8")
        try:
            stopped = launch([sys.executable, "-m", __name__, name], processes)
        except UserError:
            _raise_first(folder)
            raise
        result = folder / "result.json"
        if not result.exists():
            _raise_first(folder)
            raise UserError(f"{stopped} ended the job before it had begun", "start it again with --resume")
        found: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        return found


def _raise_first(folder: Path) -> None:
    """Raises the error that one of the processes left behind, but for those that only lost another one.

    Raises:
        UserError: There is one.
    """
    for path in sorted(folder.glob("error-*.json")):
        error = json.loads(path.read_text(encoding="utf-8"))
        if not error["lost_baseline"]:
            raise UserError(error["problem"], error["mend"], exit_code=error["exit_code"])


def _run(folder: Path) -> None:
    """Does the work of one process.

    Raises:
        UserError: It failed.
    """
    from alexnet_fast.training.config import TrainConfig
    from alexnet_fast.training.console import EpochLine
    from alexnet_fast.training.distributed.launcher import end_with_launcher
    from alexnet_fast.training.run import train

    end_with_launcher()
    options = json.loads((folder / "options.json").read_text(encoding="utf-8"))
    line = EpochLine()
    try:
        result = train(TrainConfig.from_dict(options["config"]), **options["how"], show=line)
    finally:
        line.close()
    if os.environ["RANK"] == "0":
        (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")


def main() -> None:
    """Runs one process of a job; a user's mistake is left for the launcher to print, once."""
    folder = Path(sys.argv[1])
    with contextlib.suppress(OutputError):
        prepare_streams()
    try:
        with interruptible():
            # The launcher blocks them until here, so that nothing can be interrupted before.
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            _run(folder)
    except UserError as error:
        from alexnet_fast.training.distributed.joining import LostPeerError

        report = {
            "problem": error.problem,
            "mend": error.mend,
            "exit_code": error.exit_code,
            "lost_baseline": isinstance(error, LostPeerError),
        }
        (folder / f"error-{os.environ['RANK']}.json").write_text(json.dumps(report), encoding="utf-8")
        sys.exit(error.exit_code)
    except Interrupted as error:
        sys.exit(128 + error.number)


if __name__ == "__main__":
    main()
