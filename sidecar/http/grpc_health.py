"""The standard gRPC health check (`grpc.health.v1.Health/Check`): one request, one response. Pure.

Both are protobuf messages with one field: the request has the name of a service, the response a status.
"""

from typing import Final

from sidecar.http import grpc
from sidecar.http.message import Field

SERVING: Final = "SERVING"
_STATUSES: Final = ("UNKNOWN", SERVING, "NOT_SERVING", "SERVICE_UNKNOWN")
_STATUS: Final = 1
_VARINT, _FIXED64, _SIZED, _FIXED32 = 0, 1, 2, 5
"""Protobuf wire types."""


class NoHealth(Exception):
    """The content is not a response of this service; the text says why."""


def fields(scheme: bytes, authority: bytes, seconds: int) -> list[Field]:
    """The head of the request; the server should give up after `seconds` ("gRPC over HTTP/2", Requests)."""
    head = grpc.call_head(scheme, b"/grpc.health.v1.Health/Check", authority)
    return [*head, (b"grpc-timeout", b"%dS" % seconds)]


def question(service: str) -> bytes:
    """The request for the status of `service`; the empty name is the server as a whole."""
    return grpc.text_message(service.encode())


def status(content: bytes) -> str:
    """The status in a response: `SERVING`, or another. Raises `NoHealth`."""
    if len(content) < 5 or content[0] != 0 or int.from_bytes(content[1:5], "big") != len(content) - 5:
        raise NoHealth("the answer is not one message of gRPC")
    found, at = 0, 5
    while at < len(content):
        key, at = _read(content, at)
        value, at = _value(content, at, key & 7)
        if key == _STATUS << 3 | _VARINT:
            found = value
    return _STATUSES[found] if found < len(_STATUSES) else f"status {found}"


def _value(content: bytes, at: int, kind: int) -> tuple[int, int]:
    """The value of a field, if it is a number, and the offset of the next field."""
    if kind == _VARINT:
        return _read(content, at)
    if kind == _SIZED:
        size, at = _read(content, at)
    elif kind in {_FIXED32, _FIXED64}:
        size = 4 if kind == _FIXED32 else 8
    else:
        raise NoHealth("the answer is no message of protobuf")
    if at + size > len(content):
        raise NoHealth("the answer breaks off")
    return 0, at + size


def _read(content: bytes, at: int) -> tuple[int, int]:
    """A varint, and the offset of its end."""
    number = 0
    for shift in range(0, 70, 7):
        if at + shift // 7 >= len(content):
            raise NoHealth("the answer breaks off")
        byte = content[at + shift // 7]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at + shift // 7 + 1
    raise NoHealth("the answer is no message of protobuf")
