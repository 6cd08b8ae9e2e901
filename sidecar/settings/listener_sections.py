"""The sections of a listener: its TLS, and where the clients' certificates come from."""

from ipaddress import ip_address
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sidecar.decision.key_exchange import Group
from sidecar.settings.certificate_requirement import Thumbprint
from sidecar.settings.files import AuthoritiesFile, CertificateFile, PrivateKeyFile, RevocationFile
from sidecar.settings.own_certificate import OwnCertificate
from sidecar.settings.problem import shown
from sidecar.settings.scalars import (
    Duration,
    Form,
    ForwardingPeer,
    HeaderName,
    ListenAddress,
    Network,
    Text,
    is_unix,
)
from sidecar.settings.section import Section, mistake

Purpose = Annotated[
    str,
    Form(
        r"^(client_auth|server_auth|[0-2](\.[0-9]{1,10}){1,20})$", "client_auth, server_auth or 1.3.6.1…", 80
    ),
]


class ListenerTlsSection(OwnCertificate):
    """TLS of one listener."""

    certificate_file: CertificateFile
    """PEM: the server's certificate, then its chain."""
    private_key_file: PrivateKeyFile
    """PEM, not encrypted, not readable by everyone."""
    minimum_version: Literal["1.2", "1.3"] | None = None
    """Default: "1.2"."""
    groups: Annotated[list[Group], Field(min_length=1)] | None = None
    """Groups of the key exchange, the preferred first (RFC 8446 §4.2.7). Without it: those of OpenSSL."""
    session_lifetime: Duration | None = None
    """How long a TLS session may be resumed, from its full handshake on. Default: 1h."""


OURS = frozenset(
    {
        "authorization",
        "connection",
        "content-length",
        "expect",
        "forwarded",
        "host",
        "keep-alive",
        "te",
        "trailer",
    }
    | {"proxy-authorization", "transfer-encoding", "upgrade", "via"}
    | {"x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"}
)
"""Headers that HTTP itself or the sidecar uses."""


Format = Literal["rfc9440", "xfcc", "pem_urlencoded", "pem_one_line", "der_base64"]
CERTIFICATE_FIELDS = {"rfc9440": "Client-Cert", "xfcc": "X-Forwarded-Client-Cert"}
"""Format → default name of its field."""
WITH_CHAIN = frozenset({"rfc9440", "xfcc", "pem_urlencoded", "pem_one_line"})
"""The formats with a field for the certificates above the client's."""


class ToldCertificateSection(Section):
    """The field in which a proxy sends the client's certificate."""

    format: Format
    """Its format; never guessed. `rfc9440`: Google Cloud, Cloudflare; `xfcc`: Envoy; `pem_urlencoded`: nginx,
    AWS ALB; `pem_one_line`: Apache; `der_base64`: HAProxy, Traefik, Caddy."""
    name: HeaderName | None = None
    """Name of the field. Default: Client-Cert for rfc9440, X-Forwarded-Client-Cert for xfcc; the others have none."""
    chain_name: HeaderName | None = None
    """Name of the field with the rest of the chain; with `rfc9440`. Default: Client-Cert-Chain."""

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.name is None and self.format not in CERTIFICATE_FIELDS:
            raise mistake(
                f"`{self.format}` has no default name: set `name` to the field that the proxy sends", "name"
            )
        if self.chain_name is not None and self.format != "rfc9440":
            raise mistake(f"`{self.format}` has no field for a chain", "chain_name")
        for key in ("name", "chain_name"):
            name = getattr(self, key)
            if name is not None and name.lower() in {*OURS, "dpop", "traceparent", "x-request-id"}:
                raise mistake(f"{shown(name)} cannot carry a certificate", key)
        if self.chain_name is not None and self.chain_name.lower() == self.field_name.lower():
            raise mistake("the certificate and its chain need two different fields", "chain_name")
        return self

    @property
    def field_name(self) -> str:
        """`name` as it is meant."""
        return self.name or CERTIFICATE_FIELDS[self.format]


class ProxySection(Section):
    """One kind of peer that may send a client's certificate."""

    network: Network | None = None
    """By the TCP peer's own address, whatever the PROXY protocol or Forwarded says."""
    spiffe_id: (
        Annotated[str, Form(r"^spiffe://[a-z0-9._-]+(/.*)?$", "of the form spiffe://trust-domain/path", 2048)]
        | None
    ) = None
    """By the SPIFFE ID of the proxy's own certificate; `*` one segment, `**` any. Needs `ca_file`."""
    san_dns: Text | None = None
    """By a DNS name of the proxy's own certificate; `*` one label, `**` any. Needs `ca_file`."""
    ca_file: AuthoritiesFile | None = None
    """PEM: the authorities that certify proxies. Without them anyone could use such a name."""
    thumbprint: Thumbprint | None = None
    """By the proxy's own certificate: SHA-256, base64url, as `sidecar thumbprint` shows it."""
    unix_user: Annotated[int, Field(ge=0, le=2**32 - 2)] | None = None
    """By the user id of the process at the other end of a Unix socket."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        kinds = [name for name in _PROXY_KINDS if getattr(self, name) is not None]
        if len(kinds) != 1:
            raise mistake(f"exactly one of {', '.join(_PROXY_KINDS)}")
        by_name = kinds[0] in {"spiffe_id", "san_dns"}
        if by_name and self.ca_file is None:
            raise mistake(
                f"anyone can put a name into a certificate: `{kinds[0]}` needs the `ca_file` that vouches for it",
                kinds[0],
            )
        if not by_name and self.ca_file is not None:
            raise mistake(f"`ca_file` has no effect with `{kinds[0]}`", "ca_file")
        return self


_PROXY_KINDS = ("network", "spiffe_id", "san_dns", "thumbprint", "unix_user")


class ClientCertificateSection(Section):
    """Which client certificates a listener accepts."""

    trust: Literal["any", "ca"] | None = None
    """`any` (default): possession of the key is what counts (RFC 8705 §6.2); `ca`: the chain must verify."""
    ca_file: AuthoritiesFile | None = None
    """PEM: the authorities that clients' chains must end in; with `trust: ca`."""
    crl_file: RevocationFile | None = None
    """PEM, one list or several, or DER: revoked certificates; with `trust: ca`."""
    crl_required_for: Literal["leaf", "chain"] | None = None
    """Whose issuer must have a list in `crl_file`: `leaf` (default), the client's certificate; `chain`: every
    certificate below the authority of `ca_file`."""
    partial_chain: bool | None = None
    """true: a chain may end in any authority of `ca_file`, root or not. Default: false."""
    extended_key_usage: Annotated[list[Purpose], Field(min_length=1)] | None = None
    """The purposes of certificates, one of: `client_auth`, `server_auth` or an object identifier. A certificate without
    the extension has all purposes (RFC 5280 §4.2.1.12). Default: [client_auth]."""
    insecure_any_extended_key_usage: bool = False
    """DANGEROUS: accepts certificates for any purpose, code signing and mail included."""
    at_handshake: Literal["optional", "required"] | None = None
    """`optional` (default): the rules decide about a request without a certificate; `required`: the handshake fails
    without one."""
    close_on_ca_change: bool | None = None
    """After a reload, close connections whose client certificate is refused now. Default: true with `crl_file`."""
    source: Literal["tls", "header"] | None = None
    """`tls` (default): the client's own handshake; `header`: a field, from a proxy that ended the client's TLS."""
    header: ToldCertificateSection | None = None
    """The field; with `source: header`."""
    proxies: Annotated[list[ProxySection], Field(min_length=1)] | None = None
    """Who may send it; with `source: header`. From all others the field is refused with 400."""

    @model_validator(mode="after")
    def _source(self) -> Self:
        if self.source == "header":
            for name in ("header", "proxies"):
                if getattr(self, name) is None:
                    raise mistake(f"`source: header` needs `{name}`", "source")
            for name in ("at_handshake", "close_on_ca_change"):
                if getattr(self, name) is not None:
                    raise mistake(f"`{name}` has no effect with `source: header`", name)
        else:
            for name in ("header", "proxies"):
                if getattr(self, name) is not None:
                    raise mistake(f"`{name}` has no effect without `source: header`", name)
        return self

    @model_validator(mode="after")
    def _trust(self) -> Self:
        if self.trust == "ca" and self.ca_file is None:
            raise mistake("`trust: ca` needs a `ca_file`", "trust")
        for name in (
            "ca_file",
            "crl_file",
            "partial_chain",
            "extended_key_usage",
            "insecure_any_extended_key_usage",
        ):
            if self.trust != "ca" and getattr(self, name):
                raise mistake(f"`{name}` has no effect without `trust: ca`", name)
        if self.insecure_any_extended_key_usage and self.extended_key_usage is not None:
            raise mistake("with `insecure_any_extended_key_usage` it has no effect", "extended_key_usage")
        if self.crl_required_for is not None and self.crl_file is None:
            raise mistake("`crl_required_for` has no effect without a `crl_file`", "crl_required_for")
        return self


class ListenerSection(Section):
    """One address on which the sidecar listens."""

    name: (
        Annotated[str, Form(r"^[A-Za-z0-9._:-]{1,64}$", "a name of letters, digits and ._:-, at most 64")]
        | None
    ) = None
    """Its name in rules and logs. Default: its address."""
    address: ListenAddress
    """`host:port`; port 0: the system chooses one; or unix:///run/sidecar.sock, behind a proxy in the same Pod."""
    tls: ListenerTlsSection | None = None
    """Required, except for a listener on loopback or a Unix socket with `client_certificate.source: header`."""
    client_certificate: ClientCertificateSection = ClientCertificateSection()
    proxy_protocol_from: list[Network] = Field(default_factory=list)
    """Peers that must send a PROXY protocol header; no other peer may send one. Default: none."""
    forwarded_from: list[ForwardingPeer] = Field(default_factory=list)
    """Peers whose Forwarded and X-Forwarded-* are used; `unix` on a Unix socket: its `unix_user`. Default: none."""
    protocols: Annotated[list[Literal["h2", "http/1.1"]], Field(min_length=1)] | None = None
    """Protocols to offer in the handshake (RFC 7301), the preferred first: `h2` is HTTP/2. Default: [http/1.1]."""

    @property
    def is_unix(self) -> bool:
        """Whether it is a Unix socket."""
        return is_unix(self.address)

    @model_validator(mode="after")
    def _cleartext(self) -> Self:
        is_told = self.client_certificate.source == "header"
        if self.is_unix:
            if not is_told:
                raise mistake("a Unix socket needs `client_certificate.source: header`", "address")
            if self.proxy_protocol_from:
                raise mistake("`proxy_protocol_from` has no effect on a Unix socket", "proxy_protocol_from")
            if any(one != "unix" for one in self.forwarded_from):
                raise mistake("a network has no effect on a Unix socket: `unix`", "forwarded_from")
        elif "unix" in self.forwarded_from:
            raise mistake("`unix` has an effect only on a Unix socket", "forwarded_from")
        if self.tls is not None:
            return self
        if not is_told:
            raise mistake("missing key `tls`: only a listener with `source: header` can omit it")
        if not self.is_unix and not is_loopback(self.address[0]):
            raise mistake("missing key `tls`: without it, the address must be loopback or a Unix socket")
        return self

    @model_validator(mode="after")
    def _protocols(self) -> Self:
        offered = self.protocols or []
        if len(set(offered)) < len(offered):
            raise mistake("a protocol is listed twice", "protocols")
        if "h2" in offered and self.tls is None:
            raise mistake("`h2` is negotiated in the TLS handshake: it needs `tls`", "protocols")
        return self

    @model_validator(mode="after")
    def _proxies(self) -> Self:
        for index, one in enumerate(self.client_certificate.proxies or ()):
            message = ""
            if one.unix_user is not None and not self.is_unix:
                message = "`unix_user` needs a Unix socket: address: unix:///run/sidecar.sock"
            elif one.network is not None and self.is_unix:
                message = "`network` has no effect on a Unix socket: `unix_user`"
            elif (one.spiffe_id or one.san_dns or one.thumbprint) and self.tls is None:
                message = "a proxy can present a certificate only if the listener has `tls`"
            if message:
                raise mistake(f"proxies[{index}]: {message}", "client_certificate")
        return self


def is_loopback(host: str) -> bool:
    """Whether a host can be reached from this machine only."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
