"""The one name by which a client of `tls_client_auth` is registered (RFC 8705 §2.1.2), and what it is compared with.

No wildcards: a registered name is one client's. Each comparison is the one of its kind; text that looks alike is not.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from ipaddress import ip_address
from typing import Final

from sidecar.decision.canonical_name import CanonicalName, MalformedName, canonical_text
from sidecar.decision.certificate import Certificate, Unreadable
from sidecar.decision.failure import Denied
from sidecar.decision.reason import Reason

_MOST_SHOWN: Final = 4
_DNS_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*")
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[\x21-\x7e]+")
_EMAIL: Final = re.compile(r"[\x21-\x3f\x41-\x7e]+@[A-Za-z0-9.-]+")


class NameKind(Enum):
    """Which name of a certificate counts."""

    SUBJECT_DN = "subject_dn"
    SAN_DNS = "san_dns"
    SAN_URI = "san_uri"
    SAN_IP = "san_ip"
    SAN_EMAIL = "san_email"


class RegisteredName:
    """One name, parsed. Made by `registered_name` and `nobody`. Treat as immutable."""

    __slots__ = ("kind", "text", "value")

    def __init__(self, kind: NameKind, text: str, value: CanonicalName | str | bytes) -> None:
        self.kind = kind
        self.text = text
        """As it is registered."""
        self.value = value
        """What is compared: two registered names that are equal in it, are one name."""

    def match(self, certificate: Certificate) -> str:
        """`kind=name` as the certificate has it; raises `Denied` (client_certificate_mismatch)."""
        presented = _presented(self.kind, certificate)
        if isinstance(presented, Unreadable):
            raise self._denied(str(presented))
        for value, shown in presented:
            if value == self.value:
                return f"{self.kind.value}={shown}"
        raise self._denied(_listed([shown for _, shown in presented]))

    def _denied(self, shown: str) -> Denied:
        check = f"client_authentication.{self.kind.value}"
        return Denied(Reason.CLIENT_CERTIFICATE_MISMATCH, check, self.text, shown)


def registered_name(kind: NameKind, text: str) -> RegisteredName:
    """The name as it is registered; raises `MalformedName`."""
    if kind is not NameKind.SUBJECT_DN and "*" in text and kind is not NameKind.SAN_URI:
        raise MalformedName(
            "a wildcard: a client is registered by one name (RFC 8705 §2.1.2); rules have patterns"
        )
    return RegisteredName(kind, text, _PARSERS[kind](text))


def names_of(certificate: Certificate) -> frozenset[tuple[NameKind, CanonicalName | str | bytes]]:
    """Every name that a certificate has, as registered names are compared with it (`RegisteredName.value`). Names that
    cannot be read are none: nothing is equal to them.
    """
    found = ((kind, _presented(kind, certificate)) for kind in NameKind)
    return frozenset(
        (kind, value)
        for kind, names in found
        if not isinstance(names, Unreadable)
        for value, _ in names
        if value
    )


def nobody() -> RegisteredName:
    """A name that no certificate has."""
    return RegisteredName(NameKind.SUBJECT_DN, "", ())


def _presented(
    kind: NameKind, certificate: Certificate
) -> Sequence[tuple[CanonicalName | str | bytes, str]] | Unreadable:
    """What a certificate has of a kind: as it is compared, and as it is shown."""
    if kind is NameKind.SUBJECT_DN:
        found = certificate.canonical_subject
        return found if isinstance(found, Unreadable) else ((found, str(certificate.subject)),)
    names = certificate.alternative_names
    if isinstance(names, Unreadable):
        return names
    if kind is NameKind.SAN_DNS:
        return [(one.lower(), one) for one in names.dns]
    if kind is NameKind.SAN_URI:
        return [(one, one) for one in names.uri]
    if kind is NameKind.SAN_IP:
        return [(one, str(ip_address(one))) for one in names.ip]
    return [(_email(one), one) for one in names.email]


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_SHOWN
    return ", ".join([*names[:_MOST_SHOWN], *([f"and {more} more"] if more > 0 else [])]) or "none"


def _dns(text: str) -> str:
    if _DNS_NAME.fullmatch(text) is None or len(text) > 253:
        raise MalformedName("expected a DNS name in ASCII (tpp.example; international ones as xn--)")
    return text.lower()


def _uri(text: str) -> str:
    """Compared as it is (RFC 3986 §6.2.1): what else is equivalent, readers disagree on."""
    if _URI.fullmatch(text) is None:
        raise MalformedName("expected a URI in ASCII (https://tpp.example/id)")
    return text


def _ip(text: str) -> bytes:
    """RFC 8705 §2.1.2: "Comparison ... should be done as binary"."""
    try:
        address = ip_address(text)
    except ValueError:
        address = None
    if address is None or "%" in text:
        raise MalformedName("expected one IP address (192.0.2.1 or 2001:db8::1), no network")
    return address.packed


def _email(text: str) -> str:
    """RFC 5280 §4.2.1.6: the part before `@` as it is, the host without case."""
    local, _, host = text.rpartition("@")
    return f"{local}@{host.lower()}"


def _registered_email(text: str) -> str:
    if _EMAIL.fullmatch(text) is None:
        raise MalformedName("expected a mailbox in ASCII (api@tpp.example)")
    return _email(text)


_PARSERS: Final[Mapping[NameKind, Callable[[str], CanonicalName | str | bytes]]] = {
    NameKind.SUBJECT_DN: canonical_text,
    NameKind.SAN_DNS: _dns,
    NameKind.SAN_URI: _uri,
    NameKind.SAN_IP: _ip,
    NameKind.SAN_EMAIL: _registered_email,
}
