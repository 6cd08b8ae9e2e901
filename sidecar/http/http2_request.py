"""The fields of an HTTP/2 request → a request as any other, or what is wrong with it (RFC 9113 §8). Pure.

Everything is checked here that the standard calls malformed, whatever the engine has checked before: what leaves this
module is written down in HTTP/1.1, where a line end in a value begins a field and a second length begins a request.
"""

import re
from collections.abc import Iterable
from typing import Final

from sidecar.decision.denial import Reason
from sidecar.http import grpc
from sidecar.http.message import METHODS, Fault, Field, Request

_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+\Z")
"""RFC 9110 §5.6.2, and no upper case (RFC 9113 §8.2.1)."""
_CONTROLS: Final = bytes(byte for byte in range(32) if byte != 0x09) + b"\x7f"
_PATH: Final = re.compile(rb"[/*][!-~]*\Z")
_SCHEMES: Final = frozenset({b"https", b"http"})
"""A proxy before us may have got the request in the clear, and says so."""
_CONNECTION_SPECIFIC: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)
"""RFC 9113 §8.2.2."""
_NO_TRAILERS: Final = _CONNECTION_SPECIFIC | {b"content-length", b"host", b"te", b"trailer"}
"""RFC 9110 §6.5.1: what frames or routes cannot come behind the content."""
_KNOWN_NAMES: Final[set[bytes]] = set()
_MOST_KNOWN: Final = 2048
_LONGEST_KNOWN: Final = 128
_WITH_CONTENT: Final = frozenset({"POST", "PUT", "PATCH"})
_GRPC_TIMEOUT: Final = re.compile(rb"([0-9]{1,8})([HMSmun])\Z")
_UNITS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


class Http2Request(Request):
    """One request as it arrives."""

    __slots__ = ("grpc_timeout", "head_bytes", "is_grpc", "is_prioritized")

    def __init__(self) -> None:
        super().__init__()
        self.is_grpc = False
        """The content is gRPC's: an answer must be, too."""
        self.grpc_timeout = 0.0
        """Seconds that the client waits for all of the answer; 0: it has not said."""
        self.is_prioritized = False
        """The client has said how urgent it is (RFC 9218 §4)."""
        self.head_bytes = 0
        """What the fields of the head count, decoded."""


class _Malformed(Exception):
    """RFC 9113 §8.1.1."""


def read_request(
    fields: Iterable[Field], *, ends: bool, target_bytes: int, header_bytes: int, headers: int
) -> Http2Request:
    """Take the fields of a head; `ends` says that no content follows. What is wrong is in `fault` afterwards.

    The limits are those of HTTP/1.1: bytes of `:path`, bytes and number of all fields.
    """
    request = Http2Request()
    request.keep_alive, request.complete = True, ends
    try:
        pseudo, regular = _sorted(fields)
        _take_pseudo(request, pseudo)
        _take_regular(request, regular, pseudo.get(b":authority"))
        _take_length(request, ends=ends)
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


def read_trailers(request: Request, fields: Iterable[Field], trailer_bytes: int) -> None:
    """Take the trailer fields of `request`, which is complete with them. What is wrong is in its `fault` afterwards."""
    request.complete = True
    try:
        pseudo, regular = _sorted(fields)
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


def _size(fields: Iterable[Field]) -> int:
    """Bytes of field lines, with their colons and line ends."""
    return sum([len(name) + len(value) + 4 for name, value in fields])


def _sorted(fields: Iterable[Field]) -> tuple[dict[bytes, bytes], list[Field]]:
    """Pseudo-header fields, and the others. Raises `_Malformed`."""
    pseudo: dict[bytes, bytes] = {}
    regular: list[Field] = []
    for name, value in fields:
        if value.translate(None, _CONTROLS) != value or value.strip(b" \t") != value:
            raise _Malformed("a field value with a control character, or with space around it")
        if name[:1] == b":":
            # RFC 9113 §8.3: "All pseudo-header fields MUST appear in a field block before all regular field lines."
            if regular or name in pseudo:
                raise _Malformed("pseudo-header fields twice, or behind other fields")
            pseudo[name] = value
        else:
            if name not in _KNOWN_NAMES:
                _check_name(name)
            regular.append((name, value))
    return pseudo, regular


def _check_name(name: bytes) -> None:
    if not _NAME.match(name):
        raise _Malformed("a field name that is no token in lower case")
    if len(name) <= _LONGEST_KNOWN:
        if len(_KNOWN_NAMES) >= _MOST_KNOWN:
            _KNOWN_NAMES.clear()  # else one client could fill it, and no further name would ever be remembered
        _KNOWN_NAMES.add(name)


def _take_pseudo(request: Http2Request, pseudo: dict[bytes, bytes]) -> None:
    method = pseudo.get(b":method", b"").decode("latin-1")
    if method == "CONNECT":
        # RFC 9113 §8.5. It is refused in any case; extended CONNECT (RFC 8441), which nobody was offered, as malformed.
        if pseudo.keys() != {b":method", b":authority"}:
            raise _Malformed("CONNECT with other pseudo-header fields than :authority")
        request.method, request.target = method, b"/"
        return
    if not pseudo.keys() - {b":authority"} == {b":method", b":scheme", b":path"}:
        raise _Malformed("not exactly :method, :scheme, :path and at most :authority")
    if method not in METHODS and method != "TRACE":
        raise _Malformed("a method that is not known")
    if pseudo[b":scheme"] not in _SCHEMES:
        raise _Malformed("a scheme other than https and http")
    path = pseudo[b":path"]
    request.method, request.target = method, path
    if not path.isascii():
        request.fault = Fault(
            Reason.PATH_AMBIGUOUS, "unescaped_text: the target holds bytes outside of ASCII"
        )
    elif not _PATH.match(path):
        raise _Malformed(":path is neither an absolute path nor *")


def _take_regular(request: Http2Request, regular: list[Field], authority: bytes | None) -> None:
    fields, cookies = request.fields, []
    hosts: list[bytes] = []
    for name, value in regular:
        if name in _CONNECTION_SPECIFIC or (name == b"te" and value.lower() != b"trailers"):
            raise _Malformed("a field that only HTTP/1.1 knows: " + name.decode("ascii"))
        if name == b"host":
            hosts.append(value)
        elif name == b"cookie":
            cookies.append(value)
        else:
            if name in (b"content-type", b"grpc-timeout", b"priority"):
                _note(request, name, value)
            fields.append((name, value))
    if cookies:
        # RFC 9113 §8.2.3: they MUST be one before they leave HTTP/2.
        fields.append((b"cookie", b"; ".join(cookies)))
    fields.append((b"host", _host(authority, hosts)))


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
    """RFC 9113 §8.3.1 lets Host differ as long as nobody uses both. Two hosts are a known attack: they must agree."""
    if len(hosts) > 1:
        raise _Malformed("more than one Host")
    if authority is None:
        authority = hosts[0] if hosts else b""
    elif hosts and hosts[0].lower() != authority.lower():
        raise _Malformed("Host differs from :authority")
    if not authority:
        raise _Malformed("no authority")
    return authority


def _take_length(request: Request, *, ends: bool) -> None:
    """RFC 9113 §8.1.1: the content is as long as Content-Length says; a body without one goes on in chunks."""
    lengths = [value for name, value in request.fields if name == b"content-length"]
    if len(lengths) > 1 or not all(value.isdigit() and len(value) <= 18 for value in lengths):
        raise _Malformed("Content-Length")
    if not ends:
        request.chunked = not lengths
    elif lengths and int(lengths[0]):
        raise _Malformed("Content-Length without content")
    elif not lengths and request.method in _WITH_CONTENT:
        # RFC 9110 §8.6: a method that is made for content says that there is none.
        request.fields.append((b"content-length", b"0"))
