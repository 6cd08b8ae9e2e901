"""Conditions on the client certificate: its names, its thumbprint, how long it lasts; alone or joined with a claim.

What a name is worth depends on who vouches for it. On a listener that accepts certificates of any authority, only
the issuer that bound the token to this certificate can have looked at its names.
"""

import re
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from math import isfinite

from sidecar.decision.certificate import Certificate
from sidecar.decision.claim import text_at
from sidecar.decision.client_certificate import AlternativeNames, ClientCertificate, Unreadable
from sidecar.decision.condition import Condition, Facts
from sidecar.decision.denial import Failure, Reason
from sidecar.decision.glob import Glob

_SPIFFE_PATH = re.compile(r"(?:/(?!\.\.?(?:/|\Z))[A-Za-z0-9._-]+)*")
_SPIFFE_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}")


class NameField(Enum):
    """The field of a certificate that has a name (RFC 5280 §4.1.2.4, §4.1.2.6, §4.2.1.6)."""

    SAN_DNS = "san_dns"
    SAN_URI = "san_uri"
    SAN_EMAIL = "san_email"
    SUBJECT = "subject"
    """The distinguished name as RFC 4514 writes it."""
    ISSUER = "issuer"
    """The issuing authority's distinguished name as RFC 4514 writes it."""
    SPIFFE_ID = "spiffe_id"
    """The only URI of an X.509-SVID, well-formed."""

    @property
    def separator(self) -> str | None:
        """What `*` does not reach across; None: there are no wildcards in such a name."""
        separators = {"san_dns": ".", "san_uri": "/", "spiffe_id": "/", "san_email": "@"}
        return separators.get(self.value)


def names_of(certificate: ClientCertificate, field: NameField) -> tuple[str, ...] | Unreadable:
    """The names in one field, or why they cannot be read."""
    if field is NameField.SUBJECT or field is NameField.ISSUER:
        name = certificate.subject if field is NameField.SUBJECT else certificate.issuer
        return name if isinstance(name, Unreadable) else (name,)
    names = certificate.alternative_names
    return names if isinstance(names, Unreadable) else _alternative_names(names, field)


def _alternative_names(names: AlternativeNames, field: NameField) -> tuple[str, ...]:
    match field:
        case NameField.SAN_DNS:
            return tuple([name.lower() for name in names.dns])
        case NameField.SAN_EMAIL:
            return names.email
        case NameField.SPIFFE_ID:
            # X.509-SVID §2: "An X.509 SVID MUST contain exactly one URI SAN, and by extension, exactly one
            # SPIFFE ID."
            return names.uri if len(names.uri) == 1 and is_spiffe_id(names.uri[0]) else ()
        case _:
            return names.uri


def is_spiffe_id(uri: str) -> bool:
    """Whether a URI is well-formed as SPIFFE-ID §2 has it: a lower-case trust domain and plain segments."""
    scheme, _, rest = uri.partition("://")
    domain, slash, path = rest.partition("/")
    return (
        scheme == "spiffe"
        and _SPIFFE_DOMAIN.fullmatch(domain) is not None
        and _SPIFFE_PATH.fullmatch(slash + path) is not None
        and len(uri) <= 2048
    )


@dataclass(frozen=True)
class NamePattern:
    """A name, or names with wildcards: `*` for one part, `**` for one part and more."""

    text: str
    field: NameField

    @cached_property
    def _literal(self) -> str:
        return self.text.lower() if self.field is NameField.SAN_DNS else self.text

    @cached_property
    def _glob(self) -> Glob | None:
        """None: there are no wildcards in it."""
        separator = self.field.separator
        return None if separator is None or "*" not in self.text else Glob(self._literal, separator)

    def fits(self, name: str) -> bool:
        """Whether a name is one of those meant."""
        return name == self._literal if self._glob is None else self._glob.fits(name)


class CertificateCondition(Condition):
    """What a rule asks of the client certificate."""

    __slots__ = ()
    subject = "client_certificate"
    clause = "RFC 5280 §4"


@dataclass(frozen=True, slots=True)
class CertificateName(CertificateCondition):
    """One of the certificate's names in a field fits one of the patterns."""

    field: NameField
    patterns: tuple[NamePattern, ...]

    names_holder = True

    @property
    def check(self) -> str:
        """`client_certificate.` and the field."""
        return f"{self.subject}.{self.field.value}"

    def failure(self, facts: Facts) -> Failure | None:
        """The patterns, and the names that came instead."""
        names = _names(facts, self.field)
        if isinstance(names, Unreadable):
            return _failed(self, facts, str(names))
        if any(pattern.fits(name) for pattern in self.patterns for name in names):
            return None
        return _failed(self, facts, " ".join(names))

    def __str__(self) -> str:
        return " or ".join(pattern.text for pattern in self.patterns)


@dataclass(frozen=True, slots=True)
class CertificateNameIsClaim(CertificateCondition):
    """A claim names the holder of the certificate: `client_id` is the DNS name, for instance."""

    field: NameField
    claim: tuple[str, ...]

    names_holder = True

    @property
    def check(self) -> str:
        """`client_certificate.` and the field."""
        return f"{self.subject}.{self.field.value}"

    def failure(self, facts: Facts) -> Failure | None:
        """The names; the claim's value stays out."""
        value = text_at(facts.token.claims, self.claim)
        if self.field is NameField.SAN_DNS and value is not None:
            value = value.lower()
        names = _names(facts, self.field)
        if isinstance(names, Unreadable):
            return _failed(self, facts, str(names))
        # An empty name identifies nobody: a subject may be empty (RFC 5280 §4.1.2.6), and so may a claim.
        if value and value in names:
            return None
        return _failed(self, facts, " ".join(names))

    def __str__(self) -> str:
        return f"the claim {'.'.join(self.claim)}"


@dataclass(frozen=True, slots=True)
class SubjectAttribute(CertificateCondition):
    """One attribute of the certificate's subject, whatever the others are: the organization of an eIDAS certificate."""

    name: str
    """What the rule calls it."""
    identifier: str
    """Its object identifier."""
    values: tuple[str, ...]
    """One of the attribute's values is exactly one of these."""
    claim: tuple[str, ...] | None = None
    """In place of values: the claim that holds the expected value."""

    names_holder = True

    @property
    def check(self) -> str:
        """`client_certificate.subject_attributes.` and the name."""
        return f"{self.subject}.subject_attributes.{self.name}"

    def held(self, certificate: Certificate) -> tuple[str, ...] | Unreadable:
        """The values that the certificate has."""
        return certificate.subject_attribute(self.identifier)

    def failure(self, facts: Facts) -> Failure | None:
        """The values that came; a claim's value stays out."""
        certificate = facts.client_certificate
        found = self.held(certificate) if certificate is not None else ()
        if isinstance(found, Unreadable):
            return _failed(self, facts, str(found))
        claimed = text_at(facts.token.claims, self.claim) if self.claim is not None else None
        wanted = self.values if self.claim is None else (claimed,)
        # An empty value identifies nobody.
        if any(value and value in wanted for value in found):
            return None
        return _failed(self, facts, " ".join(found))

    def __str__(self) -> str:
        return f"the claim {'.'.join(self.claim)}" if self.claim is not None else " or ".join(self.values)


class OtherName(SubjectAttribute):
    """One otherName among the subject alternative names: a user principal name, for instance."""

    __slots__ = ()

    @property
    def check(self) -> str:
        """`client_certificate.san_other_name.` and the name."""
        return f"{self.subject}.san_other_name.{self.name}"

    def held(self, certificate: Certificate) -> tuple[str, ...] | Unreadable:
        """The values of that type."""
        return certificate.other_name(self.identifier)


@dataclass(frozen=True, slots=True)
class CertificateThumbprintIs(CertificateCondition):
    """The certificate is one of these, by the SHA-256 of its DER encoding."""

    thumbprints: frozenset[bytes]
    """32 bytes each."""

    @property
    def check(self) -> str:
        """`client_certificate.thumbprint`."""
        return f"{self.subject}.thumbprint"

    def failure(self, facts: Facts) -> Failure | None:
        """The first bytes of what came."""
        certificate = facts.client_certificate
        if certificate is not None and certificate.thumbprint in self.thumbprints:
            return None
        return _failed(self, facts, f"{certificate.thumbprint.hex()[:16]}" if certificate else "")

    def __str__(self) -> str:
        return " or ".join(sorted(f"{one.hex()[:16]}" for one in self.thumbprints))


@dataclass(frozen=True, slots=True)
class CertificateLasts(CertificateCondition):
    """The certificate is valid for some time yet, so that it is renewed before it runs out."""

    seconds: int

    @property
    def check(self) -> str:
        """`client_certificate.not_after`."""
        return f"{self.subject}.not_after"

    def failure(self, facts: Facts) -> Failure | None:
        """How long it lasts."""
        certificate = facts.client_certificate
        left = certificate.not_after - facts.now if certificate else 0.0
        if certificate is not None and left >= self.seconds:
            return None
        return _failed(self, facts, f"in {left:.0f} s" if isfinite(left) else "unreadable dates")

    def __str__(self) -> str:
        return f"in {self.seconds} s or later"


def _names(facts: Facts, field: NameField) -> tuple[str, ...] | Unreadable:
    return names_of(facts.client_certificate, field) if facts.client_certificate else ()


def _failed(condition: Condition, facts: Facts, presented: str) -> Failure:
    shown = ascii(presented)[1:-1][:200] or "no such name"
    came = shown if facts.client_certificate else "no client certificate"
    return Failure(condition.check, Reason.CONDITION_FAILED, str(condition), came)
