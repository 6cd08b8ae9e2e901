"""The words in which the cases of h2spec are told: what a client sends, and what a server must do then.

h2spec (github.com/summerwind/h2spec) is a conformance suite for HTTP/2 and HPACK. Its cases are kept here under its own
numbers; they are asked through the sidecar in memory, where nothing has to be waited for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sidecar.http.message import Field
from tests.support.conversation import Conversation
from tests.support.http2_client import RawHttp2
from tests.support.http2_frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    block,
    frame,
    request,
)
from tests.support.tls_client import Truncated

NO, PROTOCOL, FLOW_CONTROL = 0, 1, 3
STREAM_CLOSED, FRAME_SIZE, REFUSED, CANCEL, COMPRESSION = 5, 6, 7, 8, 9
"""Error codes (RFC 9113 §7)."""
ENDS, WHOLE = END_STREAM, END_HEADERS
PADDED, PRIORITIZED = 0x8, 0x20
"""Flags of HEADERS and DATA (RFC 9113 §6.1, §6.2)."""
ANSWERS: Final = "the API answers"
"""A step: what the API was asked so far has its answer, before the client goes on."""
CONTENT: Final = b"hello"

GET: Final = block(request())
POST: Final = block(request(method="POST"))
DUMMY: Final = block([(b"x-dummy0", b"x" * 200)])
LARGE_SETTING, OVER = 0x8000_0000, 0x7FFF_FFFF

Verdict = Callable[[RawHttp2], bool]


@dataclass(frozen=True, slots=True)
class Case:
    """One case: `number` as h2spec prints it, after the name of its part."""

    number: str
    title: str
    says: tuple[bytes | str, ...]
    wants: Verdict
    is_bare: bool = False
    """Nothing was said before: no preface and no settings."""


# --- what the client sends


def head(fields: bytes = GET, stream: int = 1, flags: int = ENDS | WHOLE) -> bytes:
    return frame(HEADERS, flags, stream, fields)


def with_field(*fields: Field, method: str = "GET") -> bytes:
    """The head of a request with more fields; pseudo-header fields may be among them."""
    return head(block(request("/a", method, *fields)))


def data(content: bytes = b"test", stream: int = 1, flags: int = ENDS) -> bytes:
    return frame(DATA, flags, stream, content)


def more(fields: bytes = DUMMY, stream: int = 1, flags: int = WHOLE) -> bytes:
    return frame(CONTINUATION, flags, stream, fields)


def priority(stream: int = 1, *, on: int = 0, weight: int = 255) -> bytes:
    return frame(PRIORITY, 0, stream, on.to_bytes(4) + bytes((weight,)))


def reset(stream: int = 1, code: int = CANCEL) -> bytes:
    return frame(RST_STREAM, 0, stream, code.to_bytes(4))


def settings(*values: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(name.to_bytes(2) + value.to_bytes(4) for name, value in values))


def window(size: int, stream: int = 0) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, size.to_bytes(4))


def ping(content: bytes = b"h2spec\0\0", flags: int = 0, stream: int = 0) -> bytes:
    return frame(PING, flags, stream, content)


def goaway(code: int = NO, stream: int = 0) -> bytes:
    return frame(GOAWAY, 0, stream, bytes(4) + code.to_bytes(4))


# --- what the server must do


def breaks(*codes: int) -> Verdict:
    """A connection error: GOAWAY with one of the codes, and the end of the connection."""
    return lambda client: client.goaway() in codes and client.client.got_goodbye


def refuses(*codes: int, stream: int = 1) -> Verdict:
    """A stream error; h2spec lets it be one of the connection as well."""
    return lambda client: client.was_reset(stream) in codes or breaks(*codes)(client)


def resets(code: int) -> Verdict:
    """RST_STREAM for the first stream, and no less than that stream."""
    return lambda client: client.was_reset(1) == code


def closes(client: RawHttp2) -> bool:
    return client.client.got_goodbye


def answers(client: RawHttp2) -> bool:
    """A response to the first stream."""
    return client.status(1) == 200


def pongs(content: bytes = b"h2spec\0\0") -> Verdict:
    """PING with ACK and the same content; and no other."""
    return lambda client: (
        [(flags, payload) for kind, flags, _, payload in client.frames if kind == PING] == [(ACK, content)]
    )


def acknowledges(client: RawHttp2) -> bool:
    """SETTINGS with ACK, once more than for the settings of every client."""
    return sum(kind == SETTINGS and flags == ACK for kind, flags, _, _ in client.frames) == 2


def sends(*sizes: int) -> Verdict:
    """Content in pieces of these sizes, and no more."""
    return lambda client: [len(payload) for payload in client.of(DATA, 1)] == list(sizes)


def prefaces(client: RawHttp2) -> bool:
    """The first frame is SETTINGS, without ACK."""
    kind, flags, _, _ = client.frames[0]
    return (kind, flags) == (SETTINGS, 0)


# --- a case is played


def holds(talk: Conversation, case: Case) -> bool:
    """Whether the sidecar does what the case wants."""
    client = RawHttp2(talk, settles=not case.is_bare)
    for step in (*case.says, ANSWERS):
        if isinstance(step, bytes):
            client.writes(step)
        else:
            _answer(talk)
    client.writes()
    return case.wants(client)


def _answer(talk: Conversation) -> None:
    while not talk.untouched:
        upstream = talk.upstream()
        try:
            asked = upstream.request()
        except Truncated:
            continue  # the client has not said all
        if asked is not None:
            content = b"" if asked.method == "HEAD" else CONTENT
            upstream.says(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(CONTENT) + content)
