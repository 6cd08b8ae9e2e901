"""What a rule may require of claims, authorization details and the client certificate. Words, not a language."""

import re
from base64 import urlsafe_b64decode
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from sidecar.decision.claim import claim_path
from sidecar.decision.strict import base64url_text
from sidecar.settings.problem import shown
from sidecar.settings.scalars import Duration, Text, Texts, as_list
from sidecar.settings.section import Section, mistake

_OPERATORS = (
    "equals",
    "one_of",
    "contains",
    "all",
    "prefix",
    "at_least",
    "at_most",
    "more_than",
    "less_than",
)


def _scalar(value: Any) -> Any:
    if isinstance(value, str | bool | int | float):
        return value
    raise ValueError(f"expected text, a number, true or false, got {shown(value)}")


def _number(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    raise ValueError(f"expected a number, got {shown(value)}")


_SCALAR_SCHEMA: dict[str, Any] = {"type": ["string", "number", "boolean"]}
Scalar = Annotated[Any, BeforeValidator(_scalar), WithJsonSchema(_SCALAR_SCHEMA)]
Number = Annotated[Any, BeforeValidator(_number), WithJsonSchema({"type": "number"})]
Scalars = Annotated[list[Scalar], Field(min_length=1)]


class ClaimOperators(Section):
    """What a claim must be; with several operators, all of them. `{name}` stands for what the path captured."""

    equals: Scalar = None
    """This value."""
    one_of: Scalars | None = None
    """One of these values."""
    contains: Scalar = None
    """An array with this value."""
    all: Scalars | None = None
    """An array with all of these values."""
    prefix: Text | None = None
    """Text that begins so."""
    at_least: Number = None
    """A number, this or more."""
    at_most: Number = None
    """A number, this or less."""
    more_than: Number = None
    """A number, more than this."""
    less_than: Number = None
    """A number, less than this."""
    exists: bool | None = None
    """true: there, whatever its value; false: not there."""
    may_log: bool = False
    """true: when the condition fails, the log may hold the claim's value."""

    @model_validator(mode="after")
    def _operators(self) -> Self:
        given = self.model_fields_set - {"may_log"}
        if not given:
            raise mistake(f"says nothing of the claim: one of {', '.join(_OPERATORS)}, exists")
        if self.exists is False and len(given) > 1:
            raise mistake("`exists: false` stands alone", "exists")
        return self


def _spelled_out(value: Any) -> Any:
    """A value alone is `equals`, a list alone is `one_of`."""
    if isinstance(value, list):
        return {"one_of": value}
    return value if isinstance(value, dict) else {"equals": value}


def _claim_name(name: str) -> str:
    if not all(claim_path(name)):
        raise ValueError(f"{shown(name)} is not a claim: names with dots between them")
    return name


ClaimName = Annotated[Text, AfterValidator(_claim_name)]
"""`realm_access.roles` is `roles` inside `realm_access`; a name with `://` in it is one name."""
ClaimExpectation = Annotated[
    ClaimOperators,
    BeforeValidator(_spelled_out, json_schema_input_type=Scalar | Scalars | ClaimOperators),
]
Claims = Annotated[dict[ClaimName, ClaimExpectation], Field(min_length=1)]


class AuthorizationDetailSection(Section):
    """One authorization detail that the token must have (RFC 9396)."""

    type: Text
    fields: dict[ClaimName, ClaimExpectation] = Field(default_factory=dict)
    """Members of the detail and what they must be, all of them in one and the same detail."""


class NameOfClaim(Section):
    """The name stands in a claim."""

    claim: ClaimName


class NamePatterns(Section):
    """A certificate's names in one place: one of them fits one of these, or is what a claim says."""

    names: Texts | None = None
    claim: ClaimName | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if bool(self.names) == bool(self.claim):
            raise mistake("expected a name, a list of names, or {claim: NAME}")
        return self


def _names(value: Any) -> Any:
    if isinstance(value, dict):
        return value
    return {"names": as_list(value)}


def _wild(value: NamePatterns) -> NamePatterns:
    for name in value.names or ():
        if not name.isprintable() or not name.isascii():
            raise ValueError(f"{shown(name)} holds a character that no such name has")
    return value


def _plain(value: NamePatterns) -> NamePatterns:
    for name in value.names or ():
        if "*" in name:
            raise ValueError(f"{shown(name)}: a distinguished name takes no wildcards")
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


def _thumbprint(value: str) -> str:
    """`x5t#S256` as RFC 8705 §3.1 writes it, and no other way of writing a digest."""
    if re.fullmatch(r"[A-Za-z0-9_-]{43}", value):
        digest = urlsafe_b64decode(value + "=")
        if base64url_text(digest) == value:
            return value
    digits = value.replace(":", "")
    if re.fullmatch(r"[0-9A-Fa-f]{64}", digits):
        meant = base64url_text(bytes.fromhex(digits))
        raise ValueError(f"a thumbprint is written in base64url, not hex: {meant}")
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
    thumbprint: Thumbprints | None = None
    """x5t#S256 of the certificate: one of these."""
    not_after_margin: Duration | None = None
    """The certificate must last so long yet."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set:
            raise mistake("says nothing of the certificate")
        return self
