"""The fields of an HTTP/2 request → a request like any other, or a fault (RFC 9113 §8). Pure.

This module checks everything that the standard calls malformed, even if the engine has checked it before: its result
is written as HTTP/1.1, where a line end in a value begins a field and a second length begins a request.
"""

import re
from typing import Final

from sidecar.decision.denial import Reason
from sidecar.http import grpc
from sidecar.http.http2_field import (
    AUTHORITY,
    CONNECTION_SPECIFIC,
    CONTENT_TYPE,
    COOKIE,
    GRPC_TIMEOUT,
    HOST,
    LENGTH,
    METHOD,
    MISPLACED,
    PATH,
    PLAIN,
    PRIORITY,
    SCHEME,
    TE,
    UNKNOWN_PSEUDO,
    MalformedField,
    kind_at,
)
from sidecar.http.http2_trailers import size_of
from sidecar.http.message import METHODS, Fault, Field, LastText, Request, Whole

_VISIBLE: Final = bytes(byte if 0x21 <= byte <= 0x7E else 0x21 for byte in range(256))
"""VCHAR (RFC 5234 B.1) → itself, any other → another character."""
_METHODS: Final = {method.encode(): method for method in (*METHODS, "TRACE", "CONNECT")}
_NONE: Final[list[bytes]] = []
_NOWHERE: Final[list[int]] = []
"""The shared empty lists. They are never appended to."""
_MOST_KEPT: Final = 8192
"""Bytes of a head that is kept for the next: many connections with large heads must not fill the memory."""
_WITH_CONTENT: Final = frozenset({"POST", "PUT", "PATCH"})
_GRPC_TIMEOUT_VALUE: Final = re.compile(rb"([0-9]{1,8})([HMSmun])\Z")
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


class HeadReader(LastText):
    """Reads the heads of one connection, and decodes their tokens: one object, for an idle connection has it too.

    Theory of operation. A client sends most fields of a head again in the next one, in the same order: compression
    relies on it (RFC 7541 §1.1). A name or a value equal to that at the same place of the head before, which was read
    without an error, is known to be valid. To compare a token is much cheaper than to look at each of its characters.
    Mostly all that comes behind the pseudo-header fields is equal. Then what was found there still holds, and the
    request gets the objects of the head before: whoever remembers something of them finds it without a comparison.
    """

    __slots__ = ("_block", "_first", "_heeded", "_kinds", "_last", "_size", "_whole")

    def __init__(self) -> None:
        super().__init__()
        self._last: tuple[Field, ...] = ()
        """The fields of the last head, if each of them was valid and all are small."""
        self._kinds = _NOWHERE
        """Their kinds; there may be more of them."""
        self._first = 0
        """Position of the first regular field in `_last`; 0: no head is kept."""
        self._block: tuple[Field, ...] = ()
        """The regular fields, as they came first."""
        self._heeded = _NOWHERE
        """The positions of those among them that are not plain."""
        self._size = 0
        """Their bytes, counted as `_size` does."""
        self._whole: Http2Request | None = None
        """What `_last` says, once it came twice. It is never handed out."""

    def rest(self) -> None:
        """The connection is idle: keep nothing of its last request."""
        self.forget()
        self._last, self._kinds = (), _NOWHERE
        self._first, self._block, self._heeded, self._whole = 0, (), _NOWHERE, None

    def read(
        self, fields: tuple[Field, ...], *, ends: bool, target_bytes: int, header_bytes: int, headers: int
    ) -> Http2Request:
        """`read_request` of the next head."""
        request = Http2Request()
        request.keep_alive, request.complete = True, ends
        try:
            if not self._is_known(request, fields):
                self._take(request, fields)
        except MalformedField as malformed:
            request.fault = Fault(Reason.REQUEST_MALFORMED, str(malformed))
            request.head_bytes = size_of(fields)
            return request
        if len(request.target) > target_bytes:
            request.fault = Fault(Reason.TARGET_TOO_LONG, f"target over {target_bytes} bytes")
        elif len(request.fields) > headers:
            request.fault = Fault(Reason.HEADER_TOO_LARGE, f"more than {headers} header fields")
        elif request.head_bytes > header_bytes:
            request.fault = Fault(Reason.HEADER_TOO_LARGE, f"header over {header_bytes} bytes")
        return request

    def _is_known(self, request: Http2Request, fields: tuple[Field, ...]) -> bool:
        """Set everything that a head says if it is the object of the one before: a decoder keeps that of a block."""
        whole, self._whole = self._whole, None
        if not self._first or fields is not self._last:
            return False
        if whole is None or whole.complete is not request.complete:
            self._take(request, fields)
            if request.fault is None and self._first:
                self._whole = whole = Http2Request()
                whole.complete, whole.whole = request.complete, Whole()
                _copy(request, whole)
            return True
        _copy(whole, request)
        request.authorization, request.whole, self._whole = self, whole.whole, whole
        return True

    def _take(self, request: Http2Request, fields: tuple[Field, ...]) -> None:
        """Set everything that a head says. Raises `MalformedField`."""
        method: bytes | None = None
        scheme: bytes | None = None
        path: bytes | None = None
        authority: bytes | None = None
        others: set[bytes] | None = None
        heeded = _NOWHERE
        at = regular = size = 0
        first, self._first = self._first, 0
        self._kinds = kinds = self._kinds or []
        last, self._last = self._last, ()
        repeats = first > 0 and _is_pseudo(fields, first - 1) and fields[first:] == self._block
        for name, value in fields[:first] if repeats else fields:
            kind = kind_at(at, name, value, last, kinds)
            at += 1
            if kind >= PLAIN:
                if kind > PLAIN:
                    heeded = heeded or []
                    heeded.append(regular)
                regular += 1
                size += len(name) + len(value) + 4
            elif regular:
                # RFC 9113 §8.3: "All pseudo-header fields MUST appear in a field block before all regular field lines."
                raise MalformedField(MISPLACED)
            elif kind == METHOD and method is None:
                method = value
            elif kind == SCHEME and scheme is None:
                scheme = value
            elif kind == PATH and path is None:
                path = value
            elif kind == AUTHORITY and authority is None:
                authority = value
            elif kind == UNKNOWN_PSEUDO and (others is None or name not in others):
                others = others or set()
                others.add(name)
            else:
                raise MalformedField(MISPLACED)
        _take_pseudo(request, method, scheme, path, authority, has_others=others is not None)
        if not repeats:
            self._block, self._heeded, self._size = fields[at - regular :], heeded, size
        self._take_block(request, fields, at - regular, authority, repeats=repeats)

    def _take_block(
        self,
        request: Http2Request,
        fields: tuple[Field, ...],
        first: int,
        authority: bytes | None,
        *,
        repeats: bool,
    ) -> None:
        """Handle the regular fields, and keep the head for the next if it is small."""
        size = self._size
        request.authorization = self if repeats else None
        request.fields, request.head_bytes = list(self._block), size
        if size + len(request.target) + (0 if authority is None else len(authority)) <= _MOST_KEPT:
            self._last, self._first = fields, first
        else:
            self._block = ()
        _take_regular(request, self._heeded, self._kinds, first, authority)


def _copy(one: Http2Request, other: Http2Request) -> None:
    """Set in `other` what the head of `one` says. The lists are not shared: each request changes its own."""
    other.method, other.target = one.method, one.target
    other.fields, other.head_bytes = one.fields[:], one.head_bytes
    other.chunked, other.defers = one.chunked, one.defers
    other.is_grpc, other.grpc_timeout, other.is_prioritized = (
        one.is_grpc,
        one.grpc_timeout,
        one.is_prioritized,
    )


def _is_pseudo(fields: tuple[Field, ...], at: int) -> bool:
    """Whether there is a pseudo-header field at this place."""
    return at < len(fields) and fields[at][0].startswith(b":")


def read_request(
    fields: tuple[Field, ...], *, ends: bool, target_bytes: int, header_bytes: int, headers: int
) -> Http2Request:
    """Set the fields of a head; `ends` says that no content follows. An error is in `fault` afterwards.

    The limits are those of HTTP/1.1: bytes of `:path`, bytes and number of all fields.
    """
    return HeadReader().read(
        fields, ends=ends, target_bytes=target_bytes, header_bytes=header_bytes, headers=headers
    )


def refuse(request: Http2Request, *, is_one_too_many: bool) -> None:
    """The engine has refused a request, mostly before its head was read: it still has a record."""
    request.complete = True
    if is_one_too_many:
        request.fault = Fault(Reason.OVERLOADED, "more streams than SETTINGS_MAX_CONCURRENT_STREAMS")
    else:
        request.fault = Fault(Reason.REQUEST_MALFORMED, "no request of HTTP/2 (RFC 9113 §8.1.1)")


def _take_regular(
    request: Http2Request, heeded: list[int], kinds: list[int], first: int, authority: bytes | None
) -> None:
    """Handle the fields that are set by now; `heeded` are the positions of those that are not plain, and the kinds of
    all begin at `first`.
    """
    fields, hosts, cookies, lengths = request.fields, _NONE, _NONE, _NONE
    for at in heeded:
        name, value = fields[at]
        kind = kinds[first + at]
        if kind == HOST:
            hosts = hosts or []
            hosts.append(value)
        elif kind == COOKIE:
            cookies = cookies or []
            cookies.append(value)
        elif kind == LENGTH:
            lengths = lengths or []
            lengths.append(value)
        elif kind == CONNECTION_SPECIFIC or (
            kind == TE and value != b"trailers" and value.lower() != b"trailers"
        ):
            request.fields = _unmoved(fields[:at])
            raise MalformedField("a field that only HTTP/1.1 knows: " + name.decode("ascii"))
        else:
            _note(request, kind, value)
    if hosts or cookies:
        request.fields = _unmoved(fields)
        request.head_bytes = size_of(request.fields)
    if cookies:
        # RFC 9113 §8.2.3: they MUST be combined before they leave HTTP/2.
        _add(request, b"cookie", b"; ".join(cookies))
    _add(request, b"host", _host(authority, hosts))
    _take_length(request, lengths)


def _add(request: Http2Request, name: bytes, value: bytes) -> None:
    request.fields.append((name, value))
    request.head_bytes += len(name) + len(value) + 4


def _method(said: bytes | None) -> str | None:
    """The method if it is known. The most frequent ones are found without a look-up."""
    if said is None:
        return None
    if said == b"GET":
        return "GET"
    return "POST" if said == b"POST" else _METHODS.get(said)


def _take_pseudo(
    request: Http2Request,
    said_method: bytes | None,
    scheme: bytes | None,
    path: bytes | None,
    authority: bytes | None,
    *,
    has_others: bool,
) -> None:
    method = _method(said_method)
    if method == "CONNECT":
        # RFC 9113 §8.5. CONNECT is refused in any case; extended CONNECT (RFC 8441) was not offered, so it is
        # malformed.
        if scheme is not None or path is not None or has_others or authority is None:
            raise MalformedField("CONNECT with other pseudo-header fields than :authority")
        request.method, request.target = method, b"/"
        return
    if said_method is None or scheme is None or path is None or has_others:
        raise MalformedField("not exactly :method, :scheme, :path and at most :authority")
    if method is None:
        raise MalformedField("a method that is not known")
    if scheme not in (b"https", b"http"):  # a proxy in front may have received the request without TLS
        raise MalformedField("a scheme other than https and http")
    request.method, request.target = method, path
    if not path.isascii():
        request.fault = Fault(
            Reason.PATH_AMBIGUOUS, "unescaped_text: the target holds bytes outside of ASCII"
        )
    elif path[:1] not in (b"/", b"*") or path.translate(_VISIBLE) != path:
        raise MalformedField(":path is neither an absolute path nor *")


def _unmoved(fields: list[Field]) -> list[Field]:
    """The fields that stay where they are: all but those that are joined, or compared with `:authority`."""
    return [field for field in fields if field[0] not in (b"host", b"cookie")]


def _note(request: Http2Request, kind: int, value: bytes) -> None:
    if kind == CONTENT_TYPE:
        request.is_grpc = grpc.is_call(value)
    elif kind == PRIORITY:
        request.is_prioritized = True
    elif kind == GRPC_TIMEOUT:
        found = _GRPC_TIMEOUT_VALUE.match(value)
        if found is not None:
            request.grpc_timeout = int(found[1]) * _UNITS[found[2]]


def _host(authority: bytes | None, hosts: list[bytes]) -> bytes:
    """RFC 9113 §8.3.1 lets Host differ if nobody uses both. Different hosts are a known attack, so they must be
    equal.
    """
    if len(hosts) > 1:
        raise MalformedField("more than one Host")
    if authority is None:
        authority = hosts[0] if hosts else b""
    elif hosts and hosts[0].lower() != authority.lower():
        raise MalformedField("Host differs from :authority")
    if not authority:
        raise MalformedField("no authority")
    return authority


def _take_length(request: Http2Request, lengths: list[bytes]) -> None:
    """RFC 9113 §8.1.1: the content is as long as Content-Length says; a body without it is forwarded in chunks."""
    if lengths and (len(lengths) > 1 or not lengths[0].isdigit() or len(lengths[0]) > 18):
        raise MalformedField("Content-Length")
    if not request.complete:
        request.chunked = not lengths
        request.defers = bool(lengths) and not int(lengths[0])
    elif lengths and int(lengths[0]):
        raise MalformedField("Content-Length without content")
    elif not lengths and request.method in _WITH_CONTENT:
        # RFC 9110 §8.6: a method for which content is expected says that there is none.
        _add(request, b"content-length", b"0")
