"""The two messages of gRPC's health check, byte by byte (protobuf, "Encoding"; grpc.health.v1)."""

import pytest
from grpc_health.v1 import health_pb2

from sidecar.http import grpc_health
from sidecar.http.grpc_health import NoHealth


def framed(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4, "big") + message


@pytest.mark.parametrize("service", ["", "orders.v1.Orders", "a" * 127, "a" * 128, "a" * 256])
def test_the_question_is_the_one_that_protobuf_writes(service: str) -> None:
    written = health_pb2.HealthCheckRequest(service=service).SerializeToString()
    assert grpc_health.question(service) == framed(written)


@pytest.mark.parametrize("name", ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"])
def test_each_answer_that_protobuf_writes_is_read(name: str) -> None:
    written = health_pb2.HealthCheckResponse(status=name).SerializeToString()
    assert grpc_health.status(framed(written)) == name


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (b"\x08\x07", "status 7"),
        (b"\x12\x03abc\x08\x01", "SERVING"),
        (b"\x0d\x00\x00\x00\x00\x08\x01", "SERVING"),
        (b"\x19\x00\x00\x00\x00\x00\x00\x00\x00\x08\x02", "NOT_SERVING"),
        (b"\x08\x02\x08\x01", "SERVING"),
        (b"\x10\x01", "UNKNOWN"),
    ],
)
def test_fields_that_nobody_here_knows_are_passed_over_and_the_last_of_one_counts(
    message: bytes, said: str
) -> None:
    assert grpc_health.status(framed(message)) == said


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0\0\0",
        b"\x01\0\0\0\x02\x08\x01",
        b"\0\0\0\0\x03\x08\x01",
        framed(b"\x08\x01") * 2,
        framed(b"\x08"),
        framed(b"\x08\x80"),
        framed(b"\x08" + b"\xff" * 11),
        framed(b"\x12\x05ab"),
        framed(b"\x0d\x00"),
        framed(b"\x0b"),
    ],
)
def test_what_is_no_such_answer_is_refused(content: bytes) -> None:
    with pytest.raises(NoHealth):
        grpc_health.status(content)


def test_the_head_names_the_server_and_how_long_it_may_take() -> None:
    head = dict(grpc_health.fields(b"http", b"127.0.0.1:50051", 4))
    assert head[b":path"] == b"/grpc.health.v1.Health/Check"
    assert (head[b":method"], head[b":authority"], head[b"te"]) == (b"POST", b"127.0.0.1:50051", b"trailers")
    assert head[b"grpc-timeout"] == b"4S"
