"""Structured logs: one JSON object per line on stderr."""

from __future__ import annotations

import datetime
import json
import logging
import sys

from alexnet_fast.utils.streams import is_unicode


def log_event(event: str, *, level: str = "info", **fields: object) -> None:
    """Writes an event.

    Args:
        event: What happened.
        level: "info", "warning" or "error".
        fields: Details, as JSON values.
    """
    time = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
    line = {"time": time, "level": level, "event": event, **fields}
    text = json.dumps(line, default=str, ensure_ascii=not is_unicode(sys.stderr.encoding))
    # Surrogates, of a name that is not UTF-8, are escaped as JSON escapes them.
    sys.stderr.write(text.encode("utf-8", "backslashreplace").decode("utf-8") + "\n")
    sys.stderr.flush()


class EventHandler(logging.Handler):
    """Writes what libraries log as events too, so that every line is JSON."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one record."""
        level = "warning" if record.levelno < logging.ERROR else "error"
        log_event("log", level=level, logger=record.name, message=record.getMessage())
