"""A request that is not answered with probabilities, and what its sender is told."""

from __future__ import annotations


class RequestError(Exception):
    """What a client is told instead of an answer.

    Args:
        status: HTTP status; gRPC's code is derived from it.
        reason: One sentence for the person who wrote the client.
        retry_after: Seconds after which it is worth trying again; None where it never is.
    """

    def __init__(self, status: int, reason: str, *, retry_after: int | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.retry_after = retry_after


def malformed(reason: str) -> RequestError:
    """Returns the answer to a request that no server could understand."""
    return RequestError(400, reason)


def unknown(reason: str) -> RequestError:
    """Returns the answer to a request for something that is not here."""
    return RequestError(404, reason)


def too_large(reason: str) -> RequestError:
    """Returns the answer to a request beyond a limit."""
    return RequestError(413, reason)
