"""Taking a run folder into possession."""

from __future__ import annotations

from alexnet_fast.training.run_dir import RunFolder
from alexnet_fast.training.run_lock import LockFile


class RunDirLock:
    """Keeps a run folder for one job while its block runs; only the first process calls its methods.

    Args:
        run: The folder.
        resume: Whether it may hold a run.
    """

    def __init__(self, run: RunFolder, *, resume: bool) -> None:
        self.run, self._resume = run, resume
        self._lock: LockFile | None = None

    def __enter__(self) -> RunDirLock:
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._lock.release()

    def check(self) -> None:
        """Locks a run that is there already; a folder that is not is left so.

        Raises:
            UserError: There is a run and it is not to be resumed, or another job is at it.
        """
        self.run.check(resume=self._resume)
        if self.run.exists():
            self._lock = LockFile(self.run.lock)

    def make(self) -> None:
        """Makes the folder, locks it, and clears away what a killed job did not finish.

        Raises:
            UserError: It cannot be made, or another job was quicker.
        """
        self.run.make()
        if self._lock is None:
            self._lock = LockFile(self.run.lock)
            self.run.check(resume=self._resume)
        self.run.clear_partial()
