"""The HTTP application: the V2 protocol, `POST /predict`, the page, and metrics for Prometheus."""

from __future__ import annotations

import time
import traceback
from importlib import resources
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from alexnet_fast.serve.errors import RequestError
from alexnet_fast.serve.http.body import CLIENT_GONE, BodyReader
from alexnet_fast.serve.http.predict import PredictRoute
from alexnet_fast.serve.log import log_event
from alexnet_fast.serve.metrics import CONTENT_TYPE
from alexnet_fast.serve.v2 import describe
from alexnet_fast.serve.v2.http_codec import HEADER_LENGTH, parse_request, write_answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, MutableMapping

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from alexnet_fast.serve.metrics import Metrics
    from alexnet_fast.serve.models import ModelRegistry, ModelVersion

    Answer = Callable[[Request], Response]

# The page contains its script and style; it may call this server and show the visitor's image.
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


def http_app(registry: ModelRegistry, metrics: Metrics) -> ASGIApp:
    """Returns the application."""
    bodies = BodyReader(registry.config.limits, registry.config.batching.timeout)

    async def infer(request: Request) -> Response:
        model = registry.get(request.path_params["model"])
        model.queue.check()
        version, length = request.path_params.get("version"), request.headers.get(HEADER_LENGTH)
        async with bodies.body(request) as body:
            inference = parse_request(model.name, version, body, length, registry.config.limits)
            answer = await model.infer(inference)
        content, headers = write_answer(answer)
        return Response(content, headers=headers)

    async def prometheus(request: Request) -> Response:
        del request
        return Response(metrics.render(), media_type=CONTENT_TYPE)

    routes = [
        *_descriptions(registry),
        Route("/v2/models/{model}/infer", infer, methods=["POST"]),
        Route("/v2/models/{model}/versions/{version}/infer", infer, methods=["POST"]),
        Route("/predict", PredictRoute(registry, bodies).answer, methods=["POST"]),
        Route("/metrics", prometheus),
    ]
    if registry.config.page:
        routes.append(page_route())
    handlers: Any = {RequestError: _refused, HTTPException: _no_route, Exception: _broken}
    return Observed(Starlette(routes=routes, exception_handlers=handlers), registry, metrics)


def _descriptions(registry: ModelRegistry) -> Iterator[Route]:
    """Returns the routes that describe the server and its models."""

    def version(request: Request) -> ModelVersion:
        return registry.get(request.path_params["model"]).version(request.path_params.get("version"))

    def readiness(**plain: Any) -> Response:
        if registry.ready:
            return JSONResponse({**plain, "ready": True})
        return JSONResponse({**plain, "ready": False, "error": "the server is about to end"}, status_code=503)

    of_server: dict[str, Answer] = {
        "/v2": lambda _: JSONResponse(describe.server_metadata()),
        # Load balancers and hosting platforms request /health by default.
        **dict.fromkeys(("/health", "/health/ready", "/v2/health/ready"), lambda _: readiness()),
        **dict.fromkeys(("/health/live", "/v2/health/live"), lambda _: JSONResponse({"live": True})),
        "/v2/repository/index": lambda _: JSONResponse(describe.repository_index(registry)),
        "/v2/models/stats": lambda _: JSONResponse(describe.statistics(registry.current)),
    }
    of_model: dict[str, Answer] = {
        "": lambda request: JSONResponse(describe.model_metadata(version(request))),
        "/ready": lambda request: readiness(name=version(request).model),
        "/config": lambda request: JSONResponse(
            describe.model_config(version(request), registry.config.batching)
        ),
        "/stats": lambda request: JSONResponse(describe.statistics([version(request)])),
    }
    for path, answer in of_server.items():
        yield Route(path, _in_loop(answer), methods=["GET", "POST"] if path.endswith("index") else ["GET"])
    for path, answer in of_model.items():
        yield Route(f"/v2/models/{{model}}{path}", _in_loop(answer))
        yield Route(f"/v2/models/{{model}}/versions/{{version}}{path}", _in_loop(answer))


def _in_loop(answer: Answer) -> Callable[[Request], Awaitable[Response]]:
    """Returns an endpoint that runs in the event loop; Starlette would run a plain function in a thread."""

    async def endpoint(request: Request) -> Response:
        return answer(request)

    return endpoint


async def _refused(request: Request, error: Exception) -> Response:
    """Answers a refused request with the reason."""
    del request
    assert isinstance(error, RequestError)
    headers = {} if error.retry_after is None else {"retry-after": str(error.retry_after)}
    return JSONResponse({"error": error.reason}, status_code=error.status, headers=headers)


async def _no_route(request: Request, error: Exception) -> Response:
    """Answers a request for a path or a method that is not served."""
    assert isinstance(error, HTTPException)
    where = f"{request.method[:20]} {request.url.path[:200]}"
    reason = "is not allowed here" if error.status_code == 405 else "is not served"
    return JSONResponse({"error": f"{where} {reason}"}, status_code=error.status_code, headers=error.headers)


async def _broken(request: Request, error: Exception) -> Response:
    """Answers after an internal error: the traceback goes to the log, not to the client."""
    text = "".join(traceback.format_exception(error))
    log_event("internal error", level="error", path=request.url.path[:200], traceback=text)
    return JSONResponse({"error": "internal error; the server's log says more"}, status_code=500)


class Observed:
    """ASGI middleware: counts and logs answers, and closes connections while the server drains."""

    def __init__(self, app: ASGIApp, registry: ModelRegistry, metrics: Metrics) -> None:
        self._app, self._registry, self._metrics = app, registry, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Runs the application for one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 0

        async def observe(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if self._registry.draining:
                    message["headers"] = [*message["headers"], (b"connection", b"close")]
            await send(message)

        try:
            await self._app(scope, receive, observe)
        finally:
            self._count(scope, status, time.perf_counter() - started)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        path = scope["path"]
        if path.endswith("/infer") or path == "/predict":
            self._metrics.count("http", str(status or CLIENT_GONE), seconds)
        if self._registry.config.log_requests:
            log_event(
                "request",
                method=scope["method"][:20],
                path=path[:200],
                status=status,
                ms=round(seconds * 1000, 3),
            )
