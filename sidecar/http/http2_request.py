"""The fields of an HTTP/2 request → a request like any other, or a fault (RFC 9113 §8). Pure.

This module checks everything that the standard calls malformed, even if the engine has checked it before: its result
is written as HTTP/1.1, where a line end in a value begins a field and a second length begins a request.
"""

import re
from collections.abc import Iterable
from typing import Final

from sidecar.decision.denial import Reason
from sidecar.http import grpc
from sidecar.http.message import METHODS, Fault, Field, Request

_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+\Z")
"""Characters of a name: RFC 9110 §5.6.2, and no upper case (RFC 9113 §8.2.1)."""
_CLEAN: Final = bytes(0x20 if (byte < 0x20 and byte != 0x09) or byte == 0x7F else byte for byte in range(256))
"""Characters of a value (RFC 9110 §5.5) → themselves, control characters → another character. A lookup in a table of
all 256 is faster than a search for forbidden ones.
"""
_VISIBLE: Final = bytes(byte if 0x21 <= byte <= 0x7E else 0x21 for byte in range(256))
"""VCHAR (RFC 5234 B.1) → itself, any other → another character."""
_METHODS: Final = {method.encode(): method for method in (*METHODS, "TRACE", "CONNECT")}

# Kinds of names, as plain integers: compiled code compares them at no cost. Pseudo-header fields are below 0.
_UNKNOWN_PSEUDO: Final = -5
_METHOD: Final = -4
_SCHEME: Final = -3
_PATH: Final = -2
_AUTHORITY: Final = -1
_PLAIN: Final = 0
_AUTHORIZATION: Final = 1
# Those from here on are heeded: `_take_heeded` handles them.
_CONTENT_TYPE: Final = 2
_GRPC_TIMEOUT: Final = 3
_PRIORITY: Final = 4
_COOKIE: Final = 5
# Those from here on frame or route a message and cannot be trailers (RFC 9110 §6.5.1).
_TRAILER: Final = 6
_LENGTH: Final = 7
_HOST: Final = 8
_TE: Final = 9
_CONNECTION_SPECIFIC: Final = 10
"""RFC 9113 §8.2.2."""
_OWN_KINDS: Final = {
    b":method": _METHOD,
    b":scheme": _SCHEME,
    b":path": _PATH,
    b":authority": _AUTHORITY,
    b"authorization": _AUTHORIZATION,
    b"content-type": _CONTENT_TYPE,
    b"grpc-timeout": _GRPC_TIMEOUT,
    b"priority": _PRIORITY,
    b"cookie": _COOKIE,
    b"trailer": _TRAILER,
    b"content-length": _LENGTH,
    b"host": _HOST,
    b"te": _TE,
    b"connection": _CONNECTION_SPECIFIC,
    b"keep-alive": _CONNECTION_SPECIFIC,
    b"proxy-connection": _CONNECTION_SPECIFIC,
    b"transfer-encoding": _CONNECTION_SPECIFIC,
    b"upgrade": _CONNECTION_SPECIFIC,
}
_KNOWN_NAMES: Final[dict[bytes, int]] = dict(_OWN_KINDS)
"""Names that were found valid → kinds: one look-up says all about a name. The number of entries is bounded."""
_MOST_KNOWN: Final = 2048
_LONGEST_KNOWN: Final = 128
_NONE: Final[list[bytes]] = []
"""The shared empty list. It is never appended to."""
_MISPLACED: Final = "pseudo-header fields twice, or behind other fields"
_WITH_CONTENT: Final = frozenset({"POST", "PUT", "PATCH"})
_GRPC_TIMEOUT_VALUE: Final = re.compile(rb"([0-9]{1,8})([HMSmun])\Z")
_UNITS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


class Http2Request(Request):
    """One request as it arrives."""

    __slots__ = ("authorization", "defers", "grpc_timeout", "head_bytes", "is_grpc", "is_prioritized")

    def __init__(self) -> None:
        super().__init__()
        self.authorization = b""
        """The last value of Authorization, found clean."""
        self.is_grpc = False
        """The content is gRPC, so an answer must be too."""
        self.grpc_timeout = 0.0
        """Seconds that the client waits for the complete answer; 0 if it did not say."""
        self.is_prioritized = False
        """The client set a priority (RFC 9218 §4)."""
        self.defers = False
        """The request declares no content but has not ended: only its end shows whether that is true (RFC 9113
        §8.1.1).
        """
        self.head_bytes = 0
        """Decoded size of the fields of the head."""


class _Malformed(Exception):
    """The request is malformed (RFC 9113 §8.1.1)."""


def read_request(
    fields: tuple[Field, ...],
    *,
    ends: bool,
    target_bytes: int,
    header_bytes: int,
    headers: int,
    clean: bytes = b"",
) -> Http2Request:
    """Set the fields of a head; `ends` says that no content follows. An error is in `fault` afterwards.

    The limits are those of HTTP/1.1: bytes of `:path`, bytes and number of all fields. `clean` is a value in which no
    forbidden character was found before, such as the `authorization` of an earlier request: a token is long, and to
    compare it with itself is cheaper than to look at each of its characters again.
    """
    request = Http2Request()
    request.keep_alive, request.complete = True, ends
    try:
        _take(request, fields, clean)
    except _Malformed as malformed:
        request.fault = Fault(Reason.REQUEST_MALFORMED, str(malformed))
        request.head_bytes = _size(fields)
        return request
    if len(request.target) > target_bytes:
        request.fault = Fault(Reason.TARGET_TOO_LONG, f"target over {target_bytes} bytes")
    elif len(request.fields) > headers:
        request.fault = Fault(Reason.HEADER_TOO_LARGE, f"more than {headers} header fields")
    elif request.head_bytes > header_bytes:
        request.fault = Fault(Reason.HEADER_TOO_LARGE, f"header over {header_bytes} bytes")
    return request


def _size(fields: Iterable[Field]) -> int:
    """Bytes of field lines, with their colons and line ends."""
    size = 0
    for name, value in fields:
        size += len(name) + len(value) + 4
    return size


def read_trailers(request: Request, fields: tuple[Field, ...], trailer_bytes: int) -> None:
    """Set the trailer fields of `request`, which complete it. An error is in its `fault` afterwards."""
    request.complete = True
    try:
        _check_trailers(fields)
    except _Malformed as malformed:
        request.fault = Fault(Reason.REQUEST_MALFORMED, str(malformed))
        return
    request.trailers = list(fields)
    request.trailer_bytes = _size(fields)
    if request.trailer_bytes > trailer_bytes:
        request.fault = Fault(Reason.HEADER_TOO_LARGE, f"trailers over {trailer_bytes} bytes")


def _check_trailers(fields: tuple[Field, ...]) -> None:
    pseudo: list[bytes] = []
    framing: list[bytes] = []
    regular = 0
    for name, value in fields:
        kind = _kind(name, value, b"")
        if kind >= _PLAIN:
            regular += 1
            if kind >= _TRAILER:
                framing.append(name)
        elif regular or name in pseudo:
            raise _Malformed(_MISPLACED)
        else:
            pseudo.append(name)
    if pseudo:
        raise _Malformed("pseudo-header fields in trailers")
    if framing:
        raise _Malformed(f"{framing[0].decode('ascii')} in trailers")


def _kind(name: bytes, value: bytes, clean: bytes) -> int:
    """The kind of a field that can be written as HTTP/1.1. Raises `_Malformed`."""
    if (
        value != clean
        and value
        and (value[0] <= 0x20 or value[-1] <= 0x20 or value.translate(_CLEAN) != value)
    ):
        raise _Malformed("a field value with a control character, or with space around it")
    kind = _KNOWN_NAMES.get(name)
    return _kind_of_new(name) if kind is None else kind


def _kind_of_new(name: bytes) -> int:
    if name[:1] == b":":
        return _UNKNOWN_PSEUDO
    if not _NAME.match(name):
        raise _Malformed("a field name that is no token in lower case")
    if len(name) <= _LONGEST_KNOWN:
        if len(_KNOWN_NAMES) >= _MOST_KNOWN:
            _KNOWN_NAMES.clear()  # else one client could fill it, and no further name would ever be cached
            _KNOWN_NAMES.update(_OWN_KINDS)
        _KNOWN_NAMES[name] = _PLAIN
    return _PLAIN


def _take(request: Http2Request, fields: tuple[Field, ...], clean: bytes) -> None:
    """Set everything that a head says. Raises `_Malformed`."""
    method: bytes | None = None
    scheme: bytes | None = None
    path: bytes | None = None
    authority: bytes | None = None
    others: set[bytes] | None = None
    heeded: list[int] | None = None
    regular = size = 0
    for name, value in fields:
        kind = _kind(name, value, clean)
        if kind >= _PLAIN:
            if kind > _AUTHORIZATION:
                heeded = heeded or []
                heeded.append(regular)
            elif kind == _AUTHORIZATION:
                request.authorization = value
            regular += 1
            size += len(name) + len(value) + 4
        elif regular:
            # RFC 9113 §8.3: "All pseudo-header fields MUST appear in a field block before all regular field lines."
            raise _Malformed(_MISPLACED)
        elif kind == _METHOD and method is None:
            method = value
        elif kind == _SCHEME and scheme is None:
            scheme = value
        elif kind == _PATH and path is None:
            path = value
        elif kind == _AUTHORITY and authority is None:
            authority = value
        elif kind == _UNKNOWN_PSEUDO and (others is None or name not in others):
            others = others or set()
            others.add(name)
        else:
            raise _Malformed(_MISPLACED)
    _take_pseudo(request, method, scheme, path, authority, has_others=others is not None)
    request.fields, request.head_bytes = list(fields[len(fields) - regular :]), size
    _take_regular(request, heeded, authority)


def _take_regular(request: Http2Request, heeded: list[int] | None, authority: bytes | None) -> None:
    """Handle the fields that are set by now; `heeded` are the positions of those that are more than passed on."""
    hosts, lengths = _NONE, _NONE
    if heeded is not None:
        hosts, lengths = [], []
        _take_heeded(request, heeded, hosts, lengths)
    _add(request, b"host", _host(authority, hosts))
    _take_length(request, lengths)


def _add(request: Http2Request, name: bytes, value: bytes) -> None:
    request.fields.append((name, value))
    request.head_bytes += len(name) + len(value) + 4


def _take_pseudo(
    request: Http2Request,
    said_method: bytes | None,
    scheme: bytes | None,
    path: bytes | None,
    authority: bytes | None,
    *,
    has_others: bool,
) -> None:
    method = None if said_method is None else _METHODS.get(said_method)
    if method == "CONNECT":
        # RFC 9113 §8.5. CONNECT is refused in any case; extended CONNECT (RFC 8441) was not offered, so it is
        # malformed.
        if scheme is not None or path is not None or has_others or authority is None:
            raise _Malformed("CONNECT with other pseudo-header fields than :authority")
        request.method, request.target = method, b"/"
        return
    if said_method is None or scheme is None or path is None or has_others:
        raise _Malformed("not exactly :method, :scheme, :path and at most :authority")
    if method is None:
        raise _Malformed("a method that is not known")
    if scheme not in (b"https", b"http"):  # a proxy in front may have received the request without TLS
        raise _Malformed("a scheme other than https and http")
    request.method, request.target = method, path
    if not path.isascii():
        request.fault = Fault(
            Reason.PATH_AMBIGUOUS, "unescaped_text: the target holds bytes outside of ASCII"
        )
    elif path[:1] not in (b"/", b"*") or path.translate(_VISIBLE) != path:
        raise _Malformed(":path is neither an absolute path nor *")


def _take_heeded(request: Http2Request, heeded: list[int], hosts: list[bytes], lengths: list[bytes]) -> None:
    """Handle the regular fields at these positions."""
    fields, cookies = request.fields, list[bytes]()
    for at in heeded:
        name, value = fields[at]
        kind = _KNOWN_NAMES[name]
        if kind == _HOST:
            hosts.append(value)
        elif kind == _COOKIE:
            cookies.append(value)
        elif kind == _LENGTH:
            lengths.append(value)
        elif kind == _CONNECTION_SPECIFIC or (
            kind == _TE and value != b"trailers" and value.lower() != b"trailers"
        ):
            request.fields = _unmoved(fields[:at])
            raise _Malformed("a field that only HTTP/1.1 knows: " + name.decode("ascii"))
        else:
            _note(request, kind, value)
    if hosts or cookies:
        request.fields = _unmoved(fields)
        request.head_bytes = _size(request.fields)
    if cookies:
        # RFC 9113 §8.2.3: they MUST be combined before they leave HTTP/2.
        _add(request, b"cookie", b"; ".join(cookies))


def _unmoved(fields: list[Field]) -> list[Field]:
    """The fields that stay where they are: all but those that are joined, or compared with `:authority`."""
    return [field for field in fields if field[0] not in (b"host", b"cookie")]


def _note(request: Http2Request, kind: int, value: bytes) -> None:
    if kind == _CONTENT_TYPE:
        request.is_grpc = grpc.is_call(value)
    elif kind == _PRIORITY:
        request.is_prioritized = True
    elif kind == _GRPC_TIMEOUT:
        found = _GRPC_TIMEOUT_VALUE.match(value)
        if found is not None:
            request.grpc_timeout = int(found[1]) * _UNITS[found[2]]


def _host(authority: bytes | None, hosts: list[bytes]) -> bytes:
    """RFC 9113 §8.3.1 lets Host differ if nobody uses both. Different hosts are a known attack, so they must be
    equal.
    """
    if len(hosts) > 1:
        raise _Malformed("more than one Host")
    if authority is None:
        authority = hosts[0] if hosts else b""
    elif hosts and hosts[0].lower() != authority.lower():
        raise _Malformed("Host differs from :authority")
    if not authority:
        raise _Malformed("no authority")
    return authority


def _take_length(request: Http2Request, lengths: list[bytes]) -> None:
    """RFC 9113 §8.1.1: the content is as long as Content-Length says; a body without it is forwarded in chunks."""
    if lengths and (len(lengths) > 1 or not lengths[0].isdigit() or len(lengths[0]) > 18):
        raise _Malformed("Content-Length")
    if not request.complete:
        request.chunked = not lengths
        request.defers = bool(lengths) and not int(lengths[0])
    elif lengths and int(lengths[0]):
        raise _Malformed("Content-Length without content")
    elif not lengths and request.method in _WITH_CONTENT:
        # RFC 9110 §8.6: a method for which content is expected says that there is none.
        _add(request, b"content-length", b"0")
