"""The sections of a case file: policy unit tests for `sidecar test`."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from sidecar.decision.denial import Reason
from sidecar.decision.key_exchange import Group
from sidecar.http import grpc
from sidecar.settings.case_certificate import CaseCertificate
from sidecar.settings.grpc_section import CallMethod, CallService
from sidecar.settings.issuer_sections import Algorithm
from sidecar.settings.moment import Moment, Span
from sidecar.settings.problem import shown
from sidecar.settings.scalars import Duration, Size, Text
from sidecar.settings.section import Section, mistake, nearest
from sidecar.settings.service_sections import Count


class CaseCall(Section):
    """A call of gRPC."""

    service: CallService
    """Full name: package.Service."""
    method: CallMethod
    """Name of the method."""


class CaseRequest(Section):
    """The request, as the client sends it."""

    method: Text | None = None
    """Default: GET."""
    target: Text | None = None
    """Path and query, as they stand in the request line. Default: /; with a form: the token endpoint."""
    host: Text | None = None
    """Default: api.example.com."""
    listener: Text | None = None
    """Name of a listener. Default: the first."""
    headers: dict[Text, Text | list[Text]] = Field(default_factory=dict)
    """Further header fields; `Authorization` here stands in place of the token."""
    form: dict[Text, Text | list[Text]] | None = None
    """The parameters of a request to an endpoint of the authorization server. With it the default of `method` is POST,
    and that of the token is `none`."""
    grpc: CaseCall | None = None
    """A call of gRPC, in place of method, target and form."""
    protocol: Literal["http/1.1", "h2"] | None = None
    """What the client speaks. Default: http/1.1 where the listener offers it, h2 for a call of gRPC."""

    @model_validator(mode="after")
    def _one_way_to_say_it(self) -> Self:
        for name in ("method", "target", "form"):
            if self.grpc is not None and name in self.model_fields_set:
                raise mistake("contradicts `grpc`, which sets the request", name)
        return self


class CaseToken(Section):
    """An access token, made and signed for the run as RFC 9068 has it, valid for five minutes."""

    issuer: Text | None = None
    """Default: the policy's first issuer."""
    claims: dict[Text, Any] = Field(default_factory=dict)
    """Added to, or in place of, the usual claims."""
    without: list[Text] = Field(default_factory=list)
    """Claims to leave out."""
    bound_to: Text | None = None
    """Name of a certificate, or `nothing`. Default: the certificate of the request; with a proof: nothing."""
    bound_to_key: Text | None = None
    """Name of a key, or `nothing`. Default: nothing; with a proof: the key `client`."""
    scheme: Literal["Bearer", "DPoP", "MTLS_POP"] | None = None
    """How it is presented. Default: Bearer; with a proof: DPoP."""
    type: str | None = None
    """`typ` of the header. Default: at+jwt; "" for none."""
    algorithm: Algorithm | None = None
    """Default: the first that the issuer accepts."""
    signed_by: Literal["issuer", "stranger"] | None = None
    """`stranger`: a key that the issuer does not have, under the issuer's `kid`."""
    expires_in: Span | None = None
    """From the case's moment on; negative: it expired. Default: 5m."""
    opaque: bool = False
    """true: no JWT; the claims are what introspection answers (RFC 7662)."""
    active: bool | None = None
    """What introspection answers. Default: true."""
    raw: Text | None = None
    """The token as it stands, in place of all else."""

    @model_validator(mode="after")
    def _raw(self) -> Self:
        if self.raw is not None and self.model_fields_set - {"raw", "scheme"}:
            raise mistake("stands alone", "raw")
        return self


class CaseProof(Section):
    """A DPoP proof, made and signed for the run as RFC 9449 §4.2 has it, for the request and its token."""

    key: Text | None = None
    """Name of the key that signs it. Default: client."""
    claims: dict[Text, Any] = Field(default_factory=dict)
    """Added to, or in place of, the usual claims: `htm`, `htu`, `ath`, `jti`, `nonce`."""
    without: list[Text] = Field(default_factory=list)
    """Claims, or parameters of the header, to leave out."""
    made_in: Span | None = None
    """When it is made, from the case's moment on; negative: before. Default: 0s."""
    type: str | None = None
    """`typ` of the header. Default: dpop+jwt."""
    algorithm: Literal["ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "EdDSA", "Ed25519"] | None = None
    """Default: the first that the issuer takes."""
    signed_by: Literal["key", "stranger"] | None = None
    """`stranger`: with another key than the `jwk` that it shows."""
    times: Annotated[int, Field(ge=1, le=2)] = 1
    """2: in two header fields."""


def _none(value: Any) -> Any:
    return None if value == "none" else value


TokenOrNone = Annotated[
    CaseToken | None,
    BeforeValidator(_none, json_schema_input_type=CaseToken | Literal["none"]),
]

ProofOrNone = Annotated[
    CaseProof | None,
    BeforeValidator(_none, json_schema_input_type=CaseProof | Literal["none"]),
]


def _reason(value: str) -> str:
    known = [reason.value for reason in Reason]
    if value not in known:
        raise ValueError(f"{shown(value)} is not a reason{nearest(value, known)}")
    return value


ReasonName = Annotated[
    Text,
    AfterValidator(_reason),
    WithJsonSchema({"type": "string", "enum": [reason.value for reason in Reason]}),
]


class CaseTls(Section):
    """The TLS of the client's connection."""

    version: Literal["1.2", "1.3"] | None = None
    """Default: "1.3"."""
    group: Group | None = None
    """Group of the key exchange. Default: X25519."""


UNKNOWN = "unknown"
"""The client's TLS, where it ends elsewhere."""
CaseTlsOrUnknown = Annotated[
    CaseTls | None,
    BeforeValidator(
        lambda value: None if value == UNKNOWN else value,
        json_schema_input_type=CaseTls | Literal["unknown"],
    ),
]
ErrorName = Literal[
    "none",
    "invalid_request",
    "invalid_token",
    "insufficient_scope",
    "insufficient_user_authentication",
    "invalid_dpop_proof",
    "use_dpop_nonce",
    "invalid_client",
    "server_error",
]


def _grpc_status(value: Any) -> Any:
    codes = {name: code for code, name in grpc.NAMES.items()}
    if isinstance(value, str) and value not in codes:
        raise ValueError(f"{shown(value)} is not a status of the sidecar{nearest(value, sorted(codes))}")
    return codes[value] if isinstance(value, str) else value


GrpcStatus = Annotated[
    int,
    Field(ge=0, le=16),
    BeforeValidator(_grpc_status),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": 16},
                {"type": "string", "enum": sorted(grpc.NAMES.values())},
            ]
        }
    ),
]


class CaseLimits(Section):
    """What bounds a request that is forwarded, be it by the rule's word or the service's; 0 and 0s: nothing."""

    body_bytes: Size | None = None
    """Largest request body."""
    response_timeout: Duration | None = None
    """From the end of the request to the head of the answer."""
    stream_timeout: Duration | None = None
    """Without a byte, in either direction."""
    total_timeout: Duration | None = None
    """For the whole exchange."""
    concurrent_requests: Count | None = None
    """Under way at once, under the same rule."""


class CaseExpectation(Section):
    """What must come of it; what is left out does not matter."""

    status: Annotated[int, Field(ge=100, le=599)] | None = None
    """200 when the request is forwarded; else the status of the refusal."""
    reason: ReasonName | None = None
    """Why it is refused."""
    grpc_status: GrpcStatus | None = None
    """What the caller of gRPC gets, number or name; 0, OK, when the call is forwarded: then the API says."""
    rule: Text | None = None
    """The rule that decided."""
    would_deny: ReasonName | None = None
    """Forwarded only because the policy reports: the reason it will be refused for one day."""
    error: ErrorName | None = None
    """OAuth error code of the challenge, or at an endpoint of the body; `none`: there is none."""
    failures: list[Text] | None = None
    """Names of the checks that failed, e.g. `claims.tenant`, in any order."""
    upstream_headers: dict[Text, str | list[str]] | None = None
    """Header → value or values that the API sees; an empty list: it does not see the header."""
    limits: CaseLimits | None = None
    """What bounds the request, the service's limits and the rule's own taken together."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set:
            raise mistake("expects nothing")
        if self.status == 200 and self.reason is not None:
            raise mistake("a forwarded request has no reason; did you mean `would_deny`?", "reason")
        return self


class CaseDefaults(Section):
    """What every case of the file starts from; a case's own keys come on top, claims and headers one by one."""

    at: Moment | None = None
    """The clock."""
    request: CaseRequest = CaseRequest()
    certificate: Text | None = None
    """Name of the certificate the client presents."""
    tls: CaseTls | None = None
    """The TLS of the client's connection."""
    token: CaseToken | None = None
    proof: CaseProof | None = None


class Case(Section):
    """One request, and what must come of it."""

    name: Text
    """What the case shows, as the report prints it."""
    at: Moment | None = None
    """The clock. Default: now."""
    request: CaseRequest = CaseRequest()
    certificate: Text | None = None
    """Name of the certificate the client presents; `none`: no certificate. Default: `client`."""
    tls: CaseTlsOrUnknown = CaseTls()
    """The TLS of the client's connection; `unknown`: it ends elsewhere. Default: TLS 1.3 with X25519."""
    token: TokenOrNone = CaseToken()
    """The access token; `none`: no token. Default: a good one, bound to the certificate, or with a proof to its key."""
    proof: ProofOrNone = None
    """A DPoP proof; `{}`: a good one. Default, and `none`: none is sent."""
    expect: CaseExpectation


class CaseFile(Section):
    """A case file for `sidecar test`."""

    certificates: dict[Text, CaseCertificate] = Field(default_factory=dict)
    """Certificates by the names that cases use; a name that is not here is made with all defaults."""
    defaults: CaseDefaults = CaseDefaults()
    cases: Annotated[list[Case], Field(min_length=1)]
