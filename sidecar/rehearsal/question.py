"""The explain form: a token, a certificate and a request, decided by the authorizer that serves, watched.

Nothing leaves the machine but what the policy itself would ask of an issuer. The token is not kept and not logged.
"""

import time
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sidecar.authorizer import Authorizer
from sidecar.decision.request import ClientCertificate, Presenter, RequestHead
from sidecar.http.message import Fault
from sidecar.http.target import parse
from sidecar.proxy.configuration import ProxySettings, Trust
from sidecar.proxy.exchange.bounds import bounds
from sidecar.rehearsal.explanation import explain

Document = dict[str, Any]
"""JSON."""

LONGEST = 65536
"""Characters of any member of the form."""


class BadQuestion(Exception):
    """What was asked cannot be answered; the message is one plain line for who asked."""


async def answer(question: Document, authorizer: Authorizer, settings: ProxySettings) -> Document:
    """The explanation as JSON. Raises `BadQuestion`."""
    texts = {name: _text(question, name) for name in ("token", "certificate", "method", "url", "listener")}
    certificates = _certificates(texts["certificate"])
    explanation = await explain(
        authorizer,
        _head(texts["method"] or "GET", texts["url"] or "/", texts["token"]),
        _presenter(certificates, texts["listener"], settings),
        time.time(),
        others=[*certificates[1:], *_ours(settings)],
        bounds=bounds(settings.limits, settings.upstream),
        realm=settings.realm,
        disclose=settings.disclose_reasons,
    )
    return explanation.document()


def _text(question: Document, name: str) -> str:
    value = question.get(name, "")
    if not isinstance(value, str) or len(value) > LONGEST:
        raise BadQuestion(f"{name}: expected text of at most {LONGEST} characters")
    return value.strip()


def _certificates(pem: str) -> list[x509.Certificate]:
    if not pem:
        return []
    try:
        return x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        raise BadQuestion("certificate: not a PEM certificate") from None


def _head(method: str, url: str, token: str) -> RequestHead:
    """The request as the data plane would read it."""
    host, target = _split(url)
    found = parse(method, target, [host.encode("latin-1", "replace")], 1)
    if isinstance(found, Fault):
        raise BadQuestion(f"the request is refused before any check: {found.reason.value}: {found.detail}")
    credentials = token if " " in token else f"Bearer {token}"
    authorization = (credentials.encode("latin-1", "replace").decode("latin-1"),) if token else ()
    return RequestHead(
        method, found.forwarded, found.path, found.query, found.host, authorization=authorization
    )


def _split(url: str) -> tuple[str, str]:
    """Host and request target of a URL; a path alone goes to `localhost`."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return "localhost", url
    host, slash, path = rest.partition("/")
    if scheme not in {"http", "https"} or not host:
        raise BadQuestion("url: neither a URL nor a path")
    return host, slash + path if slash else "/"


def _presenter(certificates: list[x509.Certificate], listener: str, settings: ProxySettings) -> Presenter:
    known = {one.name: one for one in settings.listeners}
    chosen = known.get(listener) if listener else next(iter(known.values()))
    if chosen is None:
        raise BadQuestion(f"listener: one of {', '.join(known)}")
    certificate = ClientCertificate(certificates[0].public_bytes(Encoding.DER)) if certificates else None
    return Presenter(
        certificate, chosen.name, "explained", certificate_must_be_valid=chosen.tls.trust is Trust.CA
    )


def _ours(settings: ProxySettings) -> list[x509.Certificate]:
    """The server's own certificates and the clients' authorities: easily taken for the client's."""
    found: list[x509.Certificate] = []
    for listener in settings.listeners:
        for file in (listener.tls.certificate_file, listener.tls.ca_file):
            if file is not None:
                try:
                    found += x509.load_pem_x509_certificates(file.read_bytes())
                except (OSError, ValueError):  # a broken file is the reload's to tell
                    continue
    return found
