"""Frames of HTTP/2 written by hand (RFC 9113 §4.1), whatever they hold."""

from sidecar.http.message import Field

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS = 1, 1, 4


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """RFC 9113 §4.1."""
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


def block(fields: list[Field]) -> bytes:
    """Literal fields without indexing (RFC 7541 §6.2.2), whatever they hold."""
    return b"".join(b"\0" + _string(name) + _string(value) for name, value in fields)


def _string(text: bytes) -> bytes:
    size = len(text)
    if size < 127:
        return bytes((size,)) + text
    rest, prefix = size - 127, b"\x7f"
    while rest >= 128:
        prefix += bytes((rest % 128 + 128,))
        rest //= 128
    return prefix + bytes((rest,)) + text


def request(path: str = "/a", method: str = "GET", *others: Field, authority: str = "api") -> list[Field]:
    """The fields of a request."""
    return [
        (b":method", method.encode()),
        (b":scheme", b"https"),
        (b":path", path.encode()),
        (b":authority", authority.encode()),
        *others,
    ]


OPENING = PREFACE + frame(SETTINGS, 0, 0) + frame(SETTINGS, ACK, 0)
"""What a client sends before its requests (RFC 9113 §3.4), and that it has seen the server's settings."""


def asked(fields: list[Field], stream: int = 1) -> bytes:
    """A request without content."""
    return frame(HEADERS, END_HEADERS | END_STREAM, stream, block(fields))
