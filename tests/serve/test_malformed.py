"""Malformed requests: every one is refused with its reason; none causes an internal error."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any

import grpc
import pytest
from malformed_bodies import BODIES, INFER, SIZE, body
from malformed_messages import MESSAGES, message
from malformed_requests import RAW, REQUESTS

from alexnet_fast.serve.grpc.messages import message_class
from running_server import RunningServer


def check(server: RunningServer, answer: tuple[int, Any], status: int, reason: str) -> None:
    """Checks that the answer is the expected refusal, and that the server goes on."""
    assert answer[0] == status, answer
    assert set(answer[1]) == {"error"}
    assert reason in answer[1]["error"], answer
    assert server.json("GET", "/v2/health/live") == (200, {"live": True})


def test_there_are_more_than_a_hundred_malformed_requests() -> None:
    assert len(BODIES) + len(REQUESTS) + len(RAW) + len(MESSAGES) >= 140


def test_the_unaltered_request_is_valid(server: RunningServer) -> None:
    status, answer = server.json("POST", INFER, body())
    assert status == 200
    assert sum(answer["outputs"][0]["data"]) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", BODIES)
def test_a_malformed_body_is_refused_with_its_reason(server: RunningServer, name: str) -> None:
    status, reason, content = BODIES[name]
    check(server, server.json("POST", INFER, content), status, reason)


@pytest.mark.parametrize("name", REQUESTS)
def test_a_malformed_request_is_refused_with_its_reason(server: RunningServer, name: str) -> None:
    status, reason, method, path, headers, content = REQUESTS[name]
    answered, _, text = server.call(method, path, content, headers)
    check(server, (answered, json.loads(text)), status, reason)


@pytest.mark.parametrize("name", RAW)
def test_malformed_bytes_on_the_wire_are_refused_with_their_reason(server: RunningServer, name: str) -> None:
    status, reason, content = RAW[name]
    host, _, port = server.http.partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        # The server may answer and close before it has everything.
        try:
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        check(server, (answer.status, json.loads(answer.read())), status, reason)


def test_a_chunked_body_has_the_same_size_limit(server: RunningServer) -> None:
    """The server reads 64 MiB and does not wait for the end of the body."""
    host, _, port = server.http.partition(":")
    chunk = b"%x\r\n%s\r\n" % (1 << 20, bytes(1 << 20))
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(66):
            connection.sendall(chunk)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        check(server, (answer.status, json.loads(answer.read())), 413, "more than 67108864 bytes")


def test_the_log_contains_only_events(server: RunningServer) -> None:
    host, _, port = server.http.partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(b"hello\r\n\r\n")
        assert b"400 Bad Request" in connection.recv(1000)
    assert server.wait_for("log")["message"].startswith("Invalid HTTP request")
    assert server.stray == []


@pytest.mark.parametrize("name", MESSAGES)
def test_a_malformed_grpc_message_is_refused_with_its_reason(server: RunningServer, name: str) -> None:
    code, reason, make = MESSAGES[name]
    request = make()
    content = request if isinstance(request, bytes) else request.SerializeToString()
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(server.grpc, options=options) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")(content, timeout=20)
        assert caught.value.code() == code, caught.value
        assert reason in caught.value.details()
        live = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")(b"", timeout=20)
        assert message_class("ServerLiveResponse").FromString(live).live


def test_values_in_the_right_contents_field_are_answered(server: RunningServer) -> None:
    request = message(raw_input_contents=[], inputs=[{"contents": {"uint_contents": [7] * SIZE}}])
    with grpc.insecure_channel(server.grpc) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        answer = message_class("ModelInferResponse").FromString(call(request.SerializeToString(), timeout=20))
    assert list(answer.outputs[0].shape) == [1, 7]
    assert len(answer.raw_output_contents[0]) == 4 * 7
