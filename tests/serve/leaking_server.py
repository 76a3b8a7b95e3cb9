"""`alexnet-fast serve` with a leak, the control of the test of memory: each answer leaves 256 bytes."""

from __future__ import annotations

import sys
from typing import Any

from alexnet_fast.cli.main import main
from alexnet_fast.serve.http import app as http_app

_LEFT: list[bytearray] = []
_write_answer = http_app.write_answer


def _leaking(answer: Any) -> tuple[bytes, dict[str, str]]:
    _LEFT.append(bytearray(256))
    return _write_answer(answer)


if __name__ == "__main__":
    http_app.write_answer = _leaking
    sys.exit(main())
