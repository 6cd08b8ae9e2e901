"""What a rule may require of the client certificate."""

import re
from base64 import urlsafe_b64decode
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from sidecar.decision.certificate_condition import (
    CertificateLasts,
    CertificateName,
    CertificateNameIsClaim,
    CertificateThumbprintIs,
    NameField,
    NamePattern,
    OtherName,
    SubjectAttribute,
)
from sidecar.decision.claim import claim_path
from sidecar.decision.condition import Condition
from sidecar.decision.distinguished_name import ATTRIBUTES
from sidecar.decision.strict import base64url_text
from sidecar.settings.claim_requirements import ClaimName
from sidecar.settings.problem import shown
from sidecar.settings.scalars import Duration, Text, Texts, as_list
from sidecar.settings.section import Section, mistake, nearest


class NameOfClaim(Section):
    """The name stands in a claim."""

    claim: Annotated[ClaimName, Field(description="The token's claim with the name.")]


class NamePatterns(Section):
    """A certificate's names in one place: one of them fits one of these, or is what a claim says."""

    names: Texts | None = None
    claim: ClaimName | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if bool(self.names) == bool(self.claim):
            raise mistake("expected a name, a list of names, or {claim: NAME}")
        return self

    def condition(self, field: NameField) -> Condition:
        """What is asked of the names in `field`."""
        if self.claim is not None:
            return CertificateNameIsClaim(field, claim_path(self.claim))
        return CertificateName(field, tuple(NamePattern(name, field) for name in self.names or ()))


def _names(value: Any) -> Any:
    if isinstance(value, dict):
        return value
    return {"names": as_list(value)}


def _wild(value: NamePatterns) -> NamePatterns:
    for name in value.names or ():
        if not name.isprintable() or not name.isascii():
            raise ValueError(f"{shown(name)} has a character that is not allowed in such a name")
    return value


def _plain(value: NamePatterns) -> NamePatterns:
    for name in value.names or ():
        if "*" in name:
            raise ValueError(f"{shown(name)}: wildcards are not allowed in a distinguished name")
    return _wild(value)


def _spiffe(value: NamePatterns) -> NamePatterns:
    for name in value.names or ():
        if not re.match(r"spiffe://[a-z0-9._-]+(/|$)", name):
            raise ValueError(f"{shown(name)} is not of the form spiffe://trust-domain/path")
    return _wild(value)


_INPUT = Text | list[Text] | NameOfClaim
WildNames = Annotated[
    NamePatterns, BeforeValidator(_names, json_schema_input_type=_INPUT), AfterValidator(_wild)
]
PlainNames = Annotated[
    NamePatterns, BeforeValidator(_names, json_schema_input_type=_INPUT), AfterValidator(_plain)
]
SpiffeNames = Annotated[
    NamePatterns, BeforeValidator(_names, json_schema_input_type=_INPUT), AfterValidator(_spiffe)
]


AttributeValues = Annotated[NamePatterns, BeforeValidator(_names, json_schema_input_type=_INPUT)]
"""Not patterns: what stands there, to the letter."""


def _thumbprint(value: str) -> str:
    """`x5t#S256` as RFC 8705 §3.1 writes it, and no other way of writing a digest."""
    if re.fullmatch(r"[A-Za-z0-9_-]{43}", value):
        digest = urlsafe_b64decode(value + "=")
        if base64url_text(digest) == value:
            return value
    digits = value.replace(":", "")
    if re.fullmatch(r"[0-9A-Fa-f]{64}", digits):
        meant = base64url_text(bytes.fromhex(digits))
        raise ValueError(f"a thumbprint is base64url, not hex: {meant}")
    if re.fullmatch(r"[0-9A-Fa-f]{40}", digits):
        raise ValueError("that is a SHA-1; a thumbprint is a SHA-256: see `sidecar thumbprint CERT`")
    if re.fullmatch(r"[A-Za-z0-9+/_-]{43}=?", value):
        meant = value.rstrip("=").replace("+", "-").replace("/", "_")
        raise ValueError(f"a thumbprint is base64url without padding: {meant}")
    raise ValueError(f"{shown(value)} is not a thumbprint: see `sidecar thumbprint CERT`")


Thumbprint = Annotated[
    Text, AfterValidator(_thumbprint), WithJsonSchema({"type": "string", "pattern": "^[A-Za-z0-9_-]{43}$"})
]
Thumbprints = Annotated[
    list[Thumbprint], BeforeValidator(as_list, json_schema_input_type=Thumbprint | list[Thumbprint])
]


OTHER_NAMES = {"UPN": "1.3.6.1.4.1.311.20.2.3"}
"""Types of otherNames by the names that people know."""


def check_types(key: str, names: Iterable[str], known: Mapping[str, str], what: str) -> None:
    """Raises what a validator raises."""
    for name in names:
        if name not in known and not re.fullmatch(r"[0-2](\.(0|[1-9][0-9]{0,9})){1,20}", name):
            close = nearest(name, sorted(known))
            raise mistake(f"{shown(name)} is neither a known {what} nor an object identifier{close}", key)


class CertificateRequirement(Section):
    """What the client certificate must be; all of it. `*` is one part of a name, `**` one part and more.

    In place of a name `{claim: client_id}` takes the name from a claim.
    """

    san_dns: WildNames | None = None
    """DNS names (subjectAltName)."""
    san_uri: WildNames | None = None
    """URIs (subjectAltName)."""
    san_email: WildNames | None = None
    """Mail addresses (subjectAltName)."""
    spiffe_id: SpiffeNames | None = None
    """The SPIFFE ID: the only URI of the certificate, well-formed."""
    subject: PlainNames | None = None
    """Distinguished name as RFC 4514 writes it; no wildcards."""
    issuer: PlainNames | None = None
    """Distinguished name of the issuing authority; no wildcards."""
    subject_attributes: dict[str, AttributeValues] | None = None
    """Attributes of the subject, each by its name (CN, O, OU, UID, organizationIdentifier, …) or object identifier:
    one of the certificate's values is one of these, to the letter."""
    san_other_name: dict[str, AttributeValues] | None = None
    """otherNames among the subject alternative names, each by its type: UPN (user principal name) or an object
    identifier. One of the certificate's values is one of these, to the letter."""
    thumbprint: Thumbprints | None = None
    """x5t#S256 of the certificate: one of these."""
    not_after_margin: Duration | None = None
    """The certificate must last so long yet."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set or {} in (self.subject_attributes, self.san_other_name):
            raise mistake("has no condition on the certificate")
        check_types("subject_attributes", self.subject_attributes or (), ATTRIBUTES, "attribute of a subject")
        check_types("san_other_name", self.san_other_name or (), OTHER_NAMES, "type of an otherName")
        return self

    def conditions(self) -> Iterator[Condition]:
        """One condition for each member."""
        for field in NameField:
            patterns: NamePatterns | None = getattr(self, field.value)
            if patterns is not None:
                yield patterns.condition(field)
        for name, wanted in (self.subject_attributes or {}).items():
            claim = claim_path(wanted.claim) if wanted.claim is not None else None
            yield SubjectAttribute(name, ATTRIBUTES.get(name, name), tuple(wanted.names or ()), claim)
        for name, wanted in (self.san_other_name or {}).items():
            claim = claim_path(wanted.claim) if wanted.claim is not None else None
            yield OtherName(name, OTHER_NAMES.get(name, name), tuple(wanted.names or ()), claim)
        if self.thumbprint is not None:
            yield CertificateThumbprintIs(frozenset(urlsafe_b64decode(one + "=") for one in self.thumbprint))
        if self.not_after_margin is not None:
            yield CertificateLasts(int(self.not_after_margin))
