"""A client that hangs up before it is answered: nobody works for it any longer."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from alexnet_fast.serve.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request


# As nginx calls it; nobody is there to read it.
CLIENT_GONE = 499


def hung_up() -> RequestError:
    """Returns what the log says of such a request."""
    return RequestError(CLIENT_GONE, "the client hung up")


@contextlib.asynccontextmanager
async def cancelled_by_hang_up(request: Request) -> AsyncIterator[None]:
    """Cancels what is done in the block once the client hangs up.

    Args:
        request: Its body has been read, so that nothing but the end of the connection can come (ASGI).

    Raises:
        RequestError: The client hung up.
    """
    task = asyncio.current_task()
    assert task
    left = gone = False

    def cancel(watch: asyncio.Future[Any]) -> None:
        nonlocal gone
        if not left and not watch.cancelled() and watch.result()["type"] == "http.disconnect":
            gone = True
            task.cancel()

    watch = asyncio.ensure_future(request.receive())
    watch.add_done_callback(cancel)
    try:
        yield
    except asyncio.CancelledError as error:
        # The server's own end cancels too.
        if gone:
            raise hung_up() from error
        raise
    finally:
        left = True
        watch.cancel()
