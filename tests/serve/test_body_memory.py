"""The bytes of all bodies in flight have a limit, and are released."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.requests import Request

from alexnet_fast.serve.config import Limits
from alexnet_fast.serve.errors import RequestError
from alexnet_fast.serve.http.body import BodyReader


def request_of(size: int) -> Request:
    """A request with a body of zeros, from a client that then waits for the answer."""
    messages = iter([{"type": "http.request", "body": bytes(size), "more_body": False}])

    async def receive() -> Any:
        for message in messages:
            return message
        return await asyncio.Event().wait()

    return Request({"type": "http", "method": "POST", "path": "/", "headers": []}, receive)


async def refused(bodies: BodyReader, size: int) -> RequestError:
    """Reads a body for which there is no room; returns the error."""
    with pytest.raises(RequestError) as caught:
        async with bodies.body(request_of(size)):
            pass
    return caught.value


def test_bodies_beyond_the_bytes_in_flight_are_refused_until_others_end() -> None:
    async def ask() -> None:
        bodies = BodyReader(Limits(body_bytes=80, in_flight_bytes=100), timeout=20)
        async with bodies.body(request_of(60)):
            no_room = await refused(bodies, 41)
            assert (no_room.status, no_room.retry_after) == (503, 1)
            assert no_room.reason == "too many large requests at once"
            async with bodies.body(request_of(40)) as fits:
                assert len(fits) == 40
        # Neither the answered requests nor the refused one hold bytes any more.
        async with bodies.body(request_of(80)), bodies.body(request_of(20)):
            assert (await refused(bodies, 1)).status == 503

    asyncio.run(ask())


def test_a_body_that_is_too_large_releases_its_bytes() -> None:
    async def ask() -> None:
        bodies = BodyReader(Limits(body_bytes=80, in_flight_bytes=100), timeout=20)
        for _ in range(3):
            assert (await refused(bodies, 81)).status == 413
        async with bodies.body(request_of(80)) as body:
            assert len(body) == 80

    asyncio.run(ask())
