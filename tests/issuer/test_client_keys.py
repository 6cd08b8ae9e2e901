"""The certificates that clients publish: fetched as an issuer's keys are, and asked for anew behind a refusal."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from sidecar.decision.registered_client.method import ClientMethod
from sidecar.issuer.clock import SYSTEM_CLOCK
from sidecar.proxy.authorization_server.client_keys import PublishedByClients, published_by_clients
from sidecar.proxy.authorization_server.configuration import AuthorizationServerSettings, ClientSettings
from tests.support.client_files import jwk
from tests.support.issuer import JWKS_PATH, ScriptedIssuer, answer
from tests.support.issuer_events import PLAIN, QUICK, IssuerEvents, ManualClock, until
from tests.support.pki import Identity, self_signed

OWN, NEXT = self_signed(), self_signed()


def settings(*urls: str) -> AuthorizationServerSettings:
    method = ClientMethod.SELF_SIGNED_TLS_CLIENT_AUTH
    return AuthorizationServerSettings(
        "https://as.example.com",
        (),
        tuple(ClientSettings(f"c{number}", method, "a:1", jwks_url=url) for number, url in enumerate(urls)),
    )


def publish(issuer: ScriptedIssuer, *identities: Identity, path: str = JWKS_PATH) -> None:
    issuer.answers[path] = answer({"keys": [jwk(one) for one in identities]})


def live(
    events: IssuerEvents,
    urls: Sequence[str],
    scenario: Callable[[PublishedByClients], Awaitable[None]],
    clock: ManualClock | None = None,
) -> None:
    """Runs `scenario` once each URL was fetched."""

    async def run() -> None:
        given = clock.clock if clock is not None else SYSTEM_CLOCK
        found = published_by_clients(settings(*urls), events, given, QUICK, PLAIN)
        await found.start()
        try:
            for one in found.keys.values():
                await one.first_attempt()
            await scenario(found)
        finally:
            await found.close()

    asyncio.run(run())


def thumbprint(identity: Identity) -> bytes:
    return identity.presented.thumbprint


def test_published_certificate_is_registered(issuer: ScriptedIssuer, events: IssuerEvents) -> None:
    publish(issuer, OWN)

    async def scenario(found: PublishedByClients) -> None:
        keys = found.keys[issuer.jwks_url]
        assert keys.holds(thumbprint(OWN))
        assert not keys.holds(thumbprint(NEXT))
        assert keys.ends == OWN.presented.not_after

    live(events, [issuer.jwks_url], scenario)
    assert events.results == ["success"]


def test_two_clients_of_one_url_share_its_fetches(issuer: ScriptedIssuer, events: IssuerEvents) -> None:
    publish(issuer, OWN)

    async def scenario(found: PublishedByClients) -> None:
        assert len(found.keys) == 1

    live(events, [issuer.jwks_url] * 2, scenario)
    assert issuer.count(JWKS_PATH) == 1


def test_unknown_certificate_is_refused_first_and_found_at_the_next_attempt(
    issuer: ScriptedIssuer, events: IssuerEvents
) -> None:
    publish(issuer, OWN)

    async def scenario(found: PublishedByClients) -> None:
        keys = found.keys[issuer.jwks_url]
        publish(issuer, OWN, NEXT)
        assert not keys.holds(thumbprint(NEXT))
        keys.missed(thumbprint(NEXT))
        assert not keys.holds(thumbprint(NEXT)), "nobody waits"
        await until(lambda: keys.holds(thumbprint(NEXT)))
        assert keys.holds(thumbprint(OWN))

    live(events, [issuer.jwks_url], scenario)


def test_strangers_cannot_have_a_client_asked_more_often_than_its_cool_down(
    issuer: ScriptedIssuer, events: IssuerEvents
) -> None:
    publish(issuer, OWN)

    async def scenario(found: PublishedByClients) -> None:
        keys = found.keys[issuer.jwks_url]
        for number in range(200):
            keys.missed(number.to_bytes(32, "big"))
        await keys.idle()
        for _ in range(200):
            keys.missed(bytes(32))
        await keys.idle()

    live(events, [issuer.jwks_url], scenario)
    assert issuer.count(JWKS_PATH) == 2, "one for the strangers, who missed it for good"


def test_clients_do_not_share_their_cool_down(issuer: ScriptedIssuer, events: IssuerEvents) -> None:
    publish(issuer, OWN, path="/a")
    publish(issuer, OWN, path="/b")
    urls = [f"{issuer.url}/a", f"{issuer.url}/b"]

    async def scenario(found: PublishedByClients) -> None:
        for url in urls:
            found.keys[url].missed(bytes(32))
        for url in urls:
            await found.keys[url].idle()

    live(events, urls, scenario)
    assert (issuer.count("/a"), issuer.count("/b")) == (2, 2)


def test_url_out_of_reach_registers_nobody(issuer: ScriptedIssuer, events: IssuerEvents) -> None:
    issuer.answers[JWKS_PATH] = answer(status=503)

    async def scenario(found: PublishedByClients) -> None:
        keys = found.keys[issuer.jwks_url]
        assert not keys.holds(thumbprint(OWN))
        assert keys.ends == float("-inf")
        keys.missed(thumbprint(OWN))
        await keys.idle()
        publish(issuer, OWN)
        await until(lambda: keys.holds(thumbprint(OWN)))

    live(events, [issuer.jwks_url], scenario)
    assert "status" in events.results


def test_last_good_certificates_serve_until_their_time_is_up(
    issuer: ScriptedIssuer, events: IssuerEvents
) -> None:
    publish(issuer, OWN)
    clock = ManualClock()

    async def scenario(found: PublishedByClients) -> None:
        keys = found.keys[issuer.jwks_url]
        clock.advance(QUICK.staleness_budget - 1)
        assert keys.holds(thumbprint(OWN))
        clock.advance(2)
        assert not keys.holds(thumbprint(OWN))

    live(events, [issuer.jwks_url], scenario, clock)


@pytest.mark.parametrize(
    ("document", "detail"),
    [
        ({"keys": []}, "no key has a certificate"),
        ({"keys": [jwk(OWN) | {"x5c": []}]}, "no key has a certificate"),
        ({"kyes": []}, "not a JWK set"),
    ],
)
def test_set_without_certificates_takes_none_away(
    issuer: ScriptedIssuer, events: IssuerEvents, document: object, detail: str
) -> None:
    publish(issuer, OWN)

    async def scenario(found: PublishedByClients) -> None:
        keys = found.keys[issuer.jwks_url]
        issuer.answers[JWKS_PATH] = answer(document)
        keys.missed(thumbprint(NEXT))
        await keys.idle()
        assert keys.holds(thumbprint(OWN))

    live(events, [issuer.jwks_url], scenario)
    assert events.results == ["success", "parse"]
    assert detail in events.refreshed[1].detail


def test_certificate_that_is_withdrawn_is_refused(issuer: ScriptedIssuer, events: IssuerEvents) -> None:
    publish(issuer, OWN, NEXT)

    async def scenario(found: PublishedByClients) -> None:
        keys = found.keys[issuer.jwks_url]
        publish(issuer, NEXT)
        keys.missed(bytes(32))
        await keys.idle()
        assert keys.holds(thumbprint(NEXT))
        assert not keys.holds(thumbprint(OWN))

    live(events, [issuer.jwks_url], scenario)


def test_key_that_is_skipped_is_told_once(issuer: ScriptedIssuer, events: IssuerEvents) -> None:
    issuer.answers[JWKS_PATH] = answer({"keys": [jwk(OWN), jwk(NEXT) | {"x5c": ["!"]}]})

    async def scenario(found: PublishedByClients) -> None:
        keys = found.keys[issuer.jwks_url]
        keys.missed(bytes(32))
        await keys.idle()
        assert keys.holds(thumbprint(OWN))

    live(events, [issuer.jwks_url], scenario)
    assert [(one.key, one.reason) for one in events.skipped] == [("key 2", "x5c")]


def test_what_a_key_is_said_to_be_for_does_not_matter(issuer: ScriptedIssuer, events: IssuerEvents) -> None:
    """RFC 8705 §2.2.2: the certificate counts; some sets say `use: enc`, or one `kid` for all."""
    keys = [jwk(one) | {"use": "enc", "kid": "same", "alg": "ECDH-ES"} for one in (OWN, NEXT)]
    issuer.answers[JWKS_PATH] = answer({"keys": keys})

    async def scenario(found: PublishedByClients) -> None:
        for one in (OWN, NEXT):
            assert found.keys[issuer.jwks_url].holds(thumbprint(one))

    live(events, [issuer.jwks_url], scenario)


def test_reloaded_configuration_goes_on_with_what_was_known(
    issuer: ScriptedIssuer, events: IssuerEvents
) -> None:
    publish(issuer, OWN)

    async def scenario(found: PublishedByClients) -> None:
        issuer.answers[JWKS_PATH] = answer(status=503)
        one = settings(issuer.jwks_url, f"{issuer.url}/new")
        successor = published_by_clients(one, events, refresh=QUICK, http=PLAIN)
        await successor.start(found)
        try:
            assert successor.keys[issuer.jwks_url].holds(thumbprint(OWN))
            assert not successor.keys[f"{issuer.url}/new"].holds(thumbprint(OWN))
        finally:
            await successor.close()

    live(events, [issuer.jwks_url], scenario)


def test_who_publishes_nothing_needs_no_connection(events: IssuerEvents, tmp_path: Path) -> None:
    async def run() -> None:
        found = published_by_clients(replace(settings(), clients_ca_file=tmp_path / "none"), events)
        await found.start()
        assert found.keys == {}
        await found.close()

    asyncio.run(run())
