"""A cache of built engines, by a hash of everything that decides the build.

The files are `engines/KEY.plan` in the user's cache folder. Every byte is checked before an engine is used
again; a damaged one is built anew. The least recently used files are removed above the size limit.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from typing import TYPE_CHECKING, Any

import msgspec

from alexnet_fast.errors import system_reason
from alexnet_fast.export.tensorrt.build import BuiltPlan
from alexnet_fast.runtime.manifest import TensorInfo
from alexnet_fast.utils.cache_dir import cache_dir
from alexnet_fast.utils.verified_cache import load_kept, save_kept

if TYPE_CHECKING:
    from pathlib import Path

    from alexnet_fast.export.config import EngineConfig
    from alexnet_fast.export.tensorrt.library import TrtLibrary

# Raise it if the same files and options build another engine, or the format of the cached files changes.
_FORMAT = 2
_SUFFIX = ".plan"
# About thirty float32 engines of `alexnet` with 1000 classes, 245 MB each.
MOST_BYTES = 8 << 30

_log = logging.getLogger(__name__)


class EngineCache:
    """The cached engines of this user.

    Args:
        most_bytes: Size limit.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.directory = cache_dir() / "engines"
        self._most = most_bytes

    def path(self, onnx_sha256: str, library: TrtLibrary, config: EngineConfig) -> Path:
        """Returns the path of the engine for a graph (by its hash), a library and options."""
        return self.directory / f"{_key(onnx_sha256, library, config)}{_SUFFIX}"

    def load(self, path: Path) -> BuiltPlan | None:
        """Returns a cached engine; None if there is none, or it is damaged (with a warning)."""
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
        """Caches an engine and makes room; a failure is a warning, not an error."""
        plain = {
            "inputs": [dataclasses.asdict(tensor) for tensor in built.inputs],
            "outputs": [dataclasses.asdict(tensor) for tensor in built.outputs],
            "scratch_bytes": built.scratch_bytes,
        }
        head = json.dumps(plain).encode()
        if save_kept(path, len(head).to_bytes(8, "little"), head, built.plan):
            self._make_room()

    def _make_room(self) -> None:
        """Removes the least recently used engines above the size limit."""
        try:
            files = [(file, file.stat()) for file in self.directory.glob(f"*{_SUFFIX}")]
            total = 0
            for file, status in sorted(files, key=lambda entry: -entry[1].st_mtime_ns):
                total += status.st_size
                if total > self._most:
                    file.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("old engines in %s stay: %s", self.directory, system_reason(error))


def _key(onnx_sha256: str, library: TrtLibrary, config: EngineConfig) -> str:
    """Returns the hash of everything that decides the build."""
    decides = {
        "format": _FORMAT,
        "onnx": onnx_sha256,
        "library": [library.name, library.version],
        # The order of the architectures does not change the engine.
        "for": [sorted(library.compute_capabilities), library.gpu],
        "config": dataclasses.asdict(config),
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def _tensors(plain: list[dict[str, Any]]) -> tuple[TensorInfo, ...]:
    return msgspec.convert(plain, tuple[TensorInfo, ...])
