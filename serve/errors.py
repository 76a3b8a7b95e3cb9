"""The error answers of a server."""

from __future__ import annotations


class RequestError(Exception):
    """A request that is refused, with the status and the reason that its client gets.

    Args:
        status: HTTP status; gRPC's code is derived from it.
        reason: One sentence for the author of the client.
        retry_after: Seconds after which a new try makes sense; None if it never does.
    """

    def __init__(self, status: int, reason: str, *, retry_after: int | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.retry_after = retry_after


def malformed(reason: str) -> RequestError:
    """Returns the error of a malformed request."""
    return RequestError(400, reason)


def unknown(reason: str) -> RequestError:
    """Returns the error of a request for something that is not served."""
    return RequestError(404, reason)


def too_large(reason: str) -> RequestError:
    """Returns the error of a request that exceeds a limit."""
    return RequestError(413, reason)
