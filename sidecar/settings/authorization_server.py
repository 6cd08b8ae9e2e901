"""What the service file and the files of clients say of an authorization server, as frozen values; and what of it is
allowed, yet probably not meant.
"""

import ssl
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from OpenSSL import crypto

from sidecar.decision.registered_client.method import ClientMethod
from sidecar.http.certificate_field import CertificateFormat
from sidecar.proxy.authorization_server.configuration import (
    AuditBinding,
    AuthorizationServerSettings,
    EndpointKind,
    EndpointSettings,
    HandOverSettings,
    MetadataSettings,
    VerifiedField,
)
from sidecar.proxy.authorization_server.extra_headers import parse_extra_headers
from sidecar.proxy.configuration import CertificateHeaderSettings
from sidecar.settings.authorization_server_sections import (
    AuthorizationServerSection,
    HandOverHeaderSection,
    HandOverSection,
)
from sidecar.settings.client_file import PlacedClient
from sidecar.settings.client_overlap import anchors_of, overlapping
from sidecar.settings.document import Document
from sidecar.settings.files import authorities, is_there
from sidecar.settings.listener_sections import CERTIFICATE_FIELDS, ListenerSection
from sidecar.settings.operation_sections import ServiceFile
from sidecar.settings.problem import Problem, shown
from sidecar.settings.trust_review import expiry

_FEW: Final = 16
"""Authorities of one client from which on they are many (RFC 8705 §7.4: "a limited number")."""
_AT: Final = "authorization_server"


def authorization_server_settings(
    section: AuthorizationServerSection | None, clients: Sequence[PlacedClient]
) -> AuthorizationServerSettings | None:
    """The values of the section, once it is valid; None without one."""
    if section is None:
        return None
    return AuthorizationServerSettings(
        issuer=section.issuer,
        endpoints=tuple(
            EndpointSettings(EndpointKind(name), *paths) for name, paths in section.paths().items()
        ),
        clients=tuple(one.settings for one in clients),
        hand_over=_hand_over(section.hand_over),
        audit_binding=AuditBinding(section.audit_binding or "report"),
        metadata=MetadataSettings(section.metadata.mtls_origin) if section.metadata is not None else None,
        report_only_until=section.report_only.until if section.report_only is not None else None,
        clients_ca_file=section.clients_ca_file,
    )


def _hand_over(section: HandOverSection) -> HandOverSettings:
    file = section.extra_headers_file
    extra = parse_extra_headers(file.read_bytes()) if file is not None and is_there(file) else ()
    names = frozenset(name.decode("ascii") for name, _ in extra)
    header = section.header
    if header is None:
        return HandOverSettings(extra_headers_file=file, extra_names=names)
    return HandOverSettings(
        CertificateHeaderSettings(CertificateFormat(header.format), _name(header)),
        bool(header.chain),
        VerifiedField(**header.verified.model_dump()) if header.verified is not None else None,
        file,
        names,
    )


def _name(header: HandOverHeaderSection) -> str:
    return header.name or CERTIFICATE_FIELDS[header.format]


def impediments(
    document: Document, service: ServiceFile | None, clients: Sequence[PlacedClient]
) -> Iterator[Problem]:
    """What the section and the clients together make impossible."""
    section = service.authorization_server if service is not None else None
    if section is not None and clients:
        yield from unbindable(document, (_AT,), section)


def unbindable(
    document: Document, at: tuple[str, ...], section: AuthorizationServerSection
) -> Iterator[Problem]:
    """What makes it impossible for the section at `at` that a token is issued to any client."""
    if section.audit_binding == "refuse" and section.hand_over.header is None:
        message = (
            "without `hand_over.header` the server cannot bind a token: `refuse` would refuse all tokens"
        )
        yield document.problem((*at, "audit_binding"), message)


# --- doubts


def doubts(
    document: Document, service: ServiceFile, clients: Sequence[PlacedClient], now: float | None
) -> Iterator[Problem]:
    """Warnings about the section and its clients; about ends of certificates with `now` alone."""
    section = service.authorization_server
    if section is None:
        return
    yield from _moved(document, section)
    yield from _untold(section, clients)
    yield from overlapping(clients)
    yield from _authorities(clients)
    yield from _shut_out(document, clients, service.listeners)
    if not clients:
        yield document.warning(
            (_AT, "client_files"), "there is no client: every request gets `invalid_client`"
        )
    if now is not None:
        yield from _expiring(clients, now)


def _moved(document: Document, section: AuthorizationServerSection) -> Iterator[Problem]:
    for name, (public, upstream) in section.paths().items():
        if public != upstream:
            message = (
                f"clients see {shown(public)}, the server {shown(upstream)}: it refuses their DPoP proofs, whose `htu` "
                "has the URL that clients use (RFC 9449 §4.3)"
            )
            yield document.warning((_AT, "endpoints", name), message)


def _untold(section: AuthorizationServerSection, clients: Sequence[PlacedClient]) -> Iterator[Problem]:
    """Clients of whom the server hears nothing, and those whose tokens it cannot bind."""
    if section.hand_over.header is not None:
        return
    for one in clients:
        if one.settings.method is ClientMethod.OTHER:
            continue
        name = shown(one.settings.client_id)
        if one.settings.translation is None:
            message = f"{name}: neither `hand_over.header` nor `translate`: the server gets a client_id and no proof"
            yield one.warning(message)
        else:
            message = (
                f"{name}: without `hand_over.header` the server sees no certificate: its tokens are not bound"
            )
            yield one.warning(message, "translate")


def _public(file: Path) -> str | None:
    """The first authority of a file for which one that this system trusts for the web vouches, or that is one: whoever
    has a name of DNS gets a certificate from it.
    """
    store, paths = crypto.X509Store(), ssl.get_default_verify_paths()
    if paths.cafile is None and paths.capath is None:
        return None
    store.load_locations(paths.cafile, paths.capath)
    found = authorities(file)
    for certificate, readable in zip(found.certificates, found.readable, strict=True):
        try:
            crypto.X509StoreContext(store, certificate).verify_certificate()
        except crypto.X509StoreContextError:
            continue
        return readable.called
    return None


def _authorities(clients: Sequence[PlacedClient]) -> Iterator[Problem]:
    told: set[Path] = set()
    for one in clients:
        file = one.settings.authority.ca_file if one.settings.authority is not None else None
        if file is None or file in told or not is_there(file):
            continue
        told.add(file)
        anchors, public = anchors_of(file), _public(file)
        if public is not None:
            message = (
                f"{shown(str(file))} holds {shown(public)}, which certifies for anyone: another customer of it may "
                "get the same name (RFC 8705 §7.4)"
            )
            yield one.warning(message, "ca_file")
        elif len(anchors) > _FEW:
            message = (
                f"{shown(str(file))} holds {len(anchors)} authorities: each of them can certify this client"
            )
            yield one.warning(message, "ca_file")


def _shut_out(
    document: Document, clients: Sequence[PlacedClient], listeners: Sequence[ListenerSection]
) -> Iterator[Problem]:
    """Certificates that are registered themselves need a listener that accepts any."""
    if any(one.client_certificate.trust != "ca" for one in listeners):
        return
    method = ClientMethod.SELF_SIGNED_TLS_CLIENT_AUTH
    named = next((one.settings.client_id for one in clients if one.settings.method is method), None)
    if named is not None:
        message = (
            f"no listener has `trust: any`: {shown(named)} registers its own certificate, and cannot connect"
        )
        yield document.warning(("listeners",), message)


def _expiring(clients: Sequence[PlacedClient], now: float) -> Iterator[Problem]:
    told: set[Path] = set()
    for one in clients:
        for key in ("ca_file", "crl_file"):
            file = getattr(one.settings.authority, key, None)
            if file is not None and file not in told and is_there(file):
                told.add(file)
                message = expiry(key, file, now)
                if message is not None:
                    yield one.warning(message, key)
        if one.registered.validity and not any(begin <= now <= end for begin, end in one.registered.validity):
            message = f"{shown(one.settings.client_id)}: no registered certificate is valid now"
            yield one.warning(message)
