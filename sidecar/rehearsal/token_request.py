"""Explains a hypothetical token request: what its client must prove, and which check fails."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

from sidecar.authorizer import Authorizer
from sidecar.decision.denial import Denial
from sidecar.decision.failure import Denied
from sidecar.decision.registered_client.method import RegisteredCertificates
from sidecar.decision.replay import Rehearsal
from sidecar.decision.request import Presenter
from sidecar.http.token_form import read_form
from sidecar.issuer.clock import SYSTEM_CLOCK, Clock
from sidecar.issuer.configuration import HttpSettings
from sidecar.proxy.authorization_server.client_keys import REFRESH, published_by_clients
from sidecar.proxy.authorization_server.clients import FixedCertificates, registry
from sidecar.proxy.authorization_server.configuration import AuthorizationServerSettings
from sidecar.rehearsal.endpoints import RehearsedEndpoints, steps
from sidecar.rehearsal.explanation import Explanation
from sidecar.rehearsal.key_sources import FixedKeys, PrintingObserver
from sidecar.rehearsal.request import Received, Reception, Sent
from sidecar.settings.configuration import Loaded


class NoEndpoint(Exception):
    """The request is not to an endpoint; the message is one line."""


async def explain_token_request(
    loaded: Loaded,
    sent: Sent,
    presenter: Presenter,
    now: float,
    *,
    offline: bool,
    http: HttpSettings | None = None,
) -> Explanation:
    """Decide a request to an endpoint at `now` (seconds since the epoch), as text. Unless `offline`, the certificates
    of a client that publishes them are fetched.

    Raises `NoEndpoint`; `OSError`, `ValueError` for unusable files.
    """
    settings = loaded.authorization_server
    if settings is None:
        raise NoEndpoint("this configuration has no `authorization_server`")
    reception = Reception(loaded)
    received = reception.receive(sent)
    keys = FixedKeys({})  # and no time passes
    authorizer = Authorizer(loaded.policy, keys, keys, Rehearsal(), digest_key=os.urandom(32), elapsing=float)
    async with _published(settings, _client_id(received, sent.body), offline=offline, http=http) as published:
        endpoints = RehearsedEndpoints(settings, authorizer, registry(settings.clients, published))
        found = explained_at(endpoints, reception, received, sent.body, presenter=presenter, now=now)
    if found is None:
        raise NoEndpoint(f"{sent.target} is not the path of an endpoint")
    return found


def explained_at(
    endpoints: RehearsedEndpoints,
    reception: Reception,
    received: Received,
    body: bytes,
    *,
    presenter: Presenter,
    now: float,
) -> Explanation | None:
    """The explanation of a request to an endpoint at `now` (seconds since the epoch); None for a valid request to
    another path. Raises `Unverifiable`.
    """
    received, presenter = reception.identified(received, presenter, now)
    if received.denial is not None:
        return _unread(received.denial, reception, presenter)
    found = endpoints.decided(received, body, presenter, now)
    if found is None:
        return None
    answer = reception.answers.to(found.decision) if isinstance(found.decision, Denial) else None
    told = found.told(endpoints.hand_over_names)
    made = Explanation(steps(found.decision), found.decision, answer, None, None, told=told)
    return replace(made, protocol=presenter.protocol)


def _unread(denial: Denial, reception: Reception, presenter: Presenter) -> Explanation:
    answer = reception.answers.to(denial)
    return Explanation((), denial, answer, None, None, protocol=presenter.protocol)


def _client_id(received: Received, body: bytes) -> str:
    """The client that the form names, not verified; empty if the form is invalid."""
    request, head = received.request, received.head
    if request is None or head is None:
        return ""
    try:
        return read_form(head, request.fields, body).client_id
    except Denied:
        return ""


@asynccontextmanager
async def _published(
    settings: AuthorizationServerSettings,
    client_id: str,
    *,
    offline: bool,
    http: HttpSettings | None,
    clock: Clock = SYSTEM_CLOCK,
) -> AsyncIterator[Mapping[str, RegisteredCertificates]]:
    """The published certificates: for the client in question those at its URL now, for the others none."""
    nothing = FixedCertificates(frozenset())
    known: dict[str, RegisteredCertificates] = {
        one.jwks_url: nothing for one in settings.clients if one.jwks_url is not None
    }
    asked = () if offline else tuple(one for one in settings.clients if one.client_id == client_id)
    found = published_by_clients(replace(settings, clients=asked), PrintingObserver(), clock, REFRESH, http)
    await found.start()
    try:
        for one in found.keys.values():
            await one.first_attempt()
        yield known | found.keys
    finally:
        await found.close()
