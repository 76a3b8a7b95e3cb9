"""What of the documentation is not run by tests/docs/test_blocks_run.py, and why: each entry named.

What is listed is checked all the same: commands by click, scripts by bash, Python by its compiler and its
imports (test_blocks.py).
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Unrun:
    """A command, or a block of Python, that is not run.

    Args:
        page: Path from the root of the repository, or "*" for all pages.
        start: How the command, or the block, begins.
        reason: Why.
    """

    page: str
    start: str
    reason: str

    def fits(self, page: str, code: str) -> bool:
        """Tells whether it speaks of a piece of a page."""
        return self.page in ("*", page) and " ".join(code.split()).startswith(self.start)


_MINUTES = "measures for minutes; tests/bench and tests/cli run the same on less"
_CPP = "tests/cpp configures, builds, installs and runs the library"
_GPUS = "needs eight GPUs; with two processes of a CPU it is run below it"
_WEIGHTS = "the published weights are not within reach; tests/weights reads files of the same form"

UNRUN = (
    Unrun("*", "make ", "sets up an environment or runs all tests; .ci/run calls test, test-slow"),
    Unrun("README.md", "alexnet-fast bench input images", _MINUTES),
    Unrun("docs/cpp.md", "cmake -S serve/cpp", _CPP),
    Unrun("docs/cpp.md", "cmake --build", _CPP),
    Unrun("docs/cpp.md", "cmake --install", _CPP),
    Unrun("docs/cpp.md", "classify ", _CPP),
    Unrun("docs/data.md", "alexnet-fast prepare https://", "asks the internet; tests/download runs a server"),
    Unrun("docs/models.md", "alexnet-fast train images --model alexnet-owt", _WEIGHTS),
    Unrun("docs/models.md", "alexnet-fast train images --model alexnet-caffe", _WEIGHTS),
    Unrun("docs/models.md", "alexnet-fast export bvlc_alexnet.npy", _WEIGHTS),
    Unrun("docs/models.md", "alexnet-fast evaluate bvlc_alexnet.caffemodel", _WEIGHTS),
    Unrun("docs/multi-node.md", "alexnet-fast train images --run runs/first --gpus 8", _GPUS),
    Unrun("docs/multi-node.md", "torchrun --nproc-per-node 8", _GPUS),
    Unrun("docs/multi-node.md", "torchrun --nnodes 4", "needs four machines"),
    Unrun("docs/multi-node.md", "#!/bin/bash #SBATCH", "needs Slurm"),
    Unrun("docs/performance.md", "alexnet-fast bench", _MINUTES),
    Unrun("docs/performance.md", "python ", _MINUTES),
    Unrun("docs/recipes.md", "alexnet-fast bench compute", _MINUTES),
    Unrun("docs/recipes.md", "alexnet-fast bench train", _MINUTES),
    Unrun("docs/serving.md", "alexnet-fast bench serve model.onnx --against", "needs a Triton that serves"),
    Unrun("docs/triton.md", "tritonserver ", "needs a Triton: tests/model_repository/test_real_triton.py"),
    Unrun("docs/triton.md", "import numpy as np import tritonclient", "the same"),
)
