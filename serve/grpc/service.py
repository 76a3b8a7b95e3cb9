"""The gRPC service: `inference.GRPCInferenceService`."""

from __future__ import annotations

import time
import traceback
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf import json_format
from google.protobuf.message import DecodeError

from alexnet_fast.serve.errors import RequestError, malformed
from alexnet_fast.serve.grpc.codec import read_request, write_answer
from alexnet_fast.serve.grpc.messages import SERVICE, message_class
from alexnet_fast.serve.log import log_event
from alexnet_fast.serve.v2 import describe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from alexnet_fast.serve.metrics import Metrics
    from alexnet_fast.serve.models import ModelRegistry, ModelVersion

_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}


class GrpcService:
    """Answers the calls of the protocol.

    Args:
        registry: The models.
        metrics: Counts answers.
    """

    def __init__(self, registry: ModelRegistry, metrics: Metrics) -> None:
        self._registry = registry
        self._metrics = metrics

    def handler(self) -> grpc.GenericRpcHandler:
        """Returns the handler of the calls.

        Requests arrive as bytes: a message that cannot be parsed is the client's error, and gRPC itself would
        call it an internal one.
        """
        calls: dict[str, Callable[[Any], Any]] = {
            "ServerLive": lambda _: {"live": True},
            "ServerReady": lambda _: {"ready": self._registry.ready},
            "ModelReady": self._model_ready,
            "ServerMetadata": lambda _: describe.server_metadata(),
            "ModelMetadata": lambda request: describe.model_metadata(self._version(request)),
            "ModelConfig": self._config,
            "ModelStatistics": self._statistics,
        }
        methods = {
            name: grpc.unary_unary_rpc_method_handler(self._unary(name, call)) for name, call in calls.items()
        }
        methods["ModelInfer"] = grpc.unary_unary_rpc_method_handler(self._infer)
        methods["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(self._stream)
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    def _unary(self, name: str, call: Callable[[Any], Any]) -> Callable[[bytes, Any], Awaitable[bytes]]:
        """Returns a handler for a call that returns plain values."""
        request_class, response_class = message_class(f"{name}Request"), message_class(f"{name}Response")

        async def answer(content: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
            try:
                plain = call(_parse(request_class, content))
            except RequestError as error:
                await context.abort(_code(error), error.reason)
            response: bytes = json_format.ParseDict(plain, response_class()).SerializeToString()
            return response

        return answer

    async def _infer(self, content: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        """Answers `ModelInfer`."""
        try:
            answer = await self._answer(content, context.time_remaining())
        except RequestError as error:
            if error.retry_after is not None:
                context.set_trailing_metadata((("retry-after", str(error.retry_after)),))
            await context.abort(_code(error), error.reason)
        response: bytes = answer.SerializeToString()
        return response

    async def _stream(
        self, requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[bytes]:
        """Answers `ModelStreamInfer`: one answer per request, in order; an error does not end the stream."""
        stream_class = message_class("ModelStreamInferResponse")
        async for content in requests:
            try:
                answer = await self._answer(content, context.time_remaining())
                yield stream_class(infer_response=answer).SerializeToString()
            except RequestError as error:
                yield stream_class(error_message=error.reason).SerializeToString()

    async def _answer(self, content: bytes, remaining: float | None) -> Any:
        """Answers one inference request and counts it."""
        started = time.perf_counter()
        code = grpc.StatusCode.CANCELLED
        try:
            answer = await self._infer_one(content, remaining)
            code = grpc.StatusCode.OK
            return answer
        except RequestError as error:
            code = _code(error)
            raise
        except Exception as error:
            code = grpc.StatusCode.INTERNAL
            text = "".join(traceback.format_exception(error))
            log_event("internal error", level="error", path="ModelInfer", traceback=text)
            raise RequestError(500, "internal error; the server's log says more") from error
        finally:
            seconds = time.perf_counter() - started
            self._metrics.count("grpc", code.name, seconds)
            if self._registry.config.log_requests:
                log_event(
                    "request", method="grpc", path="ModelInfer", status=code.name, ms=round(seconds * 1e3, 3)
                )

    async def _infer_one(self, content: bytes, remaining: float | None) -> Any:
        message = _parse(message_class("ModelInferRequest"), content)
        model = self._registry.get(message.model_name)
        model.queue.check()
        return write_answer(await model.infer(read_request(message, remaining)))

    def _version(self, request: Any) -> ModelVersion:
        return self._registry.get(request.name).version(request.version or None)

    def _model_ready(self, request: Any) -> dict[str, Any]:
        self._version(request)
        return {"ready": self._registry.ready}

    def _config(self, request: Any) -> dict[str, Any]:
        return {"config": describe.model_config(self._version(request), self._registry.config.batching)}

    def _statistics(self, request: Any) -> dict[str, Any]:
        return describe.statistics([self._version(request)] if request.name else self._registry.current)


def _parse(kind: Any, content: bytes) -> Any:
    """Parses a message.

    Raises:
        RequestError: The bytes are no such message.
    """
    try:
        return kind.FromString(content)
    except DecodeError as error:
        raise malformed("the message cannot be parsed") from error


def _code(error: RequestError) -> grpc.StatusCode:
    return _CODES.get(error.status, grpc.StatusCode.INTERNAL)
