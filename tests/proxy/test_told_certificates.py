"""The client certificate by the word of a proxy (RFC 9440): whose word counts, and that each request has its own
client, however many share the proxy's connection.
"""

import asyncio
import datetime as dt
import json
import random
from ipaddress import ip_network
from pathlib import Path

from sidecar.http.certificate_field import CertificateFormat, FieldCertificates, emit
from sidecar.proxy.client import deadlines
from sidecar.proxy.client.http1 import Http1Stream
from sidecar.proxy.configuration import Timeouts, ToldCertificateSettings, TrustedProxy
from sidecar.proxy.vouching.told import ToldCertificates
from sidecar.telemetry.sink import LineSink
from tests.support.lanes import WHOLE
from tests.support.measured import RESPONSE, World
from tests.support.mint import SigningKey, claims_set
from tests.support.pki import Identity, Pki, Profile, utc_now

NAME = "Client-Cert"
PATIENCE = 20.0
"""Seconds for a thread to write what it has: more than it needs on the busiest machine."""
NEAR = TrustedProxy(network=ip_network("127.0.0.0/8"))
FAR = TrustedProxy(network=ip_network("192.0.2.0/24"))
INTERLEAVED = 10_000 if WHOLE else 1_000


def told(*proxies: TrustedProxy) -> ToldCertificateSettings:
    return ToldCertificateSettings(CertificateFormat.RFC9440, NAME, "Client-Cert-Chain", proxies or (NEAR,))


def last_records(world: World, folder: Path, count: int) -> list[dict[str, object]]:
    """The records of the last requests, from the log in `folder`."""
    world.sink.close(PATIENCE)
    lines = [json.loads(line) for line in (folder / "log").read_text().splitlines()]
    return [line for line in lines if line["event"] == "request"][-count:]


def request(token: str, *fields: bytes, number: int = 0) -> bytes:
    head = f"GET /accounts/{number} HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer {token}\r\n"
    return head.encode() + b"".join(b"%b\r\n" % field for field in fields) + b"\r\n"


def field(identity: Identity, name: str = NAME) -> bytes:
    return b"%b: %b" % (name.encode(), emit(CertificateFormat.RFC9440, FieldCertificates(identity.der))[0])


async def begun(world: World) -> None:
    """The connection is there, and so is one to the API."""
    await world.begin()
    for upstream in world.upstreams:
        upstream.written.clear()
    world.transport.written.clear()


def test_interleaved_clients_of_one_connection_never_pass_for_each_other(
    pki: Pki, signing_key: SigningKey, tmp_path: Path
) -> None:
    """Each record says what its own request showed, and each request is decided by it alone."""
    world = World(pki, signing_key, tmp_path, pki.client, told=told(), sink=LineSink(path=tmp_path / "log"))
    people = [pki.client, pki.other_client, pki.self_signed_client]
    tokens = [signing_key.token(one) for one in people]
    order = random.Random(9440)
    asked = [
        (order.randrange(3), order.choice([None, 0, 0, 1, 1, 2]), order.random() < 0.02)
        for _ in range(INTERLEAVED)
    ]

    async def run() -> None:
        await begun(world)
        for number, (owner, shown, is_broken) in enumerate(asked):
            fields = [] if shown is None else [field(people[shown])]
            world.one(request(tokens[owner], *(fields * (1 + is_broken)), number=number))
        world.server.close()

    asyncio.run(run())
    records = last_records(world, tmp_path, INTERLEAVED)
    for number, ((owner, shown, is_broken), record) in enumerate(zip(asked, records, strict=True)):
        assert record["path"] == f"/accounts/{number}"
        assert (record["certificate_source"], record["certificate_proxy"]) == ("header", "127.0.0.1")
        if is_broken and shown is not None:
            assert (record["status"], record["reason"]) == (400, "certificate_header_malformed")
            assert "presented_thumbprint" not in record
            continue
        assert record.get("presented_thumbprint") == (None if shown is None else people[shown].thumbprint)
        assert record["expected_thumbprint"] == people[owner].thumbprint
        wanted = "certificate_missing" if shown is None else "none" if shown == owner else "binding_mismatch"
        assert (record["reason"], record["status"]) == (wanted, 200 if wanted == "none" else 401)


def answers(world: World, folder: Path, *requests: bytes) -> list[dict[str, object]]:
    """The records of some requests over one connection."""

    async def run() -> None:
        await begun(world)
        for one in requests:
            world.one(one)
        world.server.close()

    asyncio.run(run())
    return last_records(world, folder, len(requests))


def test_peer_that_is_not_listed_may_not_say_it(pki: Pki, signing_key: SigningKey, tmp_path: Path) -> None:
    world = World(
        pki, signing_key, tmp_path, pki.client, told=told(FAR), sink=LineSink(path=tmp_path / "log")
    )
    token = signing_key.token(pki.client)
    said, silent = answers(world, tmp_path, request(token, field(pki.client)), request(token))
    assert (said["status"], said["reason"]) == (400, "certificate_header_untrusted")
    assert said["detail"] == "client-cert from 127.0.0.1, which is not in `proxies`"
    assert said["certificate_proxy"] == ""
    assert (silent["status"], silent["reason"]) == (401, "certificate_missing")


def test_exchange_may_last_as_long_as_the_certificate_of_its_own_request(
    pki: Pki, signing_key: SigningKey, tmp_path: Path
) -> None:
    """However long that of the client before it lives, on the same connection; an expired one binds as by TLS."""
    world = World(pki, signing_key, tmp_path, pki.client, told=told(), sink=LineSink(path=tmp_path / "log"))
    end = utc_now() + dt.timedelta(minutes=5)
    brief = pki.client_authority.issue(Profile("brief", not_after=end))
    people = [pki.client, brief, pki.client_authority.expired(), brief, pki.client]
    ends: list[float] = []

    async def run() -> None:
        await begun(world)
        for identity in people:
            token = signing_key.sign(claims_set(identity, exp=int((end + dt.timedelta(hours=1)).timestamp())))
            world.connection.data_received(world.sealed(request(token, field(identity))))
            wire = world.connection.wire
            assert isinstance(wire, Http1Stream)
            assert wire.exchange is not None
            ends.append(wire.exchange.valid_until - end.timestamp())
            for upstream in world.upstreams:
                assert upstream.protocol is not None
                upstream.written.clear()
                upstream.protocol.data_received(RESPONSE)
        world.server.close()

    asyncio.run(run())
    assert [one == 0 for one in ends] == [False, True, False, True, False]
    assert min(ends) == 0


def test_names_of_other_listeners_and_the_chain_alone_are_no_certificate(
    pki: Pki, signing_key: SigningKey, tmp_path: Path
) -> None:
    """A value that is known under one name is nothing under another."""
    world = World(pki, signing_key, tmp_path, pki.client, told=told(), sink=LineSink(path=tmp_path / "log"))
    token = signing_key.token(pki.client)
    good, chain, spelt = (field(pki.client, name) for name in (NAME, "Client-Cert-Chain", "Client_Cert"))
    asked = (request(token, good), request(token, chain), request(token, spelt))
    records = answers(world, tmp_path, *asked)
    assert [one["reason"] for one in records] == [
        "none",
        "certificate_header_malformed",
        "certificate_missing",
    ]
    both = answers(
        World(pki, signing_key, tmp_path, pki.client, told=told(), sink=LineSink(path=tmp_path / "log")),
        tmp_path,
        request(token, good, field(pki.client_authority, "Client-Cert-Chain")),
        request(token, good, field(pki.other_client)),
    )
    assert [one["reason"] for one in both] == ["none", "certificate_header_malformed"]


def test_proxy_whose_own_certificate_has_ended_is_answered_and_comes_back(
    pki: Pki, signing_key: SigningKey, tmp_path: Path
) -> None:
    """A pool of connections outlives a certificate of an hour; nobody's request fails for it."""
    world = World(pki, signing_key, tmp_path, pki.client, told=told(), sink=LineSink(path=tmp_path / "log"))
    token, retired = signing_key.token(pki.client), []

    async def run() -> None:
        await begun(world)
        wire = world.connection.wire
        assert isinstance(wire, Http1Stream)
        assert wire.hop is not None
        for wall in (999.0, 1000.0):
            wire.hop.until = 1000.0
            deadlines.check(world.connection, world.server.now(), wall, Timeouts())
            retired.append(wire.retired)
        world.one(request(token, field(pki.client)))
        world.server.close()

    asyncio.run(run())
    assert retired == [False, True]
    assert last_records(world, tmp_path, 1)[0]["status"] == 200
    assert world.connection.link.is_ending


def test_proxy_that_is_taken_off_the_list_is_not_believed_from_its_next_request_on(
    pki: Pki, signing_key: SigningKey, tmp_path: Path
) -> None:
    """On a connection that lives on, for certificates that were known, and for what is under way."""
    world = World(pki, signing_key, tmp_path, pki.client, told=told(), sink=LineSink(path=tmp_path / "log"))
    token = signing_key.token(pki.client)

    async def run() -> None:
        await begun(world)
        world.one(request(token, field(pki.client)))
        world.connection.data_received(world.sealed(request(token, field(pki.client))))
        world.server.listeners[0].certificates = ToldCertificates(told(FAR))
        wire = world.connection.wire
        assert isinstance(wire, Http1Stream)
        assert wire.exchange is not None
        assert wire.exchange.valid_until > 0
        world.connection.judge_again()
        assert wire.exchange.valid_until == 0, (
            "the upstream has the request: its response is still waited for"
        )
        for upstream in world.upstreams:
            assert upstream.protocol is not None
            upstream.written.clear()
            upstream.protocol.data_received(RESPONSE)
        world.one(request(token, field(pki.client)))
        world.server.close()

    asyncio.run(run())
    reasons = [record["reason"] for record in last_records(world, tmp_path, 3)]
    assert reasons == ["none", "none", "certificate_header_untrusted"]
