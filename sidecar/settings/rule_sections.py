"""The sections of a policy file that concern rules, and the whole policy file."""

from collections.abc import Iterator
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from sidecar.decision.claim import ClaimCondition, OneOf
from sidecar.decision.condition import AuthenticationContext, BoundBy, Condition
from sidecar.decision.path import ALLOWABLE
from sidecar.decision.template import Template
from sidecar.http.message import METHODS
from sidecar.settings.certificate_requirement import CertificateRequirement
from sidecar.settings.claim_requirements import AuthorizationDetailSection, Claims
from sidecar.settings.dpop_sections import Member
from sidecar.settings.grpc_section import GrpcCalls
from sidecar.settings.issuer_sections import IssuerSection, ReportOnlySection
from sidecar.settings.problem import shown
from sidecar.settings.rule_limits import RuleLimitsSection
from sidecar.settings.scalars import Duration, Form, Text, Texts, as_list
from sidecar.settings.section import Section, mistake, nearest
from sidecar.settings.service_sections import IdentityHeaders
from sidecar.settings.tls_requirement import TlsRequirement

Scope = Annotated[
    str, Form(r"^[\x21\x23-\x5b\x5d-\x7e]+$", "one scope: printable ASCII without spaces and quotes")
]
"""scope-token (RFC 6749 §3.3)."""


def check_method(method: str) -> str:
    """A method that a request can have; raises `ValueError`."""
    if method not in METHODS:
        raise ValueError(
            f"no request with the method {shown(method)} is ever forwarded{nearest(method, sorted(METHODS))}"
        )
    return method


Method = Annotated[
    str,
    Form(r"^[A-Z][A-Z0-9_-]*$", "a method: methods are in upper case", 32),
    AfterValidator(check_method),
]
"""Case-sensitive (RFC 9110 §9.1)."""
Host = Annotated[
    str,
    Form(r"^(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*$|^\[[0-9a-f:.]+\]$", "a host in lower case without port", 253),
]
"""Lower case, without port; `*.example.com` for one or more labels."""
Hosts = Annotated[list[Host], BeforeValidator(as_list, json_schema_input_type=Host | list[Host])]
QueryKey = Annotated[str, Field(min_length=1, max_length=256)]


def check_template(template: str) -> str:
    """A path template; raises `ValueError`."""
    Template.parse(template)
    if any(char in template for char in "?# ") or not template.isprintable():
        raise ValueError(
            f"{shown(template)} has a character that a path cannot have: queries are matched by `query`"
        )
    return template


_SAID_BY_GRPC: Final = {
    "methods": "every call is a POST; a gRPC method is named by `grpc: {method: …}`",
    "path": "the path of a call is /service/method",
    "query": "a call has no query",
}
"""Keys of `match` that `grpc` replaces, and why."""


class Query(Section):
    """Query keys that must or must not be present."""

    present: list[QueryKey] = Field(default_factory=list)
    """All of these are present, with or without a value."""
    absent: list[QueryKey] = Field(default_factory=list)
    """None of these is present."""


class Match(Section):
    """The requests that a rule is for; a key that is left out fits all."""

    methods: Annotated[list[Method], Field(min_length=1)] | None = None
    """One of these, compared with case (RFC 9110 §9.1)."""
    path: Annotated[Text, AfterValidator(check_template)] | None = None
    """Segments: {name} or * for one segment, {name}.json for one with this end, a last ** for the rest."""
    host: Annotated[Hosts, Field(min_length=1)] | None = None
    """Lower case, without port; *.example.com for one or more labels."""
    query: Query = Query()
    listener: Texts | None = None
    """Names of listeners."""
    ignore_case: bool = False
    """Path and query keys are compared without case: for APIs that do so (Express, ASP.NET)."""
    grpc: GrpcCalls | None = None
    """gRPC calls, by the names of service and method; instead of `methods` and `path`."""

    @model_validator(mode="after")
    def _one_way_to_say_it(self) -> Self:
        if self.grpc is not None:
            for name, why in _SAID_BY_GRPC.items():
                if name in self.model_fields_set:
                    raise mistake(f"contradicts `grpc`: {why}", name)
        return self


class Require(Section):
    """What a request must present in addition to a valid token; all conditions must hold."""

    scopes: Annotated[list[Scope], Field(min_length=1)] | None = None
    """All of these."""
    any_scope: Annotated[list[Scope], Field(min_length=1)] | None = None
    """At least one of these."""
    issuers: Annotated[Texts, Field(min_length=1)] | None = None
    """The token must come from one of these issuers. Default: any issuer of the policy."""
    audience: Annotated[Texts, Field(min_length=1)] | None = None
    """One of these must be in `aud`, in addition to the issuer's audience."""
    client_id: Annotated[Texts, Field(min_length=1)] | None = None
    """The client is one of these."""
    claims: Claims | None = None
    """Claim → its condition: a value, a list of accepted values, or operators."""
    confirmation: Annotated[list[Member], Field(min_length=1)] | None = None
    """Members of `cnf` that must bind the token, all of these: x5t#S256 (a certificate), jkt (a DPoP key)."""
    acr: Annotated[Texts, Field(min_length=1)] | None = None
    """`acr` must be one of these (RFC 9470)."""
    max_authentication_age: Duration | None = None
    """The user must have authenticated at most this long ago (RFC 9470)."""
    authorization_details: Annotated[list[AuthorizationDetailSection], Field(min_length=1)] | None = None
    """Authorization details the token must have, all of these (RFC 9396)."""
    client_certificate: CertificateRequirement | None = None
    """What the client certificate must be."""
    tls: TlsRequirement | None = None
    """What the client's TLS must be."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set:
            raise mistake("requires nothing: leave it out, or add a condition")
        return self

    def conditions(self) -> Iterator[Condition]:
        """Everything beyond scope, issuer and audience, in the order of the documentation."""
        age = self.max_authentication_age
        if self.acr or age is not None:
            yield AuthenticationContext(tuple(self.acr or ()), None if age is None else int(age))
        if self.confirmation:
            yield BoundBy(tuple(self.confirmation))
        if self.client_id:
            yield ClaimCondition(("client_id",), OneOf(tuple(self.client_id)))
        for name, operators in (self.claims or {}).items():
            yield from operators.conditions(name)
        for detail in self.authorization_details or ():
            yield detail.condition()
        if self.client_certificate is not None:
            yield from self.client_certificate.conditions()
        if self.tls is not None:
            yield from self.tls.conditions()


def _allowable(value: str) -> str:
    if value in ALLOWABLE:
        return value
    raise ValueError(
        f"{shown(value)} is not an ambiguity that can be allowed{nearest(value, sorted(ALLOWABLE))}"
    )


Ambiguity = Annotated[
    Text, AfterValidator(_allowable), WithJsonSchema({"type": "string", "enum": sorted(ALLOWABLE)})
]


def check_protocol(protocol: str) -> str:
    """A protocol that may be tunnelled; raises `ValueError`."""
    if protocol.partition("/")[0] in {"h2c", "h2", "http", "tls"}:
        raise ValueError(f"{shown(protocol)} would carry requests past the decision")
    return protocol


Protocol = Annotated[
    str,
    Form(r"^[a-z0-9!#$&'*+.^_`|~-]+(/[a-z0-9!#$&'*+.^_`|~-]+)?$", "a protocol in lower case: websocket", 64),
    AfterValidator(check_protocol),
]
"""protocol-name, perhaps with a version (RFC 9110 §7.8)."""


class RuleSection(Section):
    """One rule. The first rule whose `match` fits decides; without one the answer is 403."""

    name: Annotated[
        str, Form(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", "a name of letters, digits and ._-, at most 64", 64)
    ]
    """Unique in all policy files; logs and metrics use it."""
    match: Match
    public: bool = False
    """true: forwarded without credentials."""
    cors_preflight: bool = False
    """true: a CORS preflight passes without credentials."""
    binding: Literal["required", "if_bound", "not_required"] | None = None
    """Default: the issuer's."""
    require: Require | None = None
    report_only: ReportOnlySection | None = None
    limits: RuleLimitsSection | None = None
    """Limits that replace the service's."""
    identity_headers: IdentityHeaders | None = None
    """Header → claim, instead of the upstream's."""
    upgrade: list[Protocol] | None = None
    """Protocols that a request may switch to; never HTTP or TLS. Default: [websocket]."""
    allow_ambiguous_paths: list[Ambiguity] = Field(default_factory=list)
    """Kinds of ambiguity in a path that this rule allows; any other gets 400."""

    @model_validator(mode="after")
    def _public(self) -> Self:
        if self.public:
            for name in ("require", "binding", "report_only", "cors_preflight"):
                if name in self.model_fields_set:
                    raise mistake(f"`{name}` contradicts `public: true`", name)
        if self.cors_preflight and self.match.grpc is not None:
            raise mistake("has no effect: a preflight is not a gRPC call", "cors_preflight")
        if self.cors_preflight and self.match.methods is not None and "OPTIONS" not in self.match.methods:
            raise mistake(
                "has no effect: `methods` leaves out OPTIONS, the method of a preflight", "cors_preflight"
            )
        return self


class PolicyFile(Section):
    """A policy file. Several are merged in the order of their names."""

    issuers: list[IssuerSection] = Field(default_factory=list)
    rules: list[RuleSection] = Field(default_factory=list)
    report_only: ReportOnlySection | None = None
    """For every rule of this file."""
