"""Engines that were built before, kept by a hash of everything that decides what is built.

They lie in `engines` in the user's cache folder, as `KEY.plan`. Every byte is checked before an engine is
used again; a damaged one is built anew. What was used longest ago goes when there are too many bytes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from typing import TYPE_CHECKING, Any

from alexnet_fast.errors import system_reason
from alexnet_fast.export.tensorrt.build import BuiltPlan
from alexnet_fast.runtime.manifest import TensorInfo
from alexnet_fast.utils.cache_dir import cache_dir
from alexnet_fast.utils.verified_cache import load_kept, save_kept

if TYPE_CHECKING:
    from pathlib import Path

    from alexnet_fast.export.config import EngineConfig
    from alexnet_fast.export.tensorrt.library import TrtLibrary

# A change of what is built from the same files and options, or of how it is kept, needs a new number here.
_FORMAT = 2
_SUFFIX = ".plan"
# Some thirty float32 engines of `alexnet` with 1000 classes, 245 MB each.
MOST_BYTES = 8 << 30

_log = logging.getLogger(__name__)


class EngineCache:
    """The kept engines of this user.

    Args:
        most_bytes: How much may be kept.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.directory = cache_dir() / "engines"
        self._most = most_bytes

    def path(self, onnx_sha256: str, library: TrtLibrary, config: EngineConfig) -> Path:
        """Returns where the engine for these lies, or would lie; the graph is named by its hash."""
        return self.directory / f"{_key(onnx_sha256, library, config)}{_SUFFIX}"

    def load(self, path: Path) -> BuiltPlan | None:
        """Returns a kept engine; None where there is none or it is damaged, which is said."""
        content = load_kept(path)
        if content is None:
            return None
        length = int.from_bytes(content[:8], "little")
        plain = json.loads(bytes(content[8 : 8 + length]))
        return BuiltPlan(
            content[8 + length :],
            _tensors(plain["inputs"]),
            _tensors(plain["outputs"]),
            plain["scratch_bytes"],
        )

    def save(self, path: Path, built: BuiltPlan) -> None:
        """Keeps an engine and makes room; that it cannot be kept is said, and is no error."""
        plain = {
            "inputs": [dataclasses.asdict(tensor) for tensor in built.inputs],
            "outputs": [dataclasses.asdict(tensor) for tensor in built.outputs],
            "scratch_bytes": built.scratch_bytes,
        }
        head = json.dumps(plain).encode()
        if save_kept(path, len(head).to_bytes(8, "little"), head, built.plan):
            self._make_room()

    def _make_room(self) -> None:
        """Removes what was used longest ago, until the rest is small enough."""
        try:
            files = [(file, file.stat()) for file in self.directory.glob(f"*{_SUFFIX}")]
            kept = 0
            for file, found in sorted(files, key=lambda entry: -entry[1].st_mtime_ns):
                kept += found.st_size
                if kept > self._most:
                    file.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("old engines in %s stay: %s", self.directory, system_reason(error))


def _key(onnx_sha256: str, library: TrtLibrary, config: EngineConfig) -> str:
    """Returns the hash of everything that decides what is built."""
    decides = {
        "format": _FORMAT,
        "onnx": onnx_sha256,
        "library": [library.name, library.version],
        # Which of several architectures comes first decides nothing that runs.
        "for": [sorted(library.compute_capabilities), library.gpu],
        "config": dataclasses.asdict(config),
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def _tensors(plain: list[dict[str, Any]]) -> tuple[TensorInfo, ...]:
    return tuple(TensorInfo(name=one["name"], dtype=one["dtype"], shape=tuple(one["shape"])) for one in plain)
