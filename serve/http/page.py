"""The page at /: drop an image, see what it shows. One file, nothing from elsewhere."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

# The page's own script and style are inside it; it may talk to this server and show the visitor's image.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src blob: data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def page_route() -> Route:
    """Returns the route of the page."""
    page = resources.files("alexnet_fast.serve").joinpath("page.html").read_text(encoding="utf-8")
    headers = {"content-security-policy": _POLICY, "x-content-type-options": "nosniff"}

    async def show(request: Request) -> Response:
        del request
        return HTMLResponse(page, headers=headers)

    return Route("/", show)
