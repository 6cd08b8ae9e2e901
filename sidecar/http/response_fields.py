"""Response header fields on their way to the client: which are removed, and what is known of the others. Pure."""

import re
from collections.abc import Callable, Container
from typing import Final

from sidecar.http.lines import bare_value
from sidecar.http.message import Field, MalformedResponse

# Treatment of a header field; plain integers for the reason given in `fields`. Up to `_LOCATION` they are forwarded.
_KEEP: Final = 0
CONTENT_LENGTH: Final = 1
_DATE: Final = 2
_LOCATION: Final = 3
_TRANSFER_ENCODING: Final = 4
_UPGRADE: Final = 5
_CONNECTION: Final = 6
_HOP_BY_HOP: Final = 7
_KEEP_ALIVE: Final = 8

_RESPONSE_KINDS: Final = {
    b"content-length": CONTENT_LENGTH,
    b"date": _DATE,
    b"transfer-encoding": _TRANSFER_ENCODING,
    b"upgrade": _UPGRADE,
    b"connection": _CONNECTION,
    b"keep-alive": _KEEP_ALIVE,
    b"location": _LOCATION,
    b"content-location": _LOCATION,
    b"proxy-connection": _HOP_BY_HOP,
    b"proxy-authenticate": _HOP_BY_HOP,
    b"dpop-nonce": _HOP_BY_HOP,  # RFC 9449 §8.2: only the sidecar sends it, for the API never sees a proof
}
"""Any other field is forwarded unchanged."""
_END_TO_END: Final = frozenset({b"content-length", b"close", b"keep-alive", b"upgrade"})
"""No names of fields that `Connection` could take out of a response."""
_NOTHING: Final[frozenset[bytes]] = frozenset()
_TIMEOUT: Final = re.compile(rb"(?:\A|[\s,;])timeout\s*=\s*\"?([0-9]{1,9})", re.IGNORECASE)
"""The parameter of Keep-Alive, which no RFC has defined since RFC 2068 §19.7.1.1; servers send `timeout=5, max=100`."""
_CACHED_NAMES: Final = 2048
_CACHED_PLACES: Final = 64
_LONGEST_CACHED: Final = 128
"""Maximum bytes of a cached name. Longer names are not in real use, and must not fill the memory."""


class ResponseName:
    """A name of a response field, as the API writes it."""

    __slots__ = ("kind", "lower")

    def __init__(self, name: bytes) -> None:
        lower = name.lower()
        self.kind = _RESPONSE_KINDS.get(lower, _KEEP)
        self.lower = lower if lower != name else b""
        """The name in lower case; empty if it is that already."""


class ResponseNames:
    """The names that were seen in responses, in bounded number. An API mostly says the same ones in the same order: a
    comparison with the name at the same place of the response before costs less than a look-up.
    """

    __slots__ = ("kinds", "last", "seen")

    def __init__(self) -> None:
        self.seen: dict[bytes, ResponseName] = {}
        self.last: list[bytes] = []
        """The names of the responses before, by their places."""
        self.kinds: list[ResponseName] = []
        """What is known of these."""

    def at(self, place: int, name: bytes) -> ResponseName:
        """What is known of a name that did not stand at its place in the response before."""
        last = self.last
        known = self.seen.get(name)
        if known is None:
            known = ResponseName(name)
            if len(name) > _LONGEST_CACHED:
                return known
            if len(self.seen) >= _CACHED_NAMES:
                self.seen.clear()  # else one response could fill it, and no further name would ever be cached
            self.seen[name] = known
        if place < len(last):
            last[place], self.kinds[place] = name, known
        elif place == len(last) < _CACHED_PLACES:
            last.append(name)
            self.kinds.append(known)
        return known


class ResponseFields:
    """The classified header fields of a response."""

    __slots__ = (
        "_lowers",
        "chunked",
        "has_date",
        "has_length",
        "is_located",
        "kept",
        "named",
        "stays_open",
        "upgrade",
    )

    def __init__(self, *, lowers: bool = False) -> None:
        """`lowers`: they go out over HTTP/2, with names in lower case (RFC 9113 §8.2.1)."""
        self._lowers = lowers
        self.kept: list[Field] = []
        """The fields to forward, in order."""
        self.has_length = False
        """There is a Content-Length; the parser has checked that it is one number."""
        self.chunked = False
        self.upgrade = b""
        self.named: frozenset[bytes] = _NOTHING
        """Names of fields that the API means for the sidecar alone, in lower case (RFC 9110 §7.6.1)."""
        self.has_date = False
        self.is_located = False
        """There is a Location or a Content-Location (RFC 9110 §10.2.2, §8.7)."""
        self.stays_open = -1.0
        """Seconds for which the API keeps the idle connection open; negative if it does not say."""

    def note(self, kind: int, value: bytes) -> None:
        """Handle a field that is removed. Raises `MalformedResponse`."""
        if kind == _CONNECTION:
            if value != b"keep-alive" and value.lower() not in (b"keep-alive", b"close", b"upgrade"):
                self.named |= {option.strip(b" \t").lower() for option in value.split(b",")}
        elif kind == _TRANSFER_ENCODING:
            # RFC 9112 §6.1: the sidecar requested no coding but chunked with TE, and cannot decode any other.
            if value.strip(b" \t").lower() != b"chunked" or self.chunked:
                raise MalformedResponse("Transfer-Encoding other than one `chunked`")
            self.chunked = True
        elif kind == _UPGRADE:
            self.upgrade = value
        elif kind == _KEEP_ALIVE:
            found = _TIMEOUT.search(value)
            if found is not None:
                self.stays_open = float(found[1])

    def add(self, name: bytes, value: bytes) -> None:
        """One more field."""
        self.kept.append((name.lower(), bare_value(value)) if self._lowers else (name, value))

    def give_nonce(self, nonce: str) -> None:
        """Set the nonce for the client's next DPoP proof; the API's own field was removed.

        RFC 9449 §8.2: a response with a nonce should not be cacheable; otherwise the nonce would be used after its
        end.
        """
        self.add(b"DPoP-Nonce", nonce.encode("ascii"))
        self.add(b"Cache-Control", b"no-store")

    def rewrite(self, locations: Callable[[bytes], bytes]) -> None:
        """Replace each Location and Content-Location by the result of `locations`."""
        self.kept = [
            (name, locations(value) if name.lower() in (b"location", b"content-location") else value)
            for name, value in self.kept
        ]

    def drop(self, names: Container[bytes]) -> None:
        """Remove the fields of these names, which are in lower case."""
        self.kept = [field for field in self.kept if field[0].lower() not in names]


def sort_response(
    fields: list[Field], names: ResponseNames, nonce: str | None = None, *, lowers: bool = False
) -> ResponseFields:
    """Classify a response's fields. `names` are those of the responses before. `nonce` is sent to the client. `lowers`:
    as for `ResponseFields`.

    Raises `MalformedResponse`.
    """
    result = ResponseFields(lowers=lowers)
    result.kept = kept = fields[:]  # few are removed: a copy costs less than to put one after the other
    last, kinds = names.last, names.kinds
    places, at, place = len(last), 0, 0
    for name, value in fields:
        known = kinds[place] if place < places and last[place] == name else names.at(place, name)
        place += 1
        kind = known.kind
        if kind > _LOCATION:
            del kept[at]
            result.note(kind, value)
            continue
        if kind == CONTENT_LENGTH:
            result.has_length = True
        elif kind == _DATE:
            result.has_date = True
        elif kind == _LOCATION:
            result.is_located = True
        if lowers:
            if len(value) > 0 and (value[0] <= 0x20 or value[-1] <= 0x20):
                kept[at] = (known.lower or name, value.strip(b" \t"))
            elif len(known.lower) > 0:
                kept[at] = (known.lower, value)
        at += 1
    if result.named:
        result.drop(result.named - _END_TO_END)
    if nonce is not None:
        result.give_nonce(nonce)
    return result
