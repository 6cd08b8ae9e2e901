"""What the service file says, as frozen values: the data plane's part and the process's."""

from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from sidecar.decision.policy import Policy
from sidecar.http.certificate_field import CertificateFormat
from sidecar.proxy.authorization_server.configuration import AuthorizationServerSettings
from sidecar.proxy.configuration import (
    CLIENT_AUTH,
    SERVER_AUTH,
    AtHandshake,
    CertificateHeaderSettings,
    CrlRequired,
    Limits,
    ListenerSettings,
    ProxySettings,
    Timeouts,
    TlsSettings,
    Trust,
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
from sidecar.settings.operation_sections import Logging, ProtectedResource, ServiceFile, Tracing
from sidecar.settings.service_sections import CERTIFICATE_FIELDS, ListenerSection, Upstream
from sidecar.telemetry.configuration import Access, Audit, Format, Level, LoggingSettings, TracingSettings

_PURPOSES = {"client_auth": CLIENT_AUTH, "server_auth": SERVER_AUTH}


def proxy_settings(
    file: ServiceFile, policy: Policy, server: AuthorizationServerSettings | None = None
) -> ProxySettings:
    """The data plane's part; `server` is what is known of an authorization server."""
    given: dict[str, Any] = {
        name: getattr(file, name) for name in ("realm", "disclose_reasons") if getattr(file, name) is not None
    }
    return ProxySettings(
        listeners=tuple(_listener(one, resumes=server is None) for one in file.listeners),
        upstream=_upstream(file.upstream),
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
    tls = section.tls.given() | section.client_certificate.given()
    tls.pop("insecure_private_key_readable_by_everyone", None)
    if "groups" in tls:
        tls["groups"] = tuple(tls["groups"])
    if "trust" in tls:
        tls["trust"] = Trust(tls["trust"])
    if "at_handshake" in tls:
        tls["at_handshake"] = AtHandshake(tls["at_handshake"])
    if tls.pop("insecure_any_extended_key_usage", False):
        tls["extended_key_usage"] = frozenset()
    elif "extended_key_usage" in tls:
        tls["extended_key_usage"] = frozenset(_PURPOSES.get(one, one) for one in tls["extended_key_usage"])
    if "crl_required_for" in tls:
        tls["crl_required_for"] = CrlRequired(tls["crl_required_for"])
    return ListenerSettings(
        name=section.name or (f"[{host}]:{port}" if ":" in host else f"{host}:{port}"),
        host=host,
        port=port,
        tls=TlsSettings(**tls, resumes=resumes),
        proxy_protocol_from=tuple(section.proxy_protocol_from),
        forwarded_from=tuple(section.forwarded_from),
    )


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
        given["client_certificate_header"] = CertificateHeaderSettings(form, name)
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
