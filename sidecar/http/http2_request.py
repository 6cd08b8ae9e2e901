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
_SCHEMES: Final = frozenset({b"https", b"http"})
"""Allowed schemes: a proxy in front may have received the request without TLS, and says so."""
_CONNECTION_SPECIFIC: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)
"""Connection-specific fields (RFC 9113 §8.2.2)."""
_NO_TRAILERS: Final = _CONNECTION_SPECIFIC | {b"content-length", b"host", b"te", b"trailer"}
"""Fields that frame or route a message cannot be trailers (RFC 9110 §6.5.1)."""
_HEEDED: Final = _CONNECTION_SPECIFIC | {
    b"te", b"host", b"cookie", b"content-type", b"grpc-timeout", b"priority", b"content-length"
}  # fmt: skip
"""Names that `_take_heeded` handles; a head without them is passed on unchanged."""
_KNOWN_NAMES: Final[set[bytes]] = set()
_MOST_KNOWN: Final = 2048
_LONGEST_KNOWN: Final = 128
_WITH_CONTENT: Final = frozenset({"POST", "PUT", "PATCH"})
_GRPC_TIMEOUT: Final = re.compile(rb"([0-9]{1,8})([HMSmun])\Z")
_UNITS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


class Http2Request(Request):
    """One request as it arrives."""

    __slots__ = ("defers", "grpc_timeout", "head_bytes", "is_grpc", "is_prioritized")

    def __init__(self) -> None:
        super().__init__()
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
    fields: Iterable[Field], *, ends: bool, target_bytes: int, header_bytes: int, headers: int
) -> Http2Request:
    """Set the fields of a head; `ends` says that no content follows. An error is in `fault` afterwards.

    The limits are those of HTTP/1.1: bytes of `:path`, bytes and number of all fields.
    """
    request = Http2Request()
    request.keep_alive, request.complete = True, ends
    try:
        pseudo, regular, is_plain = _sorted(fields)
        _take_pseudo(request, pseudo)
        _take_regular(request, regular, pseudo.get(b":authority"), is_plain=is_plain)
        _take_length(request, is_plain=is_plain)
    except _Malformed as malformed:
        request.fault = Fault(Reason.REQUEST_MALFORMED, str(malformed))
        request.head_bytes = _size(fields)
        return request
    request.head_bytes = _size(request.fields)
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


def read_trailers(request: Request, fields: Iterable[Field], trailer_bytes: int) -> None:
    """Set the trailer fields of `request`, which complete it. An error is in its `fault` afterwards."""
    request.complete = True
    try:
        pseudo, regular, _plain = _sorted(fields)
        if pseudo:
            raise _Malformed("pseudo-header fields in trailers")
        for name, _ in regular:
            if name in _NO_TRAILERS:
                raise _Malformed(f"{name.decode('ascii')} in trailers")
    except _Malformed as malformed:
        request.fault = Fault(Reason.REQUEST_MALFORMED, str(malformed))
        return
    request.trailers = regular
    request.trailer_bytes = _size(regular)
    if request.trailer_bytes > trailer_bytes:
        request.fault = Fault(Reason.HEADER_TOO_LARGE, f"trailers over {trailer_bytes} bytes")


def _sorted(fields: Iterable[Field]) -> tuple[dict[bytes, bytes], list[Field], bool]:
    """Pseudo-header fields, the other fields, and whether none of these is in `_HEEDED`. Raises `_Malformed`."""
    pseudo: dict[bytes, bytes] = {}
    regular: list[Field] = []
    is_plain = True
    for name, value in fields:
        if value and (value[0] <= 0x20 or value[-1] <= 0x20 or value.translate(_CLEAN) != value):
            raise _Malformed("a field value with a control character, or with space around it")
        if name in _KNOWN_NAMES:
            regular.append((name, value))
        elif name[:1] == b":":
            # RFC 9113 §8.3: "All pseudo-header fields MUST appear in a field block before all regular field lines."
            if regular or name in pseudo:
                raise _Malformed("pseudo-header fields twice, or behind other fields")
            pseudo[name] = value
            continue
        else:
            _check_name(name)
            regular.append((name, value))
        if is_plain and name in _HEEDED:
            is_plain = False
    return pseudo, regular, is_plain


def _check_name(name: bytes) -> None:
    if not _NAME.match(name):
        raise _Malformed("a field name that is no token in lower case")
    if len(name) <= _LONGEST_KNOWN:
        if len(_KNOWN_NAMES) >= _MOST_KNOWN:
            _KNOWN_NAMES.clear()  # else one client could fill it, and no further name would ever be cached
        _KNOWN_NAMES.add(name)


def _take_pseudo(request: Http2Request, pseudo: dict[bytes, bytes]) -> None:
    method = _METHODS.get(pseudo.get(b":method", b""))
    if method == "CONNECT":
        # RFC 9113 §8.5. CONNECT is refused in any case; extended CONNECT (RFC 8441) was not offered, so it is
        # malformed.
        if pseudo.keys() != {b":method", b":authority"}:
            raise _Malformed("CONNECT with other pseudo-header fields than :authority")
        request.method, request.target = method, b"/"
        return
    scheme, path = pseudo.get(b":scheme"), pseudo.get(b":path")
    if (
        b":method" not in pseudo
        or scheme is None
        or path is None
        or len(pseudo) != 3 + (b":authority" in pseudo)
    ):
        raise _Malformed("not exactly :method, :scheme, :path and at most :authority")
    if method is None:
        raise _Malformed("a method that is not known")
    if scheme not in _SCHEMES:
        raise _Malformed("a scheme other than https and http")
    request.method, request.target = method, path
    if not path.isascii():
        request.fault = Fault(
            Reason.PATH_AMBIGUOUS, "unescaped_text: the target holds bytes outside of ASCII"
        )
    elif path[:1] not in (b"/", b"*") or path.translate(_VISIBLE) != path:
        raise _Malformed(":path is neither an absolute path nor *")


def _take_regular(
    request: Http2Request, regular: list[Field], authority: bytes | None, *, is_plain: bool
) -> None:
    hosts: list[bytes] = []
    if is_plain:
        request.fields = regular
    else:
        _take_heeded(request, regular, hosts)
    request.fields.append((b"host", _host(authority, hosts)))


def _take_heeded(request: Http2Request, regular: list[Field], hosts: list[bytes]) -> None:
    fields, cookies = request.fields, list[bytes]()
    for name, value in regular:
        if name not in _HEEDED:
            fields.append((name, value))
        elif name in _CONNECTION_SPECIFIC or (name == b"te" and value.lower() != b"trailers"):
            raise _Malformed("a field that only HTTP/1.1 knows: " + name.decode("ascii"))
        elif name == b"host":
            hosts.append(value)
        elif name == b"cookie":
            cookies.append(value)
        else:
            if name in (b"content-type", b"grpc-timeout", b"priority"):
                _note(request, name, value)
            fields.append((name, value))
    if cookies:
        # RFC 9113 §8.2.3: they MUST be combined before they leave HTTP/2.
        fields.append((b"cookie", b"; ".join(cookies)))


def _note(request: Http2Request, name: bytes, value: bytes) -> None:
    if name == b"content-type":
        request.is_grpc = grpc.is_call(value)
    elif name == b"priority":
        request.is_prioritized = True
    else:
        found = _GRPC_TIMEOUT.match(value)
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


def _take_length(request: Http2Request, *, is_plain: bool) -> None:
    """RFC 9113 §8.1.1: the content is as long as Content-Length says; a body without it is forwarded in chunks."""
    lengths = [] if is_plain else [value for name, value in request.fields if name == b"content-length"]
    if lengths and (len(lengths) > 1 or not lengths[0].isdigit() or len(lengths[0]) > 18):
        raise _Malformed("Content-Length")
    if not request.complete:
        request.chunked = not lengths
        request.defers = bool(lengths) and not int(lengths[0])
    elif lengths and int(lengths[0]):
        raise _Malformed("Content-Length without content")
    elif not lengths and request.method in _WITH_CONTENT:
        # RFC 9110 §8.6: a method for which content is expected says that there is none.
        request.fields.append((b"content-length", b"0"))
