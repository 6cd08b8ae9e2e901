"""The section `authorization_server` of the service file: what the sidecar does in front of one (RFC 8705 §2)."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, ClassVar, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from sidecar.proxy.authorization_server.extra_headers import parse_extra_headers
from sidecar.settings.files import CertificateFile, ReadableFile, check_private
from sidecar.settings.issuer_sections import ReportOnlySection, Url
from sidecar.settings.listener_sections import CERTIFICATE_FIELDS, OURS
from sidecar.settings.problem import shown
from sidecar.settings.scalars import Form, HeaderName, Text
from sidecar.settings.section import Section, mistake
from sidecar.settings.service_sections import CertificateHeaderSection

EndpointPath = Annotated[
    str,
    Form(r"^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+/?$", "a path of plain segments: /oauth2/token", 512),
]
FieldValue = Annotated[str, Form(r"^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$", "the value of a header field")]
_CHAINS: Final = frozenset({"rfc9440", "xfcc"})


class EndpointSection(Section):
    """An endpoint that clients find at another path than the server has it."""

    public: EndpointPath
    """Where clients find it."""
    upstream: EndpointPath
    """Where the server has it."""


def _both(value: object) -> object:
    """One path is the path on both sides."""
    return {"public": value, "upstream": value} if isinstance(value, str) else value


Endpoint = Annotated[
    EndpointSection, BeforeValidator(_both, json_schema_input_type=EndpointPath | EndpointSection)
]


class EndpointsSection(Section):
    """Paths of the endpoints at which clients authenticate: the same on both sides, or `{public, upstream}`."""

    token: Endpoint
    """RFC 6749 §3.2."""
    pushed_authorization_request: Endpoint | None = None
    """RFC 9126 §2."""
    introspection: Endpoint | None = None
    """RFC 7662 §2."""
    revocation: Endpoint | None = None
    """RFC 7009 §2."""

    @model_validator(mode="after")
    def _differ(self) -> Self:
        for side in ("public", "upstream"):
            seen: dict[str, str] = {}
            for name, endpoint in self.given().items():
                path = getattr(endpoint, side)
                folded = path.lower().rstrip("/")
                if folded in seen:
                    raise mistake(f"{shown(path)} is the path of `{seen[folded]}`", name)
                seen[folded] = name
        return self


class VerifiedFieldSection(Section):
    """A field by which the server is told that a proxy verified the certificate."""

    elsewhere: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "true": 'is how Helm and other YAML 1.1 parsers read the key yes: write "yes" in quotes',
            "false": 'is how Helm and other YAML 1.1 parsers read the key no: write "no" in quotes',
        }
    )
    name: HeaderName
    """Name of the field: `ssl-client-verify`."""
    yes: FieldValue
    """Its value where the client was authenticated by its certificate: `SUCCESS`."""
    no: FieldValue | None = None
    """Its value in every other request to an endpoint. Default: the field is left out."""


class HandOverHeaderSection(CertificateHeaderSection):
    """The certificate of a client that proved to be who it is, in a header field."""

    chain: bool | None = None
    """true: the certificates above the client's too. Some servers match a name in any of them. Default: false."""
    verified: VerifiedFieldSection | None = None

    @model_validator(mode="after")
    def _chain(self) -> Self:
        if self.chain and self.format not in _CHAINS:
            raise mistake(f"`{self.format}` has no field for a chain", "chain")
        name = self.name or CERTIFICATE_FIELDS.get(self.format, "")
        if self.verified is not None and self.verified.name.lower() in {name.lower(), *OURS}:
            raise mistake(
                f"{shown(self.verified.name)} cannot be used to say that the certificate was verified",
                "verified",
            )
        return self


class HandOverSection(Section):
    """How the server is told who the client is. What clients send under these names is taken out everywhere."""

    header: HandOverHeaderSection | None = None
    """Without it the server is told by `translate` of each client alone."""
    extra_headers_file: ReadableFile | None = None
    """Lines `Name: value` that the server wants from a proxy that it trusts, such as a key; sent with a certificate."""
    insecure_extra_headers_readable_by_everyone: bool = False
    """DANGEROUS: accepts an `extra_headers_file` that every user of the machine may read."""

    @model_validator(mode="after")
    def _extra_headers(self) -> Self:
        file = self.extra_headers_file
        if file is None or not file.is_file():
            return self
        if not self.insecure_extra_headers_readable_by_everyone:
            check_private(file, "insecure_extra_headers_readable_by_everyone", "extra_headers_file")
        try:
            found = parse_extra_headers(file.read_bytes())
        except (OSError, ValueError) as problem:
            raise mistake(f"{shown(str(file))}: {problem}", "extra_headers_file") from None
        for name, _ in found:
            if name.decode().lower() in OURS:
                raise mistake(f"{shown(name.decode())} is not free", "extra_headers_file")
        return self


def _origin(value: str) -> str:
    """RFC 6454 §4, https; raises `ValueError`."""
    parts = urlsplit(value)
    if parts.scheme != "https" or parts.path not in {"", "/"} or parts.query:
        raise ValueError(f"{shown(value)} is not an origin: https://mtls.as.example")
    return value.rstrip("/")


class MetadataSection(Section):
    """The server's metadata (RFC 8414), with what the sidecar adds to it (RFC 8705 §3.3 and §5)."""

    mtls_origin: Annotated[Url, AfterValidator(_origin)]
    """Where clients with certificates reach the sidecar: origin of the `mtls_endpoint_aliases`."""


class AuthorizationServerSection(Section):
    """In front of an authorization server: clients are authenticated by their certificates (RFC 8705 §2)."""

    issuer: Url
    """The server's issuer identifier (RFC 8414 §2)."""
    endpoints: EndpointsSection
    client_files: Annotated[list[Text], Field(min_length=1)]
    """Files of clients, or patterns (`clients/*.yaml`), relative to this file."""
    clients_ca_file: CertificateFile | None = None
    """The authorities to trust where clients publish their certificates (`jwks_url`). Default: the system's."""
    hand_over: HandOverSection = HandOverSection()
    audit_binding: Literal["report", "refuse"] | None = None
    """What becomes of an issued token that is not bound to the certificate of its connection: `report` (default), or
    `refuse`: 502, and the token is revoked."""
    metadata: MetadataSection | None = None
    report_only: ReportOnlySection | None = None
    """Until that day, requests that would be refused go to the server without a certificate, and are recorded."""

    def paths(self) -> dict[str, tuple[str, str]]:
        """Endpoint → where clients find it, and where the server has it."""
        return {name: (one.public, one.upstream) for name, one in self.endpoints.given().items()}
