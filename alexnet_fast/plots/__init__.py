"""Plots: each module draws one kind and returns a matplotlib `Figure`.

from alexnet_fast.plots.curves import curves
from alexnet_fast.plots.style import save_png

save_png(curves(rows), Path("curves.png"))
"""

from __future__ import annotations

import importlib.util

from alexnet_fast.errors import UserError

# Checked here, before any module of the package is imported: matplotlib belongs to an extra.
if importlib.util.find_spec("matplotlib") is None:
    raise UserError("plots need matplotlib", "pip install 'alexnet-fast[demo]'")
