"""Header fields on their way through: what is removed, what is set, in which order. Pure.

Order is the point. Fields that the client sent are classified and dropped first (hop-by-hop by RFC 9110 §7.6.1,
every spelling of the identity headers, names with `_`); what the sidecar itself says is appended last, so that no
`Connection:` option and no forged field can remove or repeat it.
"""

import re
from collections.abc import Container, Iterable, Mapping
from enum import IntEnum

from sidecar.decision.denial import Reason
from sidecar.proxy.http1 import Fault, Field, MalformedResponse


class Kind(IntEnum):
    """What happens to a request's header field."""

    KEEP = 0
    HOST = 1
    AUTHORIZATION = 2
    CONNECTION = 3
    CONTENT_LENGTH = 4
    TRANSFER_ENCODING = 5
    EXPECT = 6
    UPGRADE = 7
    ORIGIN = 8
    PREFLIGHT_METHOD = 9
    TRACEPARENT = 10
    REQUEST_ID = 11
    FORWARDED = 12
    """Told by a proxy before us: believed from listed peers only."""
    HOP_BY_HOP = 13
    IDENTITY = 14
    UNDERSCORE = 15
    VIA = 16


_KINDS = {
    b"host": Kind.HOST,
    b"authorization": Kind.AUTHORIZATION,
    b"connection": Kind.CONNECTION,
    b"content-length": Kind.CONTENT_LENGTH,
    b"transfer-encoding": Kind.TRANSFER_ENCODING,
    b"expect": Kind.EXPECT,
    b"upgrade": Kind.UPGRADE,
    b"origin": Kind.ORIGIN,
    b"access-control-request-method": Kind.PREFLIGHT_METHOD,
    b"traceparent": Kind.TRACEPARENT,
    b"x-request-id": Kind.REQUEST_ID,
    b"forwarded": Kind.FORWARDED,
    b"x-forwarded-for": Kind.FORWARDED,
    b"x-forwarded-proto": Kind.FORWARDED,
    b"x-forwarded-host": Kind.FORWARDED,
    b"x-forwarded-port": Kind.FORWARDED,
    b"x-forwarded-prefix": Kind.FORWARDED,
    b"x-forwarded-uri": Kind.FORWARDED,
    b"x-forwarded-method": Kind.FORWARDED,
    b"x-forwarded-server": Kind.FORWARDED,
    b"x-forwarded-ssl": Kind.FORWARDED,
    b"x-forwarded-client-cert": Kind.FORWARDED,
    b"x-original-url": Kind.FORWARDED,
    b"x-rewrite-url": Kind.FORWARDED,
    b"x-real-ip": Kind.FORWARDED,
    b"client-cert": Kind.FORWARDED,
    b"client-cert-chain": Kind.FORWARDED,
    b"keep-alive": Kind.HOP_BY_HOP,
    b"proxy-connection": Kind.HOP_BY_HOP,
    b"proxy-authorization": Kind.HOP_BY_HOP,
    b"te": Kind.HOP_BY_HOP,
    b"http2-settings": Kind.HOP_BY_HOP,
    b"dpop": Kind.HOP_BY_HOP,
    b"via": Kind.VIA,
}
_CACHED_NAMES = 2048
_FRAMING_OR_OURS = frozenset({Kind.HOST, Kind.AUTHORIZATION, Kind.CONTENT_LENGTH, Kind.TRANSFER_ENCODING})
_CARRIES_HTTP = re.compile(rb"(?:^|[\s,])(?:h2c|h2|http/|tls/)", re.IGNORECASE)
_PRINTABLE = re.compile(rb"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?\Z")

RESPONSE_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"transfer-encoding",
        b"upgrade",
        b"proxy-authenticate",
    }
)
_LOOKED_AT = RESPONSE_HOP_BY_HOP | {b"date"}


_FOLDED = bytes(byte if chr(byte).isalnum() and byte < 0x80 else 0x2D for byte in range(256))


def spelling(name: bytes) -> bytes:
    """The form under which two header names reach a CGI or WSGI application as one.

    RFC 3875 §4.1.18 only says that `-` becomes `_`; some gateways turn every character that is neither letter nor
    digit into one.
    """
    return name.lower().translate(_FOLDED)


class FieldRules:
    """Classifies header names for one configuration; remembers names it has seen, in bounded number."""

    def __init__(self, identity_names: Iterable[str], *, keep_underscores: bool = False) -> None:
        self._identity = frozenset(spelling(name.encode("ascii")) for name in identity_names)
        self._keep_underscores = keep_underscores
        self.seen: dict[bytes, Kind] = {}

    def kind(self, name: bytes) -> Kind:
        """What happens to a field of this name."""
        kind = self.seen.get(name)
        if kind is None:
            kind = self._classify(name)
            if len(self.seen) < _CACHED_NAMES:
                self.seen[name] = kind
        return kind

    def _classify(self, name: bytes) -> Kind:
        plain = spelling(name)
        if plain in self._identity:
            return Kind.IDENTITY
        lower = name.lower()
        if lower != plain and plain in _KINDS:
            # `Content_Length` is no Content-Length to us, but may be one to the upstream.
            return Kind.UNDERSCORE
        if b"_" in lower and not self._keep_underscores:
            return Kind.UNDERSCORE
        return _KINDS.get(lower, Kind.KEEP)


class RequestFields:
    """A request's header fields, sorted out: the facts the data plane needs, and what goes on as it is."""

    __slots__ = (
        "authorization",
        "connection",
        "content_length",
        "dropped",
        "expect",
        "fault",
        "forwarded",
        "hosts",
        "kept",
        "origin",
        "preflight_method",
        "request_id",
        "traceparent",
        "transfer_encoding",
        "upgrade",
    )

    def __init__(self) -> None:
        self.kept: list[bytes] = []
        """`name: value CRLF` in pieces, in order."""
        self.hosts: list[bytes] = []
        self.authorization: list[bytes] = []
        self.forwarded: list[Field] = []
        self.connection = b""
        self.content_length: int | None = None
        self.transfer_encoding: bytes | None = None
        self.expect = b""
        self.upgrade = b""
        self.origin = False
        self.preflight_method = False
        self.traceparent = b""
        self.request_id = b""
        self.dropped = 0
        """Identity headers and names with `_` that were taken out: somebody tried, or somebody will wonder."""
        self.fault: Fault | None = None

    def sort(self, fields: list[Field], rules: FieldRules) -> None:
        """Sort the fields as received. What is wrong is in `fault` afterwards."""
        kept, seen = self.kept, rules.seen
        for name, value in fields:
            kind = seen.get(name)
            if kind is None:
                kind = rules.kind(name)
            if kind is Kind.KEEP:
                kept += (name, b": ", value, b"\r\n")
            else:
                self._special(kind, name, value.strip(b" \t"))
        options = self.connection
        if options and options.lower() not in (b"keep-alive", b"close", b"upgrade"):
            self._remove_named(fields, rules)

    def _special(self, kind: Kind, name: bytes, value: bytes) -> None:  # noqa: C901, PLR0912 — one row a kind
        match kind:
            case Kind.HOST:
                self.hosts.append(value)
            case Kind.AUTHORIZATION:
                self.authorization.append(value)
            case Kind.CONNECTION:
                self.connection += b"," + value if self.connection else value
            case Kind.CONTENT_LENGTH:
                if self.content_length is not None or not value.isdigit() or len(value) > 18:
                    self.fault = Fault(Reason.REQUEST_MALFORMED, "Content-Length")
                else:
                    self.content_length = int(value)
            case Kind.TRANSFER_ENCODING:
                if self.transfer_encoding is not None or value.lower() != b"chunked":
                    self.fault = Fault(Reason.REQUEST_MALFORMED, "Transfer-Encoding other than one `chunked`")
                self.transfer_encoding = value
            case Kind.EXPECT:
                self.expect += b"," + value if self.expect else value
            case Kind.UPGRADE:
                self.upgrade += b", " + value if self.upgrade else value
            case Kind.ORIGIN:
                self.origin = True
                self.kept += (name, b": ", value, b"\r\n")
            case Kind.PREFLIGHT_METHOD:
                self.preflight_method = True
                self.kept += (name, b": ", value, b"\r\n")
            case Kind.TRACEPARENT:
                self.traceparent = value if not self.traceparent else b"?"
            case Kind.REQUEST_ID:
                self.request_id = value
                self.kept += (name, b": ", value, b"\r\n")
            case Kind.FORWARDED | Kind.VIA:
                self.forwarded.append((name, value))
            case Kind.IDENTITY | Kind.UNDERSCORE:
                self.dropped += 1
            case Kind.KEEP | Kind.HOP_BY_HOP:
                pass

    def _remove_named(self, fields: list[Field], rules: FieldRules) -> None:
        """RFC 9110 §7.6.1: fields named by `Connection` stay behind.

        Naming framing, Host or Authorization is no request we could keep the meaning of, so it is refused.
        """
        named = {option.strip(b" \t").lower() for option in self.connection.split(b",")}
        for option in named:
            if rules.kind(option) in _FRAMING_OR_OURS:
                self.fault = Fault(Reason.REQUEST_MALFORMED, "Connection names a field that is end-to-end")
        self.kept = []
        for name, value in fields:
            kind = rules.kind(name)
            if (
                kind in (Kind.KEEP, Kind.ORIGIN, Kind.PREFLIGHT_METHOD, Kind.REQUEST_ID)
                and name.lower() not in named
            ):
                self.kept += (name, b": ", value, b"\r\n")
        if b"x-request-id" in named:
            self.request_id = b""
        if b"traceparent" in named:
            self.traceparent = b""

    @property
    def upgrade_carries_http(self) -> bool:
        """The protocol asked for would carry further requests past the decision (h2c, TLS): never tunnelled."""
        return _CARRIES_HTTP.search(self.upgrade) is not None


def trailers(fields: Iterable[Field], rules: FieldRules) -> bytes:
    """Trailer fields that may go on: nothing that frames, routes, authenticates or identifies (RFC 9110 §6.5.1)."""
    return b"".join(b"%b: %b\r\n" % field for field in fields if rules.kind(field[0]) is Kind.KEEP)


def identity_value(value: object) -> bytes | None:
    """A claim as a header value, or None when there is nothing to say.

    Printable ASCII goes as it is; other strings as an ext-value (RFC 8187 §3.2); a list of plain words as words
    with spaces between; everything else as JSON in ASCII. Nothing in the result can end the field.
    """
    if value is None:
        return None
    if isinstance(value, str):
        return _text_value(value)
    if isinstance(value, list | tuple) and value and all(_is_word(item) for item in value):
        return " ".join(value).encode("ascii")
    from json import dumps  # noqa: PLC0415 — rare, and not on the hot path

    return dumps(value, ensure_ascii=True, separators=(",", ":")).encode("ascii")


def _is_word(item: object) -> bool:
    return isinstance(item, str) and item.isascii() and item.isprintable() and " " not in item and bool(item)


def _text_value(text: str) -> bytes | None:
    data = text.encode("utf-8", "backslashreplace")
    if not data:
        return None
    if _PRINTABLE.match(data) and not data.startswith(b"UTF-8''"):
        return data
    from urllib.parse import quote_from_bytes  # noqa: PLC0415 — rare, and not on the hot path

    return b"UTF-8''" + quote_from_bytes(data, safe="").encode("ascii")


def identity_block(claims: Mapping[str, object], names: Mapping[str, str]) -> bytes:
    """The identity headers of one token: `name: value CRLF` each; a claim that is absent has no header.

    `names` maps header to claim; a claim may be a path with dots (`realm_access.roles`).
    """
    lines = []
    for header, claim in names.items():
        value = identity_value(_claim(claims, claim))
        if value is not None:
            lines.append(b"%b: %b\r\n" % (header.encode("ascii"), value))
    return b"".join(lines)


def _claim(claims: Mapping[str, object], path: str) -> object:
    if path in claims:
        return claims[path]
    found: object = claims
    for part in path.split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(part)
    return found


class ResponseFields:
    """A response's header fields, sorted out."""

    __slots__ = ("chunked", "content_length", "has_date", "kept", "upgrade")

    def __init__(self) -> None:
        self.kept: list[bytes] = []
        self.content_length: int | None = None
        self.chunked = False
        self.upgrade = b""
        self.has_date = False

    def drop(self, names: Container[bytes]) -> None:
        """Take out the fields of these names, which are lower case."""
        pieces = self.kept
        self.kept = []
        for start in range(0, len(pieces), 4):
            if pieces[start].lower() not in names:
                self.kept += pieces[start : start + 4]


def sort_response(fields: list[Field], seen: dict[bytes, bytes]) -> ResponseFields:
    """Sort a response's fields; `seen` remembers lower-case names, in bounded number.

    Raises `MalformedResponse`.
    """
    result = ResponseFields()
    kept = result.kept
    named: set[bytes] | None = None
    for name, value in fields:
        lower = seen.get(name)
        if lower is None:
            lower = name.lower()
            if len(seen) < _CACHED_NAMES:
                seen[name] = lower
        if lower == b"content-length":
            result.content_length = int(value)
            kept += (name, b": ", value, b"\r\n")
        elif lower not in _LOOKED_AT:
            kept += (name, b": ", value, b"\r\n")
        elif lower == b"date":
            result.has_date = True
            kept += (name, b": ", value, b"\r\n")
        elif lower == b"transfer-encoding":
            # RFC 9112 §6.1: no coding but chunked was asked for with TE, and nobody here could take it off.
            if value.strip(b" \t").lower() != b"chunked" or result.chunked:
                raise MalformedResponse("Transfer-Encoding other than one `chunked`")
            result.chunked = True
        elif lower == b"upgrade":
            result.upgrade = value
        elif lower == b"connection" and value.lower() not in (b"keep-alive", b"close", b"upgrade"):
            named = (named or set()) | {option.strip(b" \t").lower() for option in value.split(b",")}
    if named:
        _drop_named(result, named)
    return result


def _drop_named(result: ResponseFields, named: set[bytes]) -> None:
    named -= {b"content-length", b"close", b"keep-alive", b"upgrade"}
    result.drop(named)
