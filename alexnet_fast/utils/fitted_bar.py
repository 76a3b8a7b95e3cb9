"""tqdm's progress line, fitted to the terminal's width at every refresh."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

# Not tqdm.auto: it differs in notebooks alone, where stderr is no terminal and no bar is shown.
from tqdm import tqdm
from tqdm.utils import disp_len

# Columns of a terminal that does not report its width.
_COLUMNS = 80
# Seconds between two refreshes if the work reports nothing; tqdm's monitor refreshes only after updates.
_TICK = 1.0

_COUNTED = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}]{figures}"
_SHARE = "{desc} {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}]{figures}"
# tqdm has no percentage and no bar without a total.
_ENDLESS = "{desc} {n_fmt} [{elapsed}]{figures}"


if TYPE_CHECKING:
    _Tqdm = tqdm[NoReturn]
else:
    # Generic in the stubs only.
    _Tqdm = tqdm


class FittedBar(_Tqdm):
    """A progress line that drops figures, the last first, in a narrow terminal.

    It never exceeds the terminal's width, also when that changes; it moves every second; it disappears at the
    end. The arguments are those of `progress_bar`.

    Args:
        disable: Whether to show nothing.
    """

    def __init__(
        self,
        length: float,
        label: str,
        describe: Callable[[Any], Sequence[str]] | None,
        *,
        counts: bool,
        done: float,
        disable: bool,
    ) -> None:
        self._describe = describe
        self._figures: Sequence[str] = ()
        self._full = _COUNTED if counts else _SHARE
        self._over = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)
        super().__init__(
            desc=label,
            total=length or None,
            initial=done,
            file=sys.stderr,
            leave=False,
            disable=disable,
            dynamic_ncols=True,
            # The mean over the whole work: its parts, such as training and validation, differ in speed.
            smoothing=0,
            miniters=0,
        )
        if not disable:
            self._ticker.start()

    @property
    def length(self) -> float:
        """Number of items; 0 if it is not known."""
        return self.total or 0

    @length.setter
    def length(self, length: float) -> None:
        self.total = length or None
        self.refresh()

    def update(self, n: float | None = 1, item: Any = None, *, label: str | None = None) -> None:
        """Counts items; the line follows about ten times per second.

        Args:
            n: How many more are done.
            item: The current item, for `describe`.
            label: New name of the work.
        """
        if self.disable:
            self.n += n or 0
            return
        if item is not None and self._describe is not None:
            self._figures = self._describe(item)
        if label is not None:
            self.set_description_str(label, refresh=False)
        super().update(n)

    def show(self, done: float, total: float) -> None:
        """Shows `done` of `total` items; a callback for work that reports both."""
        if total != self.length:
            self.length = total
        self.update(done - self.n)

    def close(self) -> None:
        """Removes the line."""
        self._over.set()
        # A refresh after close() would draw the line again.
        if self._ticker.is_alive():
            self._ticker.join()
        super().close()

    @property
    def nrows(self) -> int | None:
        """Lines of the terminal; None if it does not report them, since tqdm would show nothing."""
        return self._rows

    @nrows.setter
    def nrows(self, rows: int | None) -> None:
        self._rows = rows if rows is not None and rows > 0 else None

    @property
    def format_dict(self) -> MutableMapping[str, Any]:
        """The values that tqdm renders the line from."""
        values = dict(super().format_dict)
        # tqdm leaves the last column free, and reports -1 for a window without a width.
        columns = values["ncols"]
        values["ncols"] = _COLUMNS if columns is None or columns < 0 else max(1, columns)
        values["bar_format"] = self._full if self.total else _ENDLESS
        values["figures"] = self._fitting(values)
        return values

    def _fitting(self, values: Mapping[str, Any]) -> str:
        """Returns as many figures as leave room for the bar."""
        for count in range(len(self._figures), 0, -1):
            text = "  " + "  ".join(self._figures[:count])
            # Without a width the bar has ten columns.
            line = tqdm.format_meter(**{**values, "ncols": None, "figures": text})
            if disp_len(line) <= values["ncols"]:
                return text
        return ""

    def _tick(self) -> None:
        """Moves the clock of the line."""
        while not self._over.wait(_TICK):
            self.refresh()


# tqdm's lock between processes and its monitor thread are not needed.
FittedBar.set_lock(threading.RLock())
FittedBar.monitor_interval = 0
