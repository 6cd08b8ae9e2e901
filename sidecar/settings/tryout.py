"""What `run` will make of a configuration, made once before it is called good: TLS contexts, a handshake, key sets.

With the same constructors as the data plane, so that none can refuse what another has accepted; a file that is read
well may still hold a key that no client can use.
"""

import ssl
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from OpenSSL import SSL

from sidecar.issuer.assembly import Shared, assembled
from sidecar.issuer.clock import SYSTEM_CLOCK
from sidecar.issuer.configuration import IssuerSettings, JwksFile
from sidecar.issuer.http import FetchFailed
from sidecar.issuer.keys import NotAKeySet, PublishedKeys, load_key_set
from sidecar.issuer.origin import FileOrigin
from sidecar.proxy.configuration import ListenerSettings, ProxySettings
from sidecar.proxy.tls import TlsFailure
from sidecar.proxy.upstream.transports.tls import upstream_context
from sidecar.proxy.vouching.hop_tls import ListenerTls, listener_tls
from sidecar.settings.document import Document
from sidecar.settings.files import is_there
from sidecar.settings.problem import Problem, shown
from sidecar.telemetry.issuer_observer import Introspected, KeySkipped, KeysRefreshed
from sidecar.trust.client_context import trying_context

_SERVED: Final = frozenset({"certificate_missing"})
"""How a handshake without a client certificate may fail although all is well with the server."""
_FLIGHTS: Final = 4

Placed = tuple[Document, tuple[str | int, ...], IssuerSettings]


def tried(document: Document, proxy: ProxySettings, issuers: Sequence[Placed]) -> Iterator[Problem]:
    """What stands in the way of serving, and keys of files that serve nobody."""
    for index, listener in enumerate(proxy.listeners):
        yield from _listener(document, ("listeners", index), listener)
    tls = proxy.upstream.tls
    if proxy.upstream.scheme == "https" and _are_there(
        tls.ca_file, tls.certificate_file, tls.private_key_file
    ):
        try:
            upstream_context(proxy.upstream)
        except (OSError, ValueError) as error:
            yield document.problem(
                ("upstream", "tls"), f"the upstream's TLS cannot be set up: {reason(error)}"
            )
    for placed in issuers:
        yield from _issuer(*placed)


# --- listeners


def _listener(document: Document, at: tuple[str | int, ...], settings: ListenerSettings) -> Iterator[Problem]:
    tls = settings.tls
    key = None if tls is None else tls.private_key_file
    if not _are_there(*settings.own_files, key, settings.clients.crl_file):
        return
    try:
        server = listener_tls(settings)
    except (OSError, ValueError, SSL.Error) as error:
        key_at = "client_certificate" if tls is None else "tls"
        yield document.problem((*at, key_at), f"TLS cannot be set up: {reason(error)}")
        return
    if tls is None:
        return
    failed = _handshake(server)
    if failed is not None:
        message = f"no client can shake hands with {shown(str(tls.certificate_file))}: {failed}"
        yield document.problem((*at, "tls", "certificate_file"), message)


def _handshake(server: ListenerTls) -> str | None:
    """Why a client that asks for nothing special fails to reach this server, if it does."""
    context = trying_context()
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    client, engine = context.wrap_bio(into, out), server.engine()
    try:
        for _ in range(_FLIGHTS):
            try:
                client.do_handshake()
            except ssl.SSLWantReadError:
                pass
            engine.receive(out.read())
            into.write(engine.outgoing())
    except TlsFailure as failure:
        return None if failure.result in _SERVED else failure.detail
    except ssl.SSLError as error:
        return reason(error)
    return None if engine.established else "the handshake does not complete"


# --- issuers


class _Unheard:
    """Nobody needs to be told what an issuer that only had to be made goes through."""

    def keys_refreshed(self, event: KeysRefreshed) -> None:
        """`IssuerObserver`."""

    def key_skipped(self, event: KeySkipped) -> None:
        """`IssuerObserver`."""

    def introspected(self, event: Introspected) -> None:
        """`IssuerObserver`."""

    def issuer_incident(self, issuer: str, name: str, detail: str) -> None:
        """`IssuerObserver`."""


def _issuer(document: Document, at: tuple[str | int, ...], settings: IssuerSettings) -> Iterator[Problem]:
    try:
        assembled(settings, Shared(_Unheard(), SYSTEM_CLOCK, None, 1))
    except FileNotFoundError:
        return  # said elsewhere, as a problem or as a warning
    except (OSError, ValueError) as error:
        yield document.problem(at, f"this issuer cannot be reached: {reason(error)}", at_key=True)
    if isinstance(settings.keys, JwksFile) and is_there(settings.keys.path):
        yield from _keys(document, (*at, "keys", "jwks_file"), settings, settings.keys)


def _keys(
    document: Document, at: tuple[str | int, ...], settings: IssuerSettings, file: JwksFile
) -> Iterator[Problem]:
    try:
        keys = key_set(file.path, settings.http.document_bytes, settings.refresh.maximum_keys)
    except (FetchFailed, NotAKeySet) as error:
        yield document.problem(at, f"{shown(str(file.path))}: {error}")
        return
    for one in keys.skipped:
        message = (
            f"{shown(str(file.path))}: key {shown(one.name)} is not used: {one.reason.value}: {one.detail}"
        )
        yield document.warning(at, message)
    if not len(keys):
        yield document.warning(at, f"{shown(str(file.path))} has no usable key: every token gets 503")


def key_set(path: Path, limit: int, maximum: int) -> PublishedKeys:
    """The keys of a file, as an issuer reads them. Raises `FetchFailed` and `NotAKeySet`."""
    fetched = FileOrigin(JwksFile(path), limit).read()
    assert fetched is not None  # noqa: S101 — nothing was read before, so nothing is unchanged
    return load_key_set(fetched.document, maximum)


# --- words


def reason(error: Exception) -> str:
    """What OpenSSL, Python's or pyOpenSSL's, or the system says, in its own words; nothing of a file's content."""
    if isinstance(error, SSL.Error) and error.args and isinstance(error.args[0], list):
        return "; ".join(str(entry[-1]) for entry in error.args[0]) or "OpenSSL refuses it"
    if isinstance(error, ssl.SSLError):
        return (error.reason or "OpenSSL refuses it").replace("_", " ").lower()
    return getattr(error, "strerror", None) or str(error)


def _are_there(*files: Path | None) -> bool:
    return all(is_there(file) for file in files if file is not None)
