"""Structured logs: one JSON object a line on stderr."""

from __future__ import annotations

import datetime
import json
import logging
import sys


def log_event(event: str, *, level: str = "info", **fields: object) -> None:
    """Writes an event.

    Args:
        event: What happened.
        level: "info", "warning" or "error".
        fields: Everything else about it, as JSON values.
    """
    time = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
    line = {"time": time, "level": level, "event": event, **fields}
    sys.stderr.write(json.dumps(line, default=str, ensure_ascii=False) + "\n")
    sys.stderr.flush()


class EventHandler(logging.Handler):
    """Writes what libraries log as events, too, so that every line is JSON."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one record."""
        level = "warning" if record.levelno < logging.ERROR else "error"
        log_event("log", level=level, logger=record.name, message=record.getMessage())
