"""The explain form: a token, a certificate and a request, decided by the running authorizer and observed; or a
request to an endpoint of the authorization server, decided by the present registry of clients.

Nothing leaves the machine except the questions that the policy itself sends to an issuer, or to a client that
publishes its certificates. The token is neither stored nor logged.
"""

from collections.abc import Mapping
from typing import Any, Final

from sidecar.authorizer import Authorizer
from sidecar.decision.certificate import Certificate
from sidecar.decision.registered_client.registry import ClientRegistry
from sidecar.proxy.certificates import UnusableCertificate
from sidecar.proxy.certificates import certificates as certificates_in
from sidecar.rehearsal.endpoints import RehearsedEndpoints, goes_to_endpoint
from sidecar.rehearsal.explanation import Explanation, explain
from sidecar.rehearsal.posed import Asked, Posed, Unposable, posed
from sidecar.rehearsal.request import Reception
from sidecar.rehearsal.token_request import explained_at
from sidecar.rehearsal.told import Unverifiable
from sidecar.settings.configuration import Loaded

JsonObject = dict[str, Any]
"""A JSON object."""

LONGEST: Final = 65536
"""Maximum characters of any member of the form."""
MEMBERS: Final = (
    "token", "proof", "certificate", "method", "url", "token_request", "listener", "tls", "protocol", "grpc",
)  # fmt: skip
"""Text members of the form; in addition it has `headers`, a list of lines."""


class BadQuestion(Exception):
    """The question cannot be answered; the message is one line for the user."""


async def answer(
    question: JsonObject,
    authorizer: Authorizer,
    loaded: Loaded,
    now: float,
    clients: ClientRegistry | None = None,
) -> JsonObject:
    """The explanation as JSON, at `now` (seconds since the epoch). `clients`: those of the authorization server
    behind the sidecar, if there is one. Raises `BadQuestion`.
    """
    texts = {name: _text(question, name) for name in MEMBERS}
    asked = _asked(texts, _lines(question))
    try:
        return (await _explained(posed(asked, loaded), asked, authorizer, loaded, now, clients)).document()
    except Unposable as problem:
        raise BadQuestion(str(problem)) from None
    except Unverifiable as problem:
        raise BadQuestion(f"certificate: {problem}") from None


async def _explained(  # noqa: PLR0917 — what was asked, and of whom
    question: Posed,
    asked: Asked,
    authorizer: Authorizer,
    loaded: Loaded,
    now: float,
    clients: ClientRegistry | None,
) -> Explanation:
    """Raises `Unposable`, `Unverifiable`."""
    reception, settings, sent = Reception(loaded), loaded.authorization_server, question.sent
    received = reception.receive(sent)
    is_form = asked.token_request is not None
    if settings is not None and clients is not None and (is_form or goes_to_endpoint(settings, sent.target)):
        endpoints = RehearsedEndpoints(settings, authorizer, clients)
        presenter = question.presenter
        found = explained_at(endpoints, reception, received, sent.body, presenter=presenter, now=now)
        if found is not None:
            return found
        if is_form:
            raise Unposable("token_request", f"{sent.target} is not the path of an endpoint")
    return await explain(authorizer, reception, received, question.presenter, now, others=question.others)


def _text(question: JsonObject, name: str) -> str:
    value = question.get(name, "")
    if not isinstance(value, str) or len(value) > LONGEST:
        raise BadQuestion(f"{name}: expected text of at most {LONGEST} characters")
    return value.strip()


def _lines(question: JsonObject) -> list[str]:
    lines = question.get("headers", [])
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise BadQuestion("headers: expected a list of 'Name: value'")
    return lines


def _asked(texts: Mapping[str, str], lines: list[str]) -> Asked:
    said = {name: text for name, text in texts.items() if text and name != "certificate"}
    return Asked(**said, headers=lines, certificates=_certificates(texts["certificate"]))


def _certificates(pem: str) -> list[Certificate]:
    if not pem:
        return []
    try:
        return certificates_in(pem.encode(), pem_only=True)
    except UnusableCertificate as problem:
        raise BadQuestion(f"certificate: {problem}") from None
