"""gRPC calls over HTTP/2, and refusals as gRPC statuses: a gRPC client reads `grpc-status` and does not show an HTTP
status.

A refusal is a Trailers-Only response (gRPC over HTTP/2, "Responses"): 200, status and message in one head.
"""

from typing import Final

from sidecar.http.answer import Answer
from sidecar.http.message import Field

TYPE: Final = b"application/grpc"
CALL_FIELDS: Final[tuple[Field, ...]] = ((b"content-type", TYPE), (b"te", b"trailers"))
"""Fields of every call (gRPC over HTTP/2, "Requests")."""
OK: Final = 0
INVALID_ARGUMENT: Final = 3
DEADLINE_EXCEEDED: Final = 4
PERMISSION_DENIED: Final = 7
RESOURCE_EXHAUSTED: Final = 8
UNIMPLEMENTED: Final = 12
INTERNAL: Final = 13
UNAVAILABLE: Final = 14
UNAUTHENTICATED: Final = 16
"""gRPC codes ("Status codes and their use in gRPC")."""

NAMES: Final = {
    OK: "OK",
    INVALID_ARGUMENT: "INVALID_ARGUMENT",
    DEADLINE_EXCEEDED: "DEADLINE_EXCEEDED",
    PERMISSION_DENIED: "PERMISSION_DENIED",
    RESOURCE_EXHAUSTED: "RESOURCE_EXHAUSTED",
    UNIMPLEMENTED: "UNIMPLEMENTED",
    INTERNAL: "INTERNAL",
    UNAVAILABLE: "UNAVAILABLE",
    UNAUTHENTICATED: "UNAUTHENTICATED",
}
_OF_STATUS: Final = {
    400: INVALID_ARGUMENT,
    401: UNAUTHENTICATED,
    403: PERMISSION_DENIED,
    408: DEADLINE_EXCEEDED,
    413: RESOURCE_EXHAUSTED,
    414: RESOURCE_EXHAUSTED,
    417: INVALID_ARGUMENT,
    431: RESOURCE_EXHAUSTED,
    501: UNIMPLEMENTED,
    502: UNAVAILABLE,
    503: UNAVAILABLE,
    504: DEADLINE_EXCEEDED,
    505: UNIMPLEMENTED,
}
_CONTENT: Final = frozenset({b"content-type", b"content-length"})


def is_call(content_type: bytes) -> bool:
    """Whether a `content-type` is that of a gRPC call, with or without a suffix for the encoding."""
    if content_type == TYPE:
        return True
    if content_type[: len(TYPE)].lower() != TYPE:
        return False
    kind = content_type.partition(b";")[0].rstrip(b" \t").lower()
    return kind == TYPE or kind.startswith(TYPE + b"+")


def call_head(scheme: bytes, path: bytes, authority: bytes) -> list[Field]:
    """The head of a call; `path` is /service/method."""
    head = [(b":method", b"POST"), (b":scheme", scheme), (b":path", path), (b":authority", authority)]
    return [*head, *CALL_FIELDS]


def text_message(text: bytes) -> bytes:
    """One message whose only field is number 1, a string (protobuf, "Encoding"); an empty string is omitted."""
    message = b"\x0a" + _varint(len(text)) + text if text else b""
    return b"\0" + len(message).to_bytes(4, "big") + message


def _varint(number: int) -> bytes:
    made = b""
    while number > 0x7F:
        made += bytes([number & 0x7F | 0x80])
        number >>= 7
    return made + bytes([number])


def status(answer: Answer) -> int:
    """The gRPC code of an answer. A 400 with a challenge is about credentials (RFC 6750 §3.1)."""
    if answer.status == 400 and answer.challenge is not None:
        return UNAUTHENTICATED
    return _OF_STATUS.get(answer.status, INTERNAL)


def message(text: str) -> bytes:
    """`grpc-message`: UTF-8, percent-encoded except for printable ASCII without `%`."""
    return b"".join(
        b"%c" % byte if 0x20 <= byte <= 0x7E and byte != 0x25 else b"%%%02X" % byte
        for byte in text.encode("utf-8", "replace")
    )


def trailers_only(answer: Answer, request_id: str) -> list[Field]:
    """A complete answer in the fields of one head, with its challenge."""
    fields: list[Field] = [(b":status", b"200"), (b"content-type", TYPE)]
    fields += [(name.lower(), value) for name, value in answer.fields if name.lower() not in _CONTENT]
    if answer.is_identified:
        fields.append((b"x-request-id", request_id.encode("ascii")))
    return fields + trailers(answer)


def trailers(answer: Answer) -> list[Field]:
    """The trailers that end a stream whose head was already sent."""
    return [(b"grpc-status", b"%d" % status(answer)), (b"grpc-message", message(answer.said))]


def said_status(fields: list[Field]) -> int:
    """`grpc-status` among trailers; -1 if it is absent or not a number."""
    for name, value in fields:
        if name == b"grpc-status":
            if len(value) == 1 and 0x30 <= value[0] <= 0x39:
                return value[0] - 0x30
            if value.isdigit() and len(value) <= 9:
                return int(value)
    return -1
