"""tqdm's progress line, fitted to the terminal's width at every refresh."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from tqdm import tqdm
from tqdm.utils import disp_len

# Columns of a terminal that does not tell its width.
_COLUMNS = 80

_COUNTED = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}]{figures}"
_SHARE = "{desc} {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}]{figures}"
# tqdm has no percentage and no bar without a total.
_ENDLESS = "{desc} {n_fmt} [{elapsed}]{figures}"


if TYPE_CHECKING:
    _Tqdm = tqdm[NoReturn]
else:
    # Only the stubs know that it is generic.
    _Tqdm = tqdm


class FittedBar(_Tqdm):
    """A line whose figures give way to a narrow terminal from the last one on.

    Args:
        label: What is being done.
        length: Number of things to be done; 0 if it is not known.
        done: Things done before.
        counts: Whether the things done are counted.

    Attributes:
        figures: What stands behind the bar, of falling importance.
    """

    def __init__(self, label: str, length: float, done: float, *, counts: bool) -> None:
        self.figures: Sequence[str] = ()
        self._full = _COUNTED if counts else _SHARE
        super().__init__(
            desc=label,
            total=length or None,
            initial=done,
            file=sys.stderr,
            leave=False,
            dynamic_ncols=True,
            # The mean over the whole work: its parts, training and validation for example, differ in speed.
            smoothing=0,
            miniters=0,
        )

    @property
    def nrows(self) -> int | None:
        """Lines of the terminal; None of one that does not tell, where tqdm would show nothing."""
        return self._rows

    @nrows.setter
    def nrows(self, rows: int | None) -> None:
        self._rows = rows if rows is not None and rows > 0 else None

    @property
    def format_dict(self) -> MutableMapping[str, Any]:
        """What tqdm renders the line from."""
        values = dict(super().format_dict)
        # tqdm leaves the last column free, and says -1 of a window that has no width.
        columns = values["ncols"]
        values["ncols"] = _COLUMNS if columns is None or columns < 0 else max(1, columns)
        values["bar_format"] = self._full if self.total else _ENDLESS
        values["figures"] = self._fitting(values)
        return values

    def _fitting(self, values: Mapping[str, Any]) -> str:
        """Returns as many figures as leave a bar."""
        for count in range(len(self.figures), 0, -1):
            text = "  " + "  ".join(self.figures[:count])
            # Without a width the bar has ten columns.
            line = tqdm.format_meter(**{**values, "ncols": None, "figures": text})
            if disp_len(line) <= values["ncols"]:
                return text
        return ""


# Neither a lock that is shared with other processes nor a thread of tqdm's own is needed.
FittedBar.set_lock(threading.RLock())
FittedBar.monitor_interval = 0
