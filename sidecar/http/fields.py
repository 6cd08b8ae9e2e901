"""Request header fields on their way to the API: which are removed, which are set, and in which order. Pure.

The order matters. Fields from the client are classified and dropped first (hop-by-hop by RFC 9110 §7.6.1, every
spelling of the identity headers, names with `_`). The sidecar's own fields are appended last, so that no
`Connection:` option and no forged field can remove or repeat them.
"""

import re
from collections.abc import Iterable
from typing import Any, Final

from sidecar.decision.denial import Reason
from sidecar.http.claimed_identity import ClaimedIdentity
from sidecar.http.lines import NO_TRAILERS
from sidecar.http.message import Fault, Field

# Treatment of a header field. Plain integers: compiled code reads them at no cost, but looks up an enum member
# through its metaclass, for every field of every request.
_KEEP: Final = 0
_HOST: Final = 1
_AUTHORIZATION: Final = 2
_CONNECTION: Final = 3
_CONTENT_LENGTH: Final = 4
_TRANSFER_ENCODING: Final = 5
_EXPECT: Final = 6
_UPGRADE: Final = 7
_ORIGIN: Final = 8
_PREFLIGHT_METHOD: Final = 9
_TRACEPARENT: Final = 10
_REQUEST_ID: Final = 11
_FORWARDED: Final = 12  # from a proxy in front: used from listed peers only
_HOP_BY_HOP: Final = 13
_IDENTITY: Final = 14
_UNDERSCORE: Final = 15
_VIA: Final = 16
_TE: Final = 17
_DPOP: Final = 18
_CLAIM: Final = 19  # identity claimed by a proxy: forwarded from listed peers only
_METHOD_OVERRIDE: Final = 20
_CERTIFICATE: Final = (
    21  # the client's certificate, by a proxy: read where one is listened to, never passed on
)

_KINDS: Final = {
    b"host": _HOST,
    b"authorization": _AUTHORIZATION,
    b"connection": _CONNECTION,
    b"content-length": _CONTENT_LENGTH,
    b"transfer-encoding": _TRANSFER_ENCODING,
    b"expect": _EXPECT,
    b"upgrade": _UPGRADE,
    b"origin": _ORIGIN,
    b"access-control-request-method": _PREFLIGHT_METHOD,
    b"traceparent": _TRACEPARENT,
    b"x-request-id": _REQUEST_ID,
    b"forwarded": _FORWARDED,
    b"x-forwarded-for": _FORWARDED,
    b"x-forwarded-proto": _FORWARDED,
    b"x-forwarded-host": _FORWARDED,
    b"x-forwarded-port": _FORWARDED,
    b"x-forwarded-prefix": _FORWARDED,
    b"x-forwarded-uri": _FORWARDED,
    b"x-forwarded-method": _FORWARDED,
    b"x-forwarded-server": _FORWARDED,
    b"x-forwarded-ssl": _FORWARDED,
    b"x-forwarded-client-cert": _FORWARDED,
    b"x-real-ip": _FORWARDED,
    b"client-cert": _FORWARDED,
    b"client-cert-chain": _FORWARDED,
    b"keep-alive": _HOP_BY_HOP,
    b"proxy-connection": _HOP_BY_HOP,
    b"proxy-authorization": _HOP_BY_HOP,
    b"te": _TE,
    b"http2-settings": _HOP_BY_HOP,
    b"dpop": _DPOP,
    b"via": _VIA,
}
_CACHED_NAMES: Final = 2048
_LONGEST_CACHED: Final = 128
"""Maximum bytes of a cached name. Longer names are not in real use, and must not fill the memory."""
_FRAMING_OR_OURS: Final = frozenset({_HOST, _AUTHORIZATION, _CONTENT_LENGTH, _TRANSFER_ENCODING})
_CARRIES_HTTP: Final = re.compile(rb"(?:^|[\s,])(?:h2c|h2|http/|tls/)", re.IGNORECASE)

_FOLDED: Final = bytes(byte if chr(byte).isalnum() and byte < 0x80 else 0x2D for byte in range(256))


def spelling(name: bytes) -> bytes:
    """The form under which two header names are the same to a CGI or WSGI application.

    RFC 3875 §4.1.18 only says that `-` becomes `_`; some gateways replace every character that is neither letter nor
    digit.
    """
    return name.lower().translate(_FOLDED)


class FieldRules:
    """Classifies header names for one configuration; caches names in bounded number."""

    def __init__(
        self,
        identity_names: Iterable[str],
        *,
        keep_underscores: bool = False,
        claimed: ClaimedIdentity | None = None,
        refuse_method_overrides: bool = False,
        certificates: Iterable[str] = (),
    ) -> None:
        """`certificates` are the names by which proxies send the client's certificate, on any listener."""
        self._certificates = frozenset(spelling(name.encode("ascii")) for name in certificates)
        self._identity = frozenset(spelling(name.encode("ascii")) for name in identity_names)
        self._keep_underscores = keep_underscores
        self._claimed = claimed or ClaimedIdentity()
        self._refuse_method_overrides = refuse_method_overrides
        self.seen: dict[bytes, int] = {}

    def kind(self, name: bytes) -> int:
        """The treatment of a field of this name."""
        kind = self.seen.get(name)
        if kind is None:
            kind = self._classify(name)
            if len(name) <= _LONGEST_CACHED:
                if len(self.seen) >= _CACHED_NAMES:
                    self.seen.clear()  # else one client could fill it, and no further name would ever be cached
                self.seen[name] = kind
        return kind

    def _classify(self, name: bytes) -> int:
        plain = spelling(name)
        if plain in self._certificates:
            return _CERTIFICATE if name.lower() == plain else _UNDERSCORE
        if plain in self._identity:
            return _IDENTITY
        lower = name.lower()
        kind = self._kind(plain)
        if lower != plain and kind != _KEEP:
            # `Content_Length` is not Content-Length here, but may be for the upstream.
            return _METHOD_OVERRIDE if kind == _METHOD_OVERRIDE else _UNDERSCORE
        if b"_" in lower and not self._keep_underscores:
            return _UNDERSCORE
        return kind

    def _kind(self, plain: bytes) -> int:
        kind = _KINDS.get(plain, _KEEP)
        name = plain.decode("ascii")
        if kind == _KEEP and self._claimed.claims(name):
            return _CLAIM
        if kind == _KEEP and self._refuse_method_overrides and self._claimed.overrides_method(name):
            return _METHOD_OVERRIDE
        return kind


NOTHING: Final[list[Field]] = []
_NO_VALUES: Final[list[bytes]] = []
"""The shared empty lists, because most requests have no such fields. They are never appended to."""


class RequestFields:
    """The classified header fields of a request: values that the data plane needs, and fields to forward unchanged."""

    __slots__ = (
        "authorization",
        "certificates",
        "claims",
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
        "proofs",
        "request_id",
        "takes_trailers",
        "traceparent",
        "transfer_encoding",
        "upgrade",
    )

    def __init__(self) -> None:
        self.kept: list[Field] = []
        """The fields to forward unchanged, in order."""
        self.hosts: list[bytes] = []
        self.authorization: list[bytes] = []
        self.proofs: list[bytes] = _NO_VALUES
        """Values of `DPoP` (RFC 9449 §4.1): used by the decision only, never forwarded."""
        self.forwarded: list[Field] = NOTHING
        self.certificates: list[Field] = NOTHING
        """The client's certificate from a proxy: used only if the proxy is listed, never forwarded."""
        self.claims: list[Field] = NOTHING
        """Fields by which a proxy states the client's identity."""
        self.connection = b""
        self.content_length: int | None = None
        self.transfer_encoding: bytes | None = None
        self.expect = b""
        self.upgrade = b""
        self.origin = False
        self.preflight_method = False
        self.takes_trailers = False
        """The client accepts trailer fields (RFC 9110 §10.1.4)."""
        self.traceparent = b""
        self.request_id = b""
        self.dropped = 0
        """Names of removed identity headers and names with `_`, for metrics and the log."""
        self.fault: Fault | None = None

    def sort(self, fields: list[Field], rules: FieldRules) -> None:
        """Classify the received fields. An error is in `fault` afterwards."""
        # Lists of whatever it may be: of pairs, compiled code would make each anew that is put into another list.
        received: list[Any] = fields
        kept: list[Any] = self.kept
        seen = rules.seen
        for each in received:
            field: Field = each
            name, value = field
            kind = seen.get(name)
            if kind is None:
                kind = rules.kind(name)
            if kind == _KEEP:
                kept.append(each)
            else:
                if value and (value[0] <= 0x20 or value[-1] <= 0x20):
                    value = value.strip(b" \t")
                self._special(kind, name, value)
        options = self.connection
        if options and options.lower() not in (b"keep-alive", b"close", b"upgrade"):
            self._remove_named(fields, rules)

    def copy(self, other: "RequestFields") -> None:
        """Set everything as in `other`. Lists are shared: nobody changes one but `sort`, which begins with its own."""
        self.kept, self.hosts, self.authorization = other.kept, other.hosts, other.authorization
        self.proofs, self.forwarded = other.proofs, other.forwarded
        self.certificates, self.claims = other.certificates, other.claims
        self.connection, self.content_length = other.connection, other.content_length
        self.transfer_encoding, self.expect, self.upgrade = (
            other.transfer_encoding,
            other.expect,
            other.upgrade,
        )
        self.origin, self.preflight_method = other.origin, other.preflight_method
        self.takes_trailers, self.traceparent = other.takes_trailers, other.traceparent
        self.request_id, self.dropped, self.fault = other.request_id, other.dropped, other.fault

    def _special(self, kind: int, name: bytes, value: bytes) -> None:  # noqa: C901, PLR0912 — one row a kind
        if kind == _HOST:
            self.hosts.append(value)
        elif kind == _AUTHORIZATION:
            self.authorization.append(value)
        elif kind == _DPOP:
            self.proofs = [*self.proofs, value]
        elif kind == _CONNECTION:
            self.connection += b"," + value if self.connection else value
        elif kind == _CONTENT_LENGTH:
            if self.content_length is not None or not value.isdigit() or len(value) > 18:
                self.fault = Fault(Reason.REQUEST_MALFORMED, "Content-Length")
            else:
                self.content_length = int(value)
        elif kind == _TRANSFER_ENCODING:
            if self.transfer_encoding is not None or value.lower() != b"chunked":
                self.fault = Fault(Reason.REQUEST_MALFORMED, "Transfer-Encoding other than one `chunked`")
            self.transfer_encoding = value
        elif kind == _EXPECT:
            self.expect += b"," + value if self.expect else value
        elif kind == _UPGRADE:
            self.upgrade += b", " + value if self.upgrade else value
        elif kind in (_ORIGIN, _PREFLIGHT_METHOD, _REQUEST_ID):
            self._note(kind, value)
            self.kept.append((name, value))
        elif kind == _TRACEPARENT:
            self.traceparent = value if not self.traceparent else b"?"
        elif kind == _TE:
            self.takes_trailers |= value == b"trailers" or _lists_trailers(value)
        elif kind in (_FORWARDED, _VIA):
            self.forwarded = [*self.forwarded, (name, value)]
        elif kind == _CLAIM:
            self.claims = [*self.claims, (name, value)]
        elif kind == _CERTIFICATE:
            self.certificates = [*self.certificates, (name, value)]
        elif kind == _METHOD_OVERRIDE:
            # The rule was selected by the method. Without this field the API would do something that was not
            # requested.
            self.fault = Fault(Reason.REQUEST_MALFORMED, "a method override, where rules name methods")
        elif kind in (_IDENTITY, _UNDERSCORE):
            self.dropped += 1

    def _note(self, kind: int, value: bytes) -> None:
        """Read a field that is forwarded to the API and also used by the sidecar."""
        if kind == _ORIGIN:
            self.origin = True
        elif kind == _PREFLIGHT_METHOD:
            self.preflight_method = True
        else:
            self.request_id = value

    def _remove_named(self, fields: list[Field], rules: FieldRules) -> None:
        """Remove the fields that `Connection` names (RFC 9110 §7.6.1).

        A request that names framing, Host or Authorization would change its meaning, so it is refused.
        """
        named = {option.strip(b" \t").lower() for option in self.connection.split(b",")}
        for option in named:
            if rules.kind(option) in _FRAMING_OR_OURS:
                self.fault = Fault(Reason.REQUEST_MALFORMED, "Connection names a field that is end-to-end")
        self.kept = []
        for name, value in fields:
            kind = rules.kind(name)
            if kind in (_KEEP, _ORIGIN, _PREFLIGHT_METHOD, _REQUEST_ID) and name.lower() not in named:
                self.kept.append((name, value))
        # A field that the API does not get must not influence the decision either.
        self.origin = self.origin and b"origin" not in named
        self.preflight_method = self.preflight_method and b"access-control-request-method" not in named
        self.claims = [each for each in self.claims if each[0].lower() not in named]
        if b"x-request-id" in named:
            self.request_id = b""
        if b"traceparent" in named:
            self.traceparent = b""

    @property
    def upgrade_carries_http(self) -> bool:
        """Whether the requested protocol would carry further requests past the decision (h2c, TLS): never tunnelled."""
        return _CARRIES_HTTP.search(self.upgrade) is not None


def _lists_trailers(value: bytes) -> bool:
    return b"trailers" in [each.strip(b" \t") for each in value.lower().split(b",")]


def trailers(fields: list[Field], rules: FieldRules) -> list[Field]:
    """Trailer fields that may be forwarded: none that frame, route, authenticate or identify (RFC 9110 §6.5.1)."""
    return [field for field in fields if rules.kind(field[0]) == _KEEP] if fields else NO_TRAILERS
