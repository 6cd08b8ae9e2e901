"""Real proxies end TLS and pass the certificate on, by the recipes of docs/proxies.md: who gets in, who does not."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from sidecar.http.certificate_field import CertificateFormat, FieldCertificates, emit
from tests.real.tls_proxies import PROXIES, Hop, TlsProxy, tls_proxy
from tests.support.mint import SigningKey
from tests.support.pki import Identity, Pki, certificate_pem
from tests.support.recorder import Recorder
from tests.support.sidecar import Sidecar, merged
from tests.support.tls_client import Response, Wire, client_context

pytestmark = pytest.mark.real

NAME = "api.example.com"
"""In the handshake and in Host: Caddy refuses a request where they differ."""
PATH = "/things/1"


@dataclass(frozen=True, slots=True)
class World:
    """A proxy, the sidecar behind it, and the API behind both."""

    proxy: TlsProxy
    port: int
    sidecar: Sidecar
    api: Recorder
    pki: Pki
    key: SigningKey

    def ask(self, client: Identity | None, token: str | None, **fields: str) -> Response:
        """One request through the proxy."""
        context = client_context(client, self.pki.server_authority.certificate)
        with Wire.tls(self.port, context=context, server_name=NAME) as wire:
            return wire.request("GET", PATH, fields, token=token)


@pytest.fixture(scope="module", params=PROXIES, ids=lambda proxy: proxy.title)
def world(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    pki: Pki,
    signing_key: SigningKey,
) -> Iterator[World]:
    proxy: TlsProxy = request.param
    folder, hop = tmp_path_factory.mktemp(proxy.title), Hop.create()
    with Recorder() as api:
        sidecar = Sidecar(folder, pki, api.url, keys=[signing_key])
        (folder / "tls" / "proxy-ca.crt").write_bytes(certificate_pem(hop.authority.certificate))
        sidecar.write_service(
            merged(
                sidecar.service_document(api.url),
                {"listeners": [proxy.listener() | {"address": f"127.0.0.1:{sidecar.port}"}]},
            )
        )
        with sidecar, tls_proxy(proxy, folder, hop, pki, sidecar.port) as port:
            yield World(proxy, port, sidecar, api, pki, signing_key)


@pytest.mark.parametrize("who", ["client", "self_signed_client"])
def test_a_token_works_for_the_client_it_is_bound_to_and_for_nobody_else(world: World, who: str) -> None:
    rightful: Identity = getattr(world.pki, who)
    token = world.key.token(rightful)
    assert world.ask(rightful, token).status == 200
    seen = world.api.seen[-1]
    assert seen.target == PATH
    assert seen.all(world.proxy.field) == []
    for thief, reason in ((world.pki.other_client, "binding_mismatch"), (None, "certificate_missing")):
        refused = world.ask(thief, token)
        assert (refused.status, refused.json()["reason"]) == (401, reason)


def test_a_field_that_the_client_wrote_itself_does_not_arrive(world: World) -> None:
    rightful = world.pki.client
    forged = {world.proxy.field: field_of(world, rightful)}
    for thief in (world.pki.other_client, None):
        assert world.ask(thief, world.key.token(rightful), **forged).status == 401


def test_a_forged_field_that_goes_around_the_proxy_is_refused(world: World) -> None:
    rightful = world.pki.client
    with Wire.tls(world.sidecar.port) as wire:
        answer = wire.request(
            "GET", PATH, {world.proxy.field: field_of(world, rightful)}, token=world.key.token(rightful)
        )
    assert (answer.status, answer.json()["reason"]) == (400, "certificate_header_untrusted")


def test_a_resumed_session_still_carries_its_own_certificate(world: World) -> None:
    rightful = world.pki.client
    token, context = (
        world.key.token(rightful),
        client_context(rightful, world.pki.server_authority.certificate),
    )
    with Wire.tls(world.port, context=context, server_name=NAME) as first:
        assert first.request("GET", PATH, token=token).status == 200
        session = first.session
    with Wire.tls(world.port, context=context, server_name=NAME, session=session) as second:
        assert second.request("GET", PATH, token=token).status == 200
        resumed = second.secure.session_reused
    assert resumed, f"{world.proxy.title} did not resume the session"


def field_of(world: World, client: Identity) -> str:
    """The certificate as this proxy writes it."""
    value, _chain = emit(CertificateFormat(world.proxy.format), FieldCertificates(client.der))
    return value.decode()
