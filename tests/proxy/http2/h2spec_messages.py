"""h2spec's cases of RFC 7540 §8 (part `http2`): what makes a request malformed. RFC 9113 has them in §8.1 to §8.4."""

from typing import Final

from sidecar.http.message import Field
from tests.support.h2spec import GET, PROTOCOL, WHOLE, Case, breaks, data, head, refuses, with_field
from tests.support.http2_frames import PUSH, block, frame, request

_METHOD, _SCHEME, _PATH, _AUTHORITY = request()
_REGULAR: Final[Field] = (b"x-test", b"ok")


def _post(*fields: Field) -> bytes:
    return head(block(request("/a", "POST", *fields)), flags=WHOLE)


def _asks(*fields: Field) -> bytes:
    return head(block(list(fields)))


_MALFORMED: Final[dict[str, tuple[str, tuple[bytes, ...]]]] = {
    "8.1/1": (
        "second HEADERS without END_STREAM",
        (_post(), data(flags=0), head(block([_REGULAR]), flags=WHOLE)),
    ),
    "8.1.2/1": ("name in upper case", (with_field((b"X-TEST", b"ok")),)),
    "8.1.2.1/1": ("unknown pseudo-header field", (with_field((b":test", b"ok")),)),
    "8.1.2.1/2": ("pseudo-header field of responses", (with_field((b":status", b"200")),)),
    "8.1.2.1/3": (
        "pseudo-header field in trailers",
        (_post(), data(flags=0), head(block([(b":method", b"POST")]))),
    ),
    "8.1.2.1/4": (
        "pseudo-header field behind others",
        (_asks(_REGULAR, _METHOD, _SCHEME, _PATH, _AUTHORITY),),
    ),
    "8.1.2.2/1": ("Connection", (with_field((b"connection", b"keep-alive")),)),
    "8.1.2.2/2": (
        "TE other than trailers",
        (with_field((b"trailers", b"test"), (b"te", b"trailers, deflate")),),
    ),
    "8.1.2.3/1": ("empty :path", (_asks(_METHOD, _SCHEME, (b":path", b""), _AUTHORITY),)),
    "8.1.2.3/2": ("no :method", (_asks(_SCHEME, _PATH, _AUTHORITY),)),
    "8.1.2.3/3": ("no :scheme", (_asks(_METHOD, _PATH, _AUTHORITY),)),
    "8.1.2.3/4": ("no :path", (_asks(_METHOD, _SCHEME, _AUTHORITY),)),
    "8.1.2.3/5": (":method twice", (with_field(_METHOD),)),
    "8.1.2.3/6": (":scheme twice", (with_field(_SCHEME),)),
    "8.1.2.3/7": (":path twice", (with_field(_PATH),)),
    "8.1.2.6/1": ("Content-Length unlike DATA", (_post((b"content-length", b"1")), data())),
    "8.1.2.6/2": (
        "Content-Length unlike the sum of DATA",
        (_post((b"content-length", b"1")), data(flags=0), data()),
    ),
}

MESSAGES: Final = (
    *(
        Case(f"http2/{number}", title, says, refuses(PROTOCOL))
        for number, (title, says) in _MALFORMED.items()
    ),
    Case("http2/8.2/1", "PUSH_PROMISE", (frame(PUSH, 4, 1, b"\0\0\0\3" + GET),), breaks(PROTOCOL)),
)
