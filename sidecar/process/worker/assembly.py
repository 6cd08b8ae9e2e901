"""A configuration with everything made from it that takes time: built whole in a thread, then swapped in at once."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from OpenSSL import SSL

from sidecar.authorizer import Authorizer
from sidecar.decision.keys_in_force import KeyRegister
from sidecar.decision.ports import KeySource, TokenIntrospector
from sidecar.process.replay.guards import Guards
from sidecar.process.watches.certificates import CertificateInUse, certificates_in_use
from sidecar.process.worker.served_endpoints import EndpointPorts, ServedEndpoints, served_endpoints
from sidecar.proxy.configuration import ListenerSettings
from sidecar.proxy.exchange.endpoints import ServerEndpoints
from sidecar.proxy.vouching.hop_tls import ListenerTls, listener_tls
from sidecar.settings.configuration import Loaded
from sidecar.settings.problem import Problem, SettingsError


@dataclass(frozen=True, slots=True)
class Ports:
    """What an authorizer asks beyond itself; the same for the life of the process."""

    keys: KeySource
    in_force: KeyRegister
    introspector: TokenIntrospector | None
    digest_key: bytes
    guards: Guards
    endpoints: EndpointPorts


@dataclass(frozen=True, slots=True)
class ServedTls:
    """TLS of one listener, and what it was made from."""

    tls: ListenerTls
    made_from: bytes


@dataclass(frozen=True, slots=True)
class Assembly:
    """One generation of the configuration, ready to serve."""

    generation: int
    loaded: Loaded
    authorizer: Authorizer
    listeners: Mapping[str, ServedTls]
    certificates: tuple[CertificateInUse, ...]
    endpoints: ServedEndpoints | None = None
    """The endpoints of the authorization server behind the sidecar."""

    @property
    def server_endpoints(self) -> ServerEndpoints | None:
        """What the data plane asks about these endpoints."""
        return None if self.endpoints is None else self.endpoints.server

    @property
    def documents(self) -> dict[str, bytes]:
        """Path → the sidecar's own document there."""
        return self.loaded.documents

    @property
    def metadata_url(self) -> str | None:
        """What challenges name (RFC 9728 §5.1)."""
        metadata = self.loaded.metadata
        return metadata.url if metadata else None

    @property
    def tls(self) -> dict[str, ListenerTls]:
        """By listener name."""
        return {name: one.tls for name, one in self.listeners.items()}


def prepare(loaded: Loaded, ports: Ports, previous: Assembly | None = None) -> Assembly:
    """Everything that is made from a configuration. Opens no port; raises `SettingsError`.

    A listener whose TLS files did not change keeps its TLS, and with it the sessions its clients may resume.
    """
    try:
        before = previous.listeners if previous is not None else {}
        listeners = {one.name: _listener_tls(one, before.get(one.name)) for one in loaded.proxy.listeners}
        certificates = certificates_in_use(loaded.proxy)
        authorizer = _authorizer(loaded, ports)
        endpoints = served_endpoints(loaded, authorizer, ports.endpoints)
    except (OSError, ValueError, SSL.Error) as error:  # changed since `load` looked at it
        raise SettingsError(
            [Problem(str(loaded.files[0]), 0, 0, f"TLS files and keys: {_openssl_text(error)}")]
        ) from None
    if previous is not None:
        _refuse_expired(certificates, previous.certificates)
    return Assembly(loaded.policy.generation, loaded, authorizer, listeners, certificates, endpoints)


def _refuse_expired(new: tuple[CertificateInUse, ...], old: tuple[CertificateInUse, ...]) -> None:
    """A valid certificate is not given up for one that has expired."""
    now = time.time()
    valid = {one.use for one in old if one.is_ours and one.fault(now) != "expired"}
    expired = [one for one in new if one.is_ours and one.fault(now) == "expired" and one.use in valid]
    if expired:
        message = "the certificate has expired; the one in force is valid"
        raise SettingsError([Problem(one.file, 0, 0, message) for one in expired])


def _authorizer(loaded: Loaded, ports: Ports) -> Authorizer:
    limits = loaded.proxy.limits
    return Authorizer(
        loaded.policy,
        ports.keys,
        ports.introspector,
        ports.guards.guard(loaded.service.dpop),
        digest_key=ports.digest_key,
        elapsing=time.monotonic,
        in_force=ports.in_force,
        nonces=loaded.nonces(),
        token_bytes=limits.token_bytes,
        cached_tokens=limits.cached_tokens,
        cached_bytes=limits.cached_bytes,
    )


def _listener_tls(settings: ListenerSettings, before: ServedTls | None) -> ServedTls:
    made_from = _digest(settings)
    if before is not None and before.made_from == made_from:
        return before
    return ServedTls(listener_tls(settings), made_from)


def _digest(settings: ListenerSettings) -> bytes:
    tls, clients = settings.tls, settings.clients
    digest = sha256(repr((tls, settings.told)).encode())
    own = (tls.certificate_file, tls.private_key_file) if tls is not None else ()
    of_proxies = [one.ca_file for one in settings.told.proxies] if settings.told is not None else []
    for file in (*own, clients.ca_file, clients.crl_file, *of_proxies):
        digest.update(b"\0" + (sha256(file.read_bytes()).digest() if file is not None else b""))
    return digest.digest()


def _openssl_text(error: Exception) -> str:
    if isinstance(error, SSL.Error) and error.args and isinstance(error.args[0], list):
        return "; ".join(str(entry[-1]) for entry in error.args[0]) or "OpenSSL refuses them"
    return str(error)
