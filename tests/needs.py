"""What a test needs of its machine; where it is missing, the test is skipped with the reason."""

from __future__ import annotations

import pytest

from alexnet_fast.runtime.cuda import gpu_count
from alexnet_fast.runtime.versions import installed_version

needs_rtx = pytest.mark.skipif(
    installed_version("tensorrt_rtx") is None, reason="needs pip install 'alexnet-fast[rtx]'"
)
# What happens without one, or with a stand-in for one.
needs_no_gpu = pytest.mark.skipif(gpu_count() > 0, reason="needs a machine without a GPU")
