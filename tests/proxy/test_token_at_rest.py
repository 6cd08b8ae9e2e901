"""A connection that is idle keeps no token: what its requests presented is released with the rest of their memory."""

import asyncio
from ipaddress import ip_network
from pathlib import Path

import pytest

from sidecar.decision.request import Presenter
from sidecar.http.certificate_field import CertificateFormat
from sidecar.proxy.client import deadlines
from sidecar.proxy.configuration import Timeouts, ToldCertificateSettings, TrustedProxy
from tests.support.measured import World
from tests.support.measured_http2 import GrpcWorld, Http2World
from tests.support.mint import SigningKey
from tests.support.pki import Pki

NEAR = TrustedProxy(network=ip_network("127.0.0.0/8"))
TOLD = ToldCertificateSettings(CertificateFormat.RFC9440, "Client-Cert", "Client-Cert-Chain", (NEAR,))


def presenters(world: World) -> list[Presenter]:
    """Everybody whose requests the connection carried."""
    wire = world.connection.wire
    assert wire is not None
    if wire.hop is None:
        return [wire.presenter]
    return [wire.hop.base, *(kept.presenter for kept in wire.hop._kept.values())]


def keeping(world: World) -> int:
    """How many of them have their last value kept."""
    return sum(one.last_presented is not None for one in presenters(world))


def passes(world: World, seconds: float) -> None:
    """So much time since the last request."""
    deadlines.check(world.connection, world.server.now() + seconds, 0.0, Timeouts())


@pytest.mark.parametrize("kind", [World, Http2World, GrpcWorld])
def test_idle_connection_keeps_no_token(
    kind: type[World], pki: Pki, signing_key: SigningKey, tmp_path: Path
) -> None:
    world, kept = kind(pki, signing_key, tmp_path, pki.client), []

    async def run() -> None:
        await world.begin()
        for _ in range(2):
            world.one()
            world.one()
            kept.append(keeping(world))
            passes(world, 0.5)
            kept.append(keeping(world))
            passes(world, 1.5)
            kept.append(keeping(world))
        world.server.close()

    asyncio.run(run())
    assert kept == [1, 1, 0] * 2


def test_idle_connection_of_a_proxy_keeps_no_token_of_any_client(
    pki: Pki, signing_key: SigningKey, tmp_path: Path
) -> None:
    world, kept = World(pki, signing_key, tmp_path, pki.client, told=TOLD), []
    # The same token, by nobody: refused for its binding, and known all the same.
    bare = f"GET /accounts/1 HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer {world.token}\r\n\r\n"

    async def run() -> None:
        await world.begin()
        for _ in range(2):
            for plaintext in (None, bare.encode()):
                world.one(plaintext)
                world.one(plaintext)
            kept.append(keeping(world))
            passes(world, 1.5)
            kept.append(keeping(world))
        world.server.close()

    asyncio.run(run())
    assert kept == [2, 0] * 2
