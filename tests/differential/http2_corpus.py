"""Odd requests over HTTP/2: the rows of RFC 9113 §8, and the attacks on what is passed on as HTTP/1.1.

The attacks carry `SMUGGLED`, which nobody permits, or a field `x-injected`, which no client may make an API believe.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sidecar.http.message import Field
from tests.http.test_http2_request import MALFORMED, OTHERWISE_REFUSED
from tests.support.http2_frames import DATA, END_HEADERS, END_STREAM, HEADERS, block, frame

AUTHORITY = b"api.example"
SMUGGLED = b"GET /admin HTTP/1.1\r\nHost: api.example\r\nX-Injected: y\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Odd:
    """One request; without `data` its head is all."""

    fields: tuple[Field, ...]
    data: bytes | None = None
    trailers: tuple[Field, ...] | None = None

    def frames(self, scheme: bytes) -> bytes:
        """On stream 1. `scheme` is that of the connection, where the request has the ordinary one."""
        fields = [
            (name, scheme if (name, value) == (b":scheme", b"https") else value)
            for name, value in self.fields
        ]
        is_all = self.data is None and self.trailers is None
        head = frame(HEADERS, END_HEADERS | (END_STREAM if is_all else 0), 1, block(fields))
        if self.data is not None:
            head += frame(DATA, END_STREAM if self.trailers is None else 0, 1, self.data)
        if self.trailers is not None:
            head += frame(HEADERS, END_HEADERS | END_STREAM, 1, block(list(self.trailers)))
        return head


def asks(*others: Field, method: bytes = b"GET", path: bytes = b"/a", **pseudo: bytes) -> tuple[Field, ...]:
    return (
        (b":method", method),
        (b":scheme", pseudo.get("scheme", b"https")),
        (b":path", path),
        (b":authority", pseudo.get("authority", AUTHORITY)),
        *others,
    )


def _post(*others: Field, data: bytes = b"abc", trailers: tuple[Field, ...] | None = None) -> Odd:
    return Odd(asks(*others, method=b"POST"), data, trailers)


_LINES = b"\r\n\r\n" + SMUGGLED[:-4]
_INJECTED = b"\r\nx-injected: y"

PLAIN: Mapping[str, Odd] = {
    "nothing odd": Odd(asks()),
    "content": _post(),
    "content with its length": _post((b"content-length", b"3")),
    "content with trailers": _post(trailers=((b"x-t", b"v"),)),
    "content of GET": Odd(asks(), b"abc"),
    "Host alone": Odd((*asks()[:3], (b"host", AUTHORITY))),
    "Host like the authority": Odd(asks((b"host", AUTHORITY))),
    "crumbs of a cookie": Odd(asks((b"cookie", b"a=1"), (b"cookie", b"b=2"))),
    "TE: trailers": Odd(asks((b"te", b"trailers"))),
    "a value with bytes past ASCII": Odd(asks((b"x-a", b"\xc3\xa9"))),
    "a name with an underscore": Odd(asks((b"x_a", b"b"))),
    "Expect: 100-continue": _post((b"expect", b"100-continue"), (b"content-length", b"3")),
}
ATTACKS: Mapping[str, Odd] = {
    "H2.CL: length 0": _post((b"content-length", b"0"), data=SMUGGLED),
    "H2.CL: length below the content": _post((b"content-length", b"3"), data=b"abc" + SMUGGLED),
    "H2.CL: length above the content": _post((b"content-length", b"999"), data=SMUGGLED),
    "H2.CL: two lengths": _post((b"content-length", b"0"), (b"content-length", b"58"), data=SMUGGLED),
    "H2.TE: chunked": _post((b"transfer-encoding", b"chunked"), data=b"0\r\n\r\n" + SMUGGLED),
    "H2.TE: chunked, spelt with a space": _post(
        (b"transfer-encoding ", b"chunked"), data=b"0\r\n\r\n" + SMUGGLED
    ),
    "H2.TE: chunked, in upper case": _post((b"Transfer-Encoding", b"chunked"), data=b"0\r\n\r\n" + SMUGGLED),
    "H2.TE in a value": _post((b"x", b"y\r\ntransfer-encoding: chunked"), data=b"0\r\n\r\n" + SMUGGLED),
    "H2.TE in a name": _post((b"transfer-encoding: chunked\r\nx", b"y"), data=b"0\r\n\r\n" + SMUGGLED),
    "CR LF in a value: a field": Odd(asks((b"x", b"y" + _INJECTED))),
    "CR LF in a value: a request": Odd(asks((b"x", b"y" + _LINES))),
    "LF in a value": Odd(asks((b"x", b"y\nx-injected: y"))),
    "CR in a value": Odd(asks((b"x", b"y\rx-injected: y"))),
    "CR LF in a name": Odd(asks((b"x: y\r\nx-injected", b"y"))),
    "a colon in a name": Odd(asks((b"x-injected: y", b"z"))),
    "CR LF in :method": Odd(asks(method=b"GET /admin HTTP/1.1" + _INJECTED + b"\r\nx: y")),
    "a request line in :method": Odd(asks(method=b"GET /admin HTTP/1.1\r\n\r\nGET")),
    "a space in :method": Odd(asks(method=b"GET /admin?")),
    "CR LF in :path": Odd(asks(path=b"/a HTTP/1.1" + _INJECTED + b"\r\nx: y")),
    "a request in :path": Odd(asks(path=b"/a HTTP/1.1\r\nHost: api.example" + _LINES)),
    "a space in :path": Odd(asks(path=b"/a HTTP/1.1 x")),
    "a tab in :path": Odd(asks(path=b"/a\tb")),
    "an absolute :path": Odd(asks(path=b"https://other.example/admin")),
    "two slashes in :path": Odd(asks(path=b"//other.example/admin")),
    "dot segments in :path": Odd(asks(path=b"/a/../admin")),
    "encoded dot segments in :path": Odd(asks(path=b"/a/%2e%2e/admin")),
    "CR LF in :authority": Odd(asks(authority=AUTHORITY + _INJECTED)),
    "a path in :authority": Odd(asks(authority=b"api.example/admin?")),
    "CR LF in :scheme": Odd(asks(scheme=b"https" + _INJECTED)),
    "a URL in :scheme": Odd(asks(scheme=b"https://other.example/admin?")),
    "a second :path": Odd((*asks(), (b":path", b"/admin"))),
    "another Host": Odd(asks((b"host", b"other.example"))),
    "Connection that names a field": Odd(asks((b"connection", b"authorization"))),
    "upgrade to h2c": Odd(asks((b"connection", b"upgrade"), (b"upgrade", b"h2c"), (b"http2-settings", b""))),
    "a request in the content of HEAD": Odd(asks(method=b"HEAD"), SMUGGLED),
    "a request in the content of GET": Odd(asks(), SMUGGLED),
    "a pseudo-header field in trailers": _post(trailers=((b":path", b"/admin"),)),
    "Content-Length in trailers": _post(trailers=((b"content-length", b"0"),)),
    "Transfer-Encoding in trailers": _post(trailers=((b"transfer-encoding", b"chunked"),)),
    "Host in trailers": _post(trailers=((b"host", b"other.example"),)),
    "CR LF in trailers": _post(trailers=((b"x", b"y" + _LINES),)),
    "content_length with an underscore": _post((b"content_length", b"0"), data=SMUGGLED),
    "transfer_encoding with an underscore": _post(
        (b"transfer_encoding", b"chunked"), data=b"0\r\n\r\n" + SMUGGLED
    ),
}
ROWS: Mapping[str, Odd] = {
    name: Odd(fields)
    for name, fields in (MALFORMED | {name: found[0] for name, found in OTHERWISE_REFUSED.items()}).items()
}
CORPUS: Mapping[str, Odd] = {**PLAIN, **ROWS, **ATTACKS}
