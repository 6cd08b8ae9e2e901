"""The service file as frozen values: the part of the data plane and the part of the process."""

from base64 import urlsafe_b64decode
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from sidecar.decision.policy import Policy
from sidecar.http.certificate_field import CertificateFormat
from sidecar.proxy.authorization_server.configuration import AuthorizationServerSettings
from sidecar.proxy.configuration import (
    CLIENT_AUTH,
    HTTP1,
    SERVER_AUTH,
    AtHandshake,
    CertificateHeaderSettings,
    CrlRequired,
    Limits,
    ListenerSettings,
    ProxySettings,
    Timeouts,
    TlsSettings,
    ToldCertificateSettings,
    Trust,
    TrustedProxy,
    TrustSettings,
    UpstreamSettings,
    UpstreamTlsSettings,
)
from sidecar.settings.admin import address_of
from sidecar.settings.configuration import (
    BypassSettings,
    DpopSettings,
    HardeningSettings,
    ProtectedResourceSettings,
    ServerAddress,
    ServiceSettings,
)
from sidecar.settings.listener_sections import (
    CERTIFICATE_FIELDS,
    ClientCertificateSection,
    ListenerSection,
    ProxySection,
)
from sidecar.settings.operation_sections import Logging, ProtectedResource, ServiceFile, Tracing
from sidecar.settings.service_sections import Upstream
from sidecar.telemetry.configuration import Access, Audit, Format, Level, LoggingSettings, TracingSettings

_PURPOSES = {"client_auth": CLIENT_AUTH, "server_auth": SERVER_AUTH}


def proxy_settings(
    file: ServiceFile, policy: Policy, server: AuthorizationServerSettings | None = None
) -> ProxySettings:
    """The data plane's part; `server` is what is known of an authorization server."""
    given: dict[str, Any] = {
        name: getattr(file, name)
        for name in ("realm", "disclose_reasons", "problem_types")
        if getattr(file, name) is not None
    }
    upstream = _upstream(file.upstream)
    header = upstream.client_certificate_header
    # A resumed session has lost the certificates above the client's.
    resumes = server is None and not (header is not None and header.chain)
    return ProxySettings(
        listeners=tuple(_listener(one, resumes=resumes) for one in file.listeners),
        upstream=upstream,
        limits=Limits(**file.limits.given()),
        timeouts=Timeouts(**file.timeouts.given()),
        hand_over_headers=server.hand_over_names if server is not None else frozenset(),
        rule_identity_headers=frozenset(
            name for rule in policy.rules for name in rule.identity_headers or ()
        ),
        keep_headers_with_underscores=file.insecure_keep_headers_with_underscores,
        strip_headers=frozenset(file.strip_headers),
        keep_headers=frozenset(file.insecure_keep_headers),
        refuse_method_overrides=any(rule.match.methods for rule in policy.rules),
        **given,
    )


def service_settings(file: ServiceFile) -> ServiceSettings:
    """The process's part."""
    process = file.process.given()
    watch = {name: process.pop(name) for name in ("watch_files", "watch_interval") if name in process}
    process.pop("insecure_policy_writable_by_everyone", None)
    return ServiceSettings(
        health=ServerAddress(*file.health.address) if file.health else None,
        grpc_services=tuple(file.health.grpc_services) if file.health else (),
        admin=address_of(file.admin) if file.admin else None,
        logging=_logging(file.logging),
        tracing=_tracing(file.tracing),
        workers=1 if file.workers is None else file.workers,
        state_directory=file.state_directory,
        hardening=HardeningSettings(**process),
        bypass=BypassSettings(**file.bypass_check.given()),
        protected_resource=_protected_resource(file.protected_resource),
        dpop=DpopSettings(
            file.dpop.nonce_key_file,
            file.dpop.replay.url_file,
            file.dpop.replay.ca_file,
            file.dpop.replay.insecure_accept_when_unreachable,
        ),
        **watch,
    )


def _protected_resource(section: ProtectedResource | None) -> ProtectedResourceSettings | None:
    if section is None:
        return None
    given = section.given()
    given["origins"] = tuple(one.value() for one in given.get("origins", ()))
    return ProtectedResourceSettings(**given)


def _logging(section: Logging) -> LoggingSettings:
    enums = {"format": Format, "access": Access, "audit": Audit, "level": Level}
    given: dict[str, Any] = {
        name: enums[name](value) if name in enums else value for name, value in section.given().items()
    }
    return LoggingSettings(**given)


def _tracing(section: Tracing | None) -> TracingSettings:
    if section is None:
        return TracingSettings()
    given = section.given()
    if "attributes" in given:
        given["attributes"] = MappingProxyType(given["attributes"])
    return TracingSettings(**given)


def _listener(section: ListenerSection, *, resumes: bool) -> ListenerSettings:
    """`resumes`: whether sessions may be resumed. A resumed one has lost the certificates above the client's."""
    host, port = section.address
    trust = _trust(section.client_certificate)
    is_told = section.client_certificate.source == "header"
    path = host.removeprefix("unix://") if section.is_unix else ""
    name = path or (f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    return ListenerSettings(
        name=section.name or name,
        host="" if path else host,
        port=port,
        tls=_listener_tls(section, {} if is_told else trust, resumes=resumes),
        proxy_protocol_from=tuple(section.proxy_protocol_from),
        forwarded_from=tuple(one for one in section.forwarded_from if not isinstance(one, str)),
        believes_socket="unix" in section.forwarded_from,
        protocols=tuple(section.protocols or (HTTP1,)),
        path=path,
        told=_told(section.client_certificate, trust) if is_told else None,
    )


def _trust(section: ClientCertificateSection) -> dict[str, Any]:
    """Members of `TrustSettings`, and `at_handshake`."""
    given = section.given()
    for name in ("source", "header", "proxies"):
        given.pop(name, None)
    if "trust" in given:
        given["trust"] = Trust(given["trust"])
    if "at_handshake" in given:
        given["at_handshake"] = AtHandshake(given["at_handshake"])
    if given.pop("insecure_any_extended_key_usage", False):
        given["extended_key_usage"] = frozenset()
    elif "extended_key_usage" in given:
        given["extended_key_usage"] = frozenset(
            _PURPOSES.get(one, one) for one in given["extended_key_usage"]
        )
    if "crl_required_for" in given:
        given["crl_required_for"] = CrlRequired(given["crl_required_for"])
    return given


def _listener_tls(section: ListenerSection, trust: dict[str, Any], *, resumes: bool) -> TlsSettings | None:
    if section.tls is None:
        return None
    tls = section.tls.given() | trust
    tls.pop("insecure_private_key_readable_by_everyone", None)
    if "groups" in tls:
        tls["groups"] = tuple(tls["groups"])
    # A resumed session does not hold the chain by which a proxy's name is believed.
    proxies = section.client_certificate.proxies or ()
    resumes = resumes and not any(one.ca_file is not None for one in proxies)
    return TlsSettings(**tls, resumes=resumes)


def _told(section: ClientCertificateSection, trust: dict[str, Any]) -> ToldCertificateSettings:
    header = section.header
    assert header is not None  # noqa: S101 — `source: header` was refused without one
    return ToldCertificateSettings(
        CertificateFormat(header.format),
        header.field_name,
        (header.chain_name or "Client-Cert-Chain") if header.format == "rfc9440" else "",
        tuple(_proxy(one) for one in section.proxies or ()),
        TrustSettings(**trust),
    )


def _proxy(section: ProxySection) -> TrustedProxy:
    given = section.given()
    if "thumbprint" in given:
        given["thumbprint"] = urlsafe_b64decode(given["thumbprint"] + "=")
    return TrustedProxy(**given)


def _upstream(section: Upstream) -> UpstreamSettings:
    given = section.given()
    url = urlsplit(given.pop("url"))
    tls = given.pop("tls", None)
    tls_given = {} if tls is None else tls.given()
    tls_given.pop("insecure_private_key_readable_by_everyone", None)
    given["rewrites_redirects"] = given.pop("redirects", "rewrite") == "rewrite"
    header = given.pop("client_certificate_header", None)
    if header is not None:
        name = header.name or CERTIFICATE_FIELDS[header.format]
        form = CertificateFormat(header.format)
        given["client_certificate_header"] = CertificateHeaderSettings(form, name, bool(header.chain))
    if "identity_headers" in given:
        given["identity_headers"] = MappingProxyType(given["identity_headers"])
    return UpstreamSettings(
        scheme=url.scheme,
        host=url.hostname or "",
        port=0 if url.scheme == "unix" else url.port or {"http": 80, "https": 443}[url.scheme],
        path=url.path if url.scheme == "unix" else "",
        tls=UpstreamTlsSettings(**tls_given),
        **given,
    )
