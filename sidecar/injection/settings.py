"""The operator's settings of the injector."""

import re
from typing import Annotated, Any, Final, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from sidecar.injection.told_certificate import ToldCertificate

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
KUBERNETES_MINOR = re.compile(r"1\.(\d{1,3})")


def object_name(value: str) -> str:
    """The value, if it is a valid name of a Kubernetes object. Raises `ValueError`."""
    if len(value) > 253 or not DNS_LABEL.fullmatch(value):
        raise ValueError("not the name of a Kubernetes object (lower-case letters, digits, '-' and '.')")
    return value


def _kubernetes_version(value: str) -> str:
    if not KUBERNETES_MINOR.fullmatch(value):
        raise ValueError("a Kubernetes version is written like 1.29")
    return value


ObjectName = Annotated[str, AfterValidator(object_name)]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$", max_length=253)]
EnvironmentName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Port = Annotated[int, Field(ge=1, le=65535, strict=True)]
Choice = Literal[
    "container", "upstream-port", "port", "policies", "tls-secret", "config-map", "probes", "upstream-host",
    "upstream-protocol", "clients-secret",
]  # fmt: skip
CHOICES: Final[tuple[Choice, ...]] = get_args(Choice)
"""What the author of a Pod may choose by an annotation of this name, if the settings allow it."""
Protocol = Literal["http/1.1", "h2"]
H2: Final[Protocol] = "h2"
HTTP1: Final[Protocol] = "http/1.1"
Quantity = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi)?$")]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CsiVolume(_Strict):
    """A CSI driver that issues the server certificate on the node, one for each Pod."""

    driver: Annotated[str, Field(min_length=1, max_length=253)]
    attributes: dict[str, str] = {}


class ServerCertificate(_Strict):
    """The source of the sidecar's certificate: a Secret, a CSI driver, or a volume of the Pod.

    `{name}` in `secret` stands for the workload's name, so that one setting applies to a whole namespace.
    """

    secret: str | None = "{name}-tls"  # noqa: S105  # the name of a Secret
    csi: CsiVolume | None = None
    volume: ObjectName | None = None
    certificate_file: FileName = "tls.crt"
    private_key_file: FileName = "tls.key"

    @model_validator(mode="before")
    @classmethod
    def _another_source_replaces_the_default(cls, value: object) -> object:
        if isinstance(value, dict) and "secret" not in value and (value.get("csi") or value.get("volume")):
            return {**value, "secret": None}
        return value

    @model_validator(mode="after")
    def _exactly_one_source(self) -> Self:
        sources = [source for source in (self.secret, self.csi, self.volume) if source is not None]
        if len(sources) != 1:
            raise ValueError("name exactly one of secret, csi, volume")
        return self


class ClientCa(_Strict):
    """The authorities whose client certificates are accepted; without them, possession of the key is sufficient (RFC
    8705 §6.2).
    """

    config_map: ObjectName | None = None
    secret: ObjectName | None = None
    tls_volume: bool = False
    file: FileName = "ca.crt"

    @model_validator(mode="after")
    def _exactly_one_source(self) -> Self:
        if [self.config_map is not None, self.secret is not None, self.tls_volume].count(True) != 1:
            raise ValueError("name exactly one of config_map, secret, tls_volume")
        return self


def _https(value: str) -> str:
    if not value.startswith("https://") or not all("!" < char <= "~" for char in value) or '"' in value:
        raise ValueError("an https URL is needed: https://{name}.example.com")
    return value


HttpsUrl = Annotated[str, Field(max_length=1024), AfterValidator(_https)]


class DpopInjection(_Strict):
    """Tokens bound to a key (RFC 9449). `{name}` in a URL stands for the workload's name."""

    resource: HttpsUrl
    """The resource identifier of the API (RFC 9728)."""
    origins: Annotated[tuple[HttpsUrl, ...], Field(min_length=1)]
    """The origin that clients use: scheme, host and port."""
    nonce_key_secret: ObjectName | None = None
    """A Secret in the Pod's namespace; its `nonce-key` is the key of nonces, the same on every replica."""
    replay_secret: ObjectName | None = None
    """A Secret in the Pod's namespace; its `url` names the store of used proofs. None: each Pod keeps its own."""


class AuthorizationServerInjection(_Strict):
    """For Pods that are authorization servers: clients are authenticated by their certificates (RFC 8705 §2)."""

    settings: dict[Annotated[str, Field(pattern=r"^[a-z_]+$")], Any]
    """The section `authorization_server` of the service file, without `client_files`. `{name}` in a text stands for
    the workload's name. The other rules are those of the service file; they are checked when the settings are read.
    """
    clients_secret: ObjectName | None = None
    """A Secret in the Pod's namespace: the files of clients (`*.yaml`), and all files that they and `settings` name.
    None: only Pods that name theirs by the annotation are authorization servers.
    """

    @model_validator(mode="after")
    def _clients_come_from_the_secret(self) -> Self:
        if "client_files" in self.settings:
            raise ValueError("leave client_files out of settings: the clients are in the Secret")
        return self


class Resources(_Strict):
    """Requests and limits of the sidecar's container, in Kubernetes quantities."""

    cpu_request: Quantity = "50m"
    memory_request: Quantity = "96Mi"
    memory_limit: Quantity = "256Mi"
    cpu_limit: Quantity | None = None


class InjectionSettings(_Strict):
    """All settings of the injector; annotations of a Pod may override some of them (see `annotation`)."""

    image: Annotated[str, Field(min_length=1, max_length=512, pattern=r"^\S+$")]
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    kubernetes: Annotated[str, AfterValidator(_kubernetes_version)] = "1.32"
    native: bool | None = None
    port: Port = 8443
    health_port: Port = 9902
    admin_port: Port = 9901
    policies: ObjectName = "bound-token-policies"
    server_certificate: ServerCertificate = ServerCertificate()
    client_ca: ClientCa | None = None
    told_certificate: ToldCertificate | None = None
    proxy_ca: ClientCa | None = None
    dpop: DpopInjection | None = None
    authorization_server: AuthorizationServerInjection | None = None
    probes: Literal["sidecar", "keep"] = "sidecar"
    public_probe_paths: tuple[str, ...] | None = None
    upstream_host: Literal["127.0.0.1", "::1"] = "127.0.0.1"
    upstream_protocol: Protocol | None = None
    """The plaintext protocol of the API. None: taken from the Pod and its Services."""
    protocols: Annotated[tuple[Protocol, ...], Field(min_length=1)] | None = None
    """The protocols offered to clients, the preferred first. None: both if the API speaks HTTP/2, else HTTP/1.1 only.
    """
    families: Annotated[tuple[Literal["IPv4", "IPv6"], ...], Field(min_length=1)] = ("IPv4", "IPv6")
    pod_may_choose: tuple[Choice, ...] = CHOICES
    user: Annotated[int, Field(ge=1, le=2**31 - 1, strict=True)] | None = 65532
    group: Annotated[int, Field(ge=0, le=2**31 - 1, strict=True)] | None = None
    pre_stop_seconds: Annotated[int, Field(ge=0, le=300, strict=True)] = 5
    refuse_when_bypassable: bool = False
    keep_issuer_keys: bool = True
    resources: Resources = Resources()
    image_pull_secrets: tuple[ObjectName, ...] = ()
    env: dict[EnvironmentName, str] = {}
    labels: dict[str, str] = {}

    @model_validator(mode="after")
    def _ports_differ(self) -> Self:
        if len({self.port, self.health_port, self.admin_port}) != 3:
            raise ValueError("port, health_port and admin_port must differ")
        return self

    @model_validator(mode="after")
    def _names_of_proxies_have_an_authority(self) -> Self:
        told = self.told_certificate
        if (told is not None and told.needs_authority) != (self.proxy_ca is not None):
            raise ValueError("proxy_ca is only for proxies that are identified by a name")
        return self

    @model_validator(mode="after")
    def _one_group_reads_all(self) -> Self:
        """The files of Secrets belong to group 0; those of a CSI driver or of a volume of the Pod, to another group."""
        dpop = self.dpop
        if self.server_certificate.secret is not None or self.group is not None or self.user is None:
            return self
        if dpop is not None and (dpop.nonce_key_secret or dpop.replay_secret) is not None:
            raise ValueError(
                "group: set a group that may read both the server certificate and the Secrets of dpop"
            )
        if self.authorization_server is not None:
            raise ValueError(
                "group: set a group that may read both the server certificate and the Secret of clients"
            )
        return self

    @property
    def wildcard(self) -> str:
        """The host part of an address that includes every family of `families`."""
        if len(set(self.families)) == 2:
            return "*"
        return "0.0.0.0" if self.families[0] == "IPv4" else "[::]"  # noqa: S104  # in the Pod's own network

    @property
    def minor(self) -> int:
        """The minor version of the cluster: 29 for 1.29."""
        return int(self.kubernetes.partition(".")[2])

    @property
    def has_sleep_action(self) -> bool:
        """Whether the kubelet can delay the stop of a container by itself, without a program (KEP-3960)."""
        return self.minor >= 30

    @property
    def is_native(self) -> bool:
        """Whether the sidecar is an init container with `restartPolicy: Always` (enabled by default from 1.29)."""
        return self.minor >= 29 if self.native is None else self.native

    @property
    def finds_sidecar_port_names(self) -> bool:
        """Whether a Service finds a port by name in this kind of container.

        Native sidecars were not found before 1.32: https://github.com/kubernetes/kubernetes/issues/127958
        """
        return not self.is_native or self.minor >= 32
