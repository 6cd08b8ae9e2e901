"""One certificate that authenticates as either of two clients: then the request chooses which of them it is."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

from pydantic_core import PydanticCustomError

from sidecar.decision.certificate import Certificate, Unreadable
from sidecar.decision.failure import Denied
from sidecar.decision.registered_client.name import RegisteredName
from sidecar.proxy.authorization_server.authority import TrustedAuthority
from sidecar.proxy.authorization_server.configuration import AuthoritySettings
from sidecar.settings.client_file import PlacedClient, Registered
from sidecar.settings.files import authorities, is_there
from sidecar.settings.problem import Problem, shown
from sidecar.settings.registered_certificates import key_set_certificates, own_certificates

_Key = tuple[object, ...]
_LONGEST: Final = 9
"""Certificates above a client's that are looked for."""
_NEVER_ASKED: Final = 0.0
"""The moment by which an authority that was never asked remembers nothing: OpenSSL has a clock of its own."""


def overlapping(clients: Sequence[PlacedClient]) -> Iterator[Problem]:
    """A warning for each client of which a certificate, in a file or yet to be made, passes for another client too."""
    equal: dict[_Key, PlacedClient] = {}
    named: dict[_Key, list[PlacedClient]] = {}
    for one in clients:
        if one.settings.name is not None:
            named.setdefault((one.settings.name.kind, one.settings.name.value), []).append(one)
    known = _KnownAuthorities(clients)
    for one in clients:
        other = None
        for key in _registrations(one, known.anchors):
            first = equal.setdefault(key, one)
            if other is None and first is not one:
                other = first
        problem = _passing(one, other) if other is not None else _authenticating(one, named, known)
        if problem is not None:
            yield problem


def _passing(one: PlacedClient, other: PlacedClient) -> Problem:
    return one.warning(
        f"{shown(one.settings.client_id)}: a certificate of this client is also accepted for "
        f"{shown(other.settings.client_id)} ({other.settings.place})"
    )


def _registrations(one: PlacedClient, anchors: Mapping[Path, frozenset[bytes]]) -> Iterable[_Key]:
    """What a certificate has to be, or to have, to be this client's: two clients that share one share a certificate."""
    settings = one.settings
    if settings.name is None or settings.authority is None:
        return [(thumbprint,) for thumbprint in settings.thumbprints]
    name = settings.name
    return [(name.kind, name.value, anchor) for anchor in anchors[settings.authority.ca_file]]


def _authenticating(
    one: PlacedClient, named: Mapping[_Key, Sequence[PlacedClient]], known: "_KnownAuthorities"
) -> Problem | None:
    """The warning about a registered certificate of `one` that authenticates as a client of `named`, or may do so."""
    doubt: Problem | None = None
    candidates = [other for name in one.registered.names for other in named.get(name, ())]
    for certificate in _certificates(one.registered) if candidates else ():
        chain, unknown = known.above(certificate)
        for other in candidates:
            name, authority = other.settings.name, other.settings.authority
            if name is None or authority is None or not _has(certificate, name):
                continue
            if _vouches(authority, (certificate, *chain)):
                return _passing(one, other)
            if unknown is not None and doubt is None:
                doubt = one.warning(
                    f"{shown(one.settings.client_id)}: a registered certificate has the name of "
                    f"{shown(other.settings.client_id)} ({other.settings.place}), and no file has its issuer "
                    f"{shown(unknown)}: if the authority of that client certified this issuer, it passes for both"
                )
    return doubt


def _has(certificate: Certificate, name: RegisteredName) -> bool:
    try:
        name.match(certificate)
    except Denied:
        return False
    return True


def _vouches(settings: AuthoritySettings, chain: Sequence[Certificate]) -> bool:
    """As at the endpoint."""
    own, *others = chain
    try:
        TrustedAuthority(settings).verify(own, [one.der for one in others], _NEVER_ASKED)
    except (Denied, OSError, ValueError):  # what is wrong with a file is said elsewhere
        return False
    return True


def _certificates(registered: Registered) -> list[Certificate]:
    """Read again: of thousands of clients only the names are remembered."""
    found: list[Certificate] = []
    try:
        for file in registered.files:
            found += own_certificates(file)
        if registered.key_set is not None:
            found += key_set_certificates(registered.key_set).certificates
    except (PydanticCustomError, ValueError, OSError):
        pass  # it has changed since it was read: the next reading tells
    return found


class _KnownAuthorities:
    """The authorities of all clients, by subject: what a client may send above its own certificate."""

    def __init__(self, clients: Sequence[PlacedClient]) -> None:
        named = {one.settings.authority.ca_file for one in clients if one.settings.authority is not None}
        self.anchors = {file: anchors_of(file) for file in named}
        """Thumbprints of the authorities of each file."""
        self._by_subject: dict[bytes, Certificate] | None = None

    def above(self, certificate: Certificate) -> tuple[list[Certificate], str | None]:
        """The certificates above one, and the issuer of the last of them if no file has it."""
        if self._by_subject is None:
            found = (one for file in self.anchors if is_there(file) for one in authorities(file).readable)
            self._by_subject = {_names(one)[0]: one for one in found}
        chain: list[Certificate] = []
        at = certificate
        while len(chain) < _LONGEST:
            subject, issuer = _names(at)
            if subject == issuer:
                return chain, None
            if issuer not in self._by_subject:
                return chain, str(at.issuer)
            at = self._by_subject[issuer]
            chain.append(at)
        return chain, None


def _names(certificate: Certificate) -> tuple[bytes, bytes]:
    """Subject and issuer, DER."""
    fields = certificate.fields
    return (b"", b"") if isinstance(fields, Unreadable) else (bytes(fields.subject), bytes(fields.issuer))


def anchors_of(file: Path) -> frozenset[bytes]:
    """Thumbprints of the authorities of a file."""
    return _thumbprints(file, file.stat().st_mtime_ns) if is_there(file) else frozenset()


@lru_cache(256)
def _thumbprints(file: Path, _changed: int) -> frozenset[bytes]:
    return frozenset(one.thumbprint for one in authorities(file).readable)
