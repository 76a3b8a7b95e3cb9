"""TOML files that a user wrote."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from alexnet_fast.errors import UserError, system_reason

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_toml(path: Path) -> dict[str, Any]:
    """Reads a TOML file.

    Raises:
        UserError: It is missing or no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {system_reason(error)}", exit_code=2) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not TOML: {error}", exit_code=2) from error
