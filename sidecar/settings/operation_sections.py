"""The sections of the service file that concern the process: health, admin, logging, workers, and the whole file."""

import ipaddress
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from sidecar.http.claimed_identity import is_known
from sidecar.settings.authorization_server_sections import AuthorizationServerSection
from sidecar.settings.dpop_sections import Dpop, Origins
from sidecar.settings.files import FileName
from sidecar.settings.issuer_sections import Url
from sidecar.settings.listener_sections import ListenerSection
from sidecar.settings.problem import shown
from sidecar.settings.scalars import (
    ADDRESS_PATTERN,
    Address,
    Duration,
    Form,
    HeaderName,
    Size,
    Text,
    is_unix,
    parse_address,
)
from sidecar.settings.section import Section, mistake
from sidecar.settings.service_sections import (
    LimitsSection,
    Positive,
    TimeoutsSection,
    Upstream,
    is_within_reach_of_others,
)

LEAST_AUDITED: Final = 64 * 1024
"""Bytes of a buffer in which records have places: sixteen of them."""


ServiceName = Annotated[
    str, Form(r"^([A-Za-z_][A-Za-z0-9_.-]*)?$", "the name of a gRPC service: orders.v1.Orders", 256)
]


class Health(Section):
    """Where /livez, /readyz, /startupz, /grpcz and /metrics are served, over plain HTTP."""

    address: Address
    """The address for the kubelet and the monitoring."""
    grpc_services: Annotated[list[ServiceName], Field(max_length=16)] = Field(default_factory=list)
    """gRPC services of the API whose health `/grpcz?service=…` may report; `""` is the server as a whole."""


def _admin_address(value: object) -> object:
    """Loopback or a Unix socket, nothing else: the page shows who was refused and why."""
    if isinstance(value, str) and value.startswith("unix:///"):
        return ("unix", value.removeprefix("unix://"))
    host, port = parse_address(value)
    try:
        is_loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise ValueError(f"{shown(value)} is not loopback: 127.0.0.1:port, [::1]:port or unix:///path")
    return (host, port)


class Admin(Section):
    """The page for engineers; loopback or a Unix socket only."""

    address: Annotated[
        tuple[str, int | str],
        BeforeValidator(_admin_address),
        WithJsonSchema(
            {"anyOf": [{"type": "string", "pattern": p} for p in (ADDRESS_PATTERN, "^unix:///.+$")]}
        ),
    ]
    """`127.0.0.1:9901`, `[::1]:9901` or `unix:///run/sidecar/admin.sock`."""
    token_file: FileName | None = None
    """Made at each start with mode 0600; `sidecar admin-url` prints a link with it. Default: among the temporary files.
    A Unix socket needs none: it accepts only the sidecar's own account and root."""


class Logging(Section):
    """Lines about requests and about the process itself."""

    format: Literal["auto", "json", "text"] | None = None
    """`auto` (default): text on a terminal, json anywhere else."""
    access: Literal["all", "denied", "sampled"] | None = None
    """Which requests get a line. Default: all."""
    audit: Literal["best_effort", "required"] | None = None
    """`required`: a request whose record has no place in the buffer is not forwarded, but gets 503. Default:
    best_effort."""
    level: Literal["debug", "info", "warning", "error"] | None = None
    """Default: info."""
    sample: Positive | None = None
    """With `access: sampled`, one in this many permitted requests gets a line. Default: 100."""
    file: FileName | None = None
    """Default: standard output. Opened again on SIGHUP."""
    buffered_bytes: Size | None = None
    """Lines wait here for a slow reader; past it they are dropped and counted. Default: 4MiB."""

    @model_validator(mode="after")
    def _audit(self) -> Self:
        if self.audit != "required":
            return self
        if self.access in {"denied", "sampled"}:
            message = (
                f"`audit: required` needs a line for each request, `access: {self.access}` leaves some out"
            )
            raise mistake(message, "audit")
        if self.buffered_bytes is not None and self.buffered_bytes < LEAST_AUDITED:
            raise mistake("`audit: required` needs room for some records: at least 64KiB", "buffered_bytes")
        return self


def _http_url(value: str) -> str:
    try:
        url = urlsplit(value)
        is_good = url.scheme in {"http", "https"} and bool(url.hostname) and (url.port or 1) > 0
    except ValueError:
        is_good = False
    if not is_good:
        raise ValueError(f"{shown(value)} is not an http:// or https:// URL")
    return value


class Tracing(Section):
    """Spans to an OpenTelemetry collector; needs the extra `[otel]`."""

    endpoint: Annotated[Text, AfterValidator(_http_url)]
    """OTLP over HTTP, e.g. http://127.0.0.1:4318."""
    service_name: Text | None = None
    """Default: bound-token-sidecar."""
    sample_ratio: Annotated[float, Field(ge=0, le=1)] | None = None
    """Share of the traces that begin here and are recorded, 0 to 1. Default: 1."""
    attributes: dict[Text, Text] | None = None
    """Added to every span."""


class BypassCheck(Section):
    """The check whether the API answers on the Pod's own addresses, past the sidecar."""

    enabled: bool | None = None
    """Default: true."""
    interval: Duration | None = None
    """Default: 1m."""
    refuse_when_bypassable: bool | None = None
    """true: not ready while the API can be reached past the sidecar. Default: false, a warning."""


class Process(Section):
    """Protections of the process."""

    run_as: (
        Annotated[
            str,
            Form(
                r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?$",
                "of the form user or user:group",
            ),
        ]
        | None
    ) = None
    """`user` or `user:group`, names or numbers: the account for the process after a start as root."""
    open_files: Positive | None = None
    """Soft limit of open files. Default: the hard limit."""
    watch_files: bool | None = None
    """Reload when a file of the configuration changes. Default: true."""
    watch_interval: Duration | None = None
    """Default: 1s."""
    insecure_policy_writable_by_everyone: bool = False
    """Accept a service file and policy files that every account of the machine may write. Default: false."""


class ProtectedResource(Section):
    """Serves /.well-known/oauth-protected-resource (RFC 9728) and names it in challenges."""

    resource: Url
    """The resource identifier: an https URL without fragment (RFC 9728 §1.2)."""
    serve: bool | None = None
    """Default: true."""
    origins: Origins | None = None
    """The origins under which clients reach it. `htu` of a proof is compared with them, never with `Host` alone."""


def _workers(value: object) -> object:
    """The number of workers; 0: one per CPU."""
    if value == "auto":
        return 0
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 256:
        return value
    remedy = ": take the quotes off" if isinstance(value, str) and value.isdecimal() else ""
    raise ValueError(f"expected a whole number from 1 to 256, or `auto`, got {shown(value)}{remedy}")


Workers = Annotated[
    int,
    BeforeValidator(_workers),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1, "maximum": 256}, {"const": "auto"}]}),
]


class ServiceFile(Section):
    """The service file, `config/sidecar.yaml`."""

    listeners: Annotated[list[ListenerSection], Field(min_length=1)]
    upstream: Upstream
    policy_files: Annotated[list[Text], Field(min_length=1)]
    """File names or patterns (`policies/*.yaml`), relative to this file; merged in name order."""
    health: Health | None = None
    admin: Admin | None = None
    limits: LimitsSection = LimitsSection()
    timeouts: TimeoutsSection = TimeoutsSection()
    logging: Logging = Logging()
    tracing: Tracing | None = None
    workers: Workers | None = None
    """Processes that serve; `auto`: one per CPU. Default: 1."""
    state_directory: FileName | None = None
    """Folder in which the last good keys of issuers are kept over a restart."""
    process: Process = Process()
    bypass_check: BypassCheck = BypassCheck()
    protected_resource: ProtectedResource | None = None
    dpop: Dpop = Dpop()
    authorization_server: AuthorizationServerSection | None = None
    realm: (
        Annotated[
            str,
            Form(
                r"^[\x20\x21\x23-\x5b\x5d-\x7e]{1,128}$",
                "printable ASCII without quotes and backslashes",
                128,
            ),
        ]
        | None
    ) = None
    """`realm` of challenges (RFC 9110 §11.5)."""
    disclose_reasons: bool | None = None
    """Whether a refusal's `error_description` names the reason. Default: true."""
    problem_types: (
        Annotated[
            str,
            Form(
                r"^(https?://|urn:)[\x21\x23\x25-\x3b\x3d\x3f-\x5b\x5d\x5f\x61-\x7a\x7e]{1,200}$",
                "the beginning of a URI, such as https://docs.example.com/troubleshooting#",
                220,
            ),
        ]
        | None
    ) = None
    """The `type` of a refusal's body is this text followed by the reason (RFC 9457 §3.1.1). Default: about:blank."""
    insecure_keep_headers_with_underscores: bool = False
    """DANGEROUS: forwards field names with `_` to an API that may treat them like `-`."""
    strip_headers: list[HeaderName] = Field(default_factory=list)
    """More headers that claim an identity: forwarded only from peers in `forwarded_from`."""
    insecure_keep_headers: list[HeaderName] = Field(default_factory=list)
    """DANGEROUS: headers that claim an identity or override the method, and that every client may send."""

    @model_validator(mode="after")
    def _headers(self) -> Self:
        """What is kept must be something that else is not."""
        stripped = {name.lower() for name in self.strip_headers}
        ours = {name.lower() for name in self.upstream.identity_headers or ()}
        for name in self.insecure_keep_headers:
            if name.lower() in stripped:
                raise mistake(f"{shown(name)} is in `strip_headers` too", "insecure_keep_headers")
            if name.lower() in ours:
                raise mistake(f"{shown(name)} is an identity header of `upstream`", "insecure_keep_headers")
            if not is_known(name):
                raise mistake(f"{shown(name)} is forwarded anyway", "insecure_keep_headers")
        return self

    @model_validator(mode="after")
    def _asks_by_grpc(self) -> Self:
        if self.health is not None and self.health.grpc_services and self.upstream.protocol != "h2":
            raise mistake("`grpc_services` are asked over HTTP/2: `upstream` needs `protocol: h2`", "health")
        return self

    @model_validator(mode="after")
    def _told_in_private(self) -> Self:
        """Who reaches the server past the sidecar could send it any certificate."""
        server = self.authorization_server
        if server is None or server.hand_over.header is None:
            return self
        if is_within_reach_of_others(self.upstream.url):
            message = (
                "a caller that reaches the server directly could pretend to be any client:"
                " use https://, loopback or a Unix socket"
            )
            raise mistake(f"`hand_over.header`: {message}", "upstream")
        return self

    @model_validator(mode="after")
    def _addresses(self) -> Self:
        """One address, one server; with port 0 the system chooses a free port each time."""
        taken: set[object] = set()
        named = [(str(one.address), one.address) for one in self.listeners]
        for address in [one for _, one in named]:
            if (address[1] or is_unix(address)) and address in taken:
                where = address[0] if is_unix(address) else f"{address[0]}:{address[1]}"
                raise mistake(f"two listeners on {where}", "listeners")
            taken.add(address)
        if self.workers not in {None, 1} and any(one.is_unix for one in self.listeners):
            raise mistake(
                "several workers cannot share a Unix socket: `workers: 1`, or an address", "workers"
            )
        names = [one.name for one in self.listeners if one.name]
        if len(names) != len(set(names)):
            raise mistake("two listeners with the same name", "listeners")
        for key in ("health", "admin"):
            section = getattr(self, key)
            if section is not None and section.address[1] and section.address in taken:
                raise mistake(f"the address of `{key}` is taken", key)
            if section is not None:
                taken.add(section.address)
        return self
