"""The explain form: a token, a certificate and a request, decided by the authorizer that serves, watched.

Nothing leaves the machine but what the policy itself would ask of an issuer. The token is not kept and not logged.
"""

from collections.abc import Mapping
from typing import Any

from sidecar.authorizer import Authorizer
from sidecar.decision.certificate import Certificate
from sidecar.decision.request import Presenter
from sidecar.http.message import Field
from sidecar.proxy.certificates import UnusableCertificate, client_certificate
from sidecar.proxy.certificates import certificates as certificates_in
from sidecar.proxy.configuration import ProxySettings
from sidecar.rehearsal.explanation import explain
from sidecar.rehearsal.protocol import call_target, chosen, with_call_fields
from sidecar.rehearsal.request import Reception, Sent, credentials, field, split, tls_of, with_host
from sidecar.rehearsal.told import Unverifiable
from sidecar.settings.configuration import Loaded

JsonObject = dict[str, Any]
"""JSON."""

LONGEST = 65536
"""Characters of any member of the form."""
MEMBERS = ("token", "proof", "certificate", "method", "url", "listener", "tls", "protocol", "grpc")
"""Texts of the form; beside them `headers`, a list of lines."""


class BadQuestion(Exception):
    """What was asked cannot be answered; the message is one plain line for who asked."""


async def answer(question: JsonObject, authorizer: Authorizer, loaded: Loaded, now: float) -> JsonObject:
    """The explanation as JSON, as of `now` (seconds since the epoch). Raises `BadQuestion`."""
    texts = {name: _text(question, name) for name in MEMBERS}
    certificates = _certificates(texts["certificate"])
    reception = Reception(loaded)
    presenter = _presenter(certificates, texts, loaded.proxy)
    try:
        explanation = await explain(
            authorizer,
            reception,
            reception.receive(_sent(texts, _fields(question), presenter.protocol)),
            presenter,
            now,
            others=[*certificates[1:], *_ours(loaded.proxy)],
        )
    except Unverifiable as problem:
        raise BadQuestion(f"certificate: {problem}") from None
    return explanation.document()


def _text(question: JsonObject, name: str) -> str:
    value = question.get(name, "")
    if not isinstance(value, str) or len(value) > LONGEST:
        raise BadQuestion(f"{name}: expected text of at most {LONGEST} characters")
    return value.strip()


def _fields(question: JsonObject) -> list[Field]:
    lines = question.get("headers", [])
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise BadQuestion("headers: expected a list of 'Name: value'")
    try:
        return [field(line) for line in lines]
    except ValueError as error:
        raise BadQuestion(f"headers: {error}") from None


def _certificates(pem: str) -> list[Certificate]:
    if not pem:
        return []
    try:
        return certificates_in(pem.encode(), pem_only=True)
    except UnusableCertificate as problem:
        raise BadQuestion(f"certificate: {problem}") from None


def _sent(texts: Mapping[str, str], fields: list[Field], protocol: str) -> Sent:
    try:
        host, target = split(texts["url"] or "/")
    except ValueError as error:
        raise BadQuestion(f"url: {error}") from None
    method = texts["method"] or "GET"
    if texts["grpc"]:
        method, target, fields = "POST", _call(texts, target), with_call_fields(fields)
    fields += credentials(texts["token"], texts["proof"])
    return Sent(method, target, with_host(fields, host), protocol=protocol)


def _call(texts: Mapping[str, str], target: str) -> str:
    if target != "/":
        raise BadQuestion("url: a call of gRPC has no other path: leave it out")
    try:
        return call_target(texts["grpc"])
    except ValueError as error:
        raise BadQuestion(f"grpc: {error}") from None


def _presenter(
    certificates: list[Certificate], texts: Mapping[str, str], settings: ProxySettings
) -> Presenter:
    listener = texts["listener"]
    known = {one.name: one for one in settings.listeners}
    asked = known.get(listener) if listener else next(iter(known.values()))
    if asked is None:
        raise BadQuestion(f"listener: one of {', '.join(known)}")
    try:
        version, group = tls_of(texts["tls"])
    except ValueError as error:
        raise BadQuestion(f"tls: {error}") from None
    try:
        protocol = chosen(texts["protocol"], asked, is_call=bool(texts["grpc"]))
    except ValueError as error:
        raise BadQuestion(f"protocol: {error}") from None
    return Presenter(
        client_certificate(certificates[0].der) if certificates else None,
        asked.name,
        "explained",
        certificate_must_be_valid=asked.requires_valid_certificate,
        tls_version=version,
        tls_group=group,
        protocol=protocol,
    )


def _ours(settings: ProxySettings) -> list[Certificate]:
    """The server's own certificates and the clients' authorities: easily taken for the client's."""
    found: list[Certificate] = []
    for listener in settings.listeners:
        for file in listener.own_files:
            try:
                found += certificates_in(file.read_bytes())
            except (OSError, ValueError):  # a broken file is the reload's to tell
                continue
    return found
