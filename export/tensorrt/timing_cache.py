"""How long classic TensorRT's kernels took on this GPU, kept so that the next build need not time them again.

TensorRT-RTX times nothing when it builds ahead of time, and has no use for it.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

from alexnet_fast.utils.cache_dir import cache_folder
from alexnet_fast.utils.verified_cache import load_kept, save_kept

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alexnet_fast.export.tensorrt.library import TrtLibrary

_log = logging.getLogger(__name__)


class TimingCache:
    """The kept times of one version of TensorRT on one kind of GPU.

    Args:
        library: What builds.
    """

    def __init__(self, library: TrtLibrary) -> None:
        gpu = "-".join((*library.compute_capabilities, *library.gpu.split()))
        self.path = cache_folder() / "timing" / f"{library.name}-{library.version}-{gpu}.times"
        self._times_kernels = library.name == "tensorrt"

    @contextlib.contextmanager
    def used_by(self, settings: Any) -> Iterator[None]:
        """Gives the kept times to a builder's settings, and keeps what a build has added.

        Args:
            settings: An IBuilderConfig.
        """
        if not self._times_kernels:
            yield
            return
        kept = bytes(load_kept(self.path) or b"")
        cache = settings.create_timing_cache(kept)
        # It refuses times of another GPU or driver; an empty cache is always taken.
        if not settings.set_timing_cache(cache, ignore_mismatch=False):
            _log.warning("the kept times of kernels do not fit this GPU; they are taken again")
            cache = settings.create_timing_cache(b"")
            settings.set_timing_cache(cache, ignore_mismatch=False)
        yield
        times = bytes(settings.get_timing_cache().serialize())
        if times != kept:
            save_kept(self.path, times)
