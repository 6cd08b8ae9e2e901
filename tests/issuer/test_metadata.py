"""Authorization server metadata: found at the well-known places, believed only when it names this very issuer."""

import asyncio

import pytest

from sidecar.issuer.clock import Clock
from sidecar.issuer.configuration import Discovery
from sidecar.issuer.http import FetchFailed, HttpClient
from sidecar.issuer.metadata import Metadata, MetadataSource, well_known_urls
from sidecar.issuer.origin import DiscoveredOrigin
from tests.support.issuer import METADATA_PATHS, ScriptedIssuer, answer, redirect
from tests.support.issuer_events import PLAIN, ManualClock

OAUTH, OPENID = METADATA_PATHS


async def source_fetch(issuer: ScriptedIssuer, discovery: Discovery, times: int = 1) -> Metadata:
    http = HttpClient.create(PLAIN)
    try:
        source = MetadataSource(issuer.url, discovery, http, 3600.0, Clock())
        found = [await source.fetch() for _ in range(times)]
        return found[-1]
    finally:
        await http.close()


def discovered(issuer: ScriptedIssuer, discovery: Discovery | None = None) -> Metadata:
    return asyncio.run(source_fetch(issuer, discovery or Discovery()))


def refused(issuer: ScriptedIssuer) -> FetchFailed:
    with pytest.raises(FetchFailed) as caught:
        discovered(issuer)
    return caught.value


@pytest.mark.parametrize(
    ("issuer", "urls"),
    [
        (
            "https://as.example.com",
            (
                "https://as.example.com/.well-known/oauth-authorization-server",
                "https://as.example.com/.well-known/openid-configuration",
            ),
        ),
        (
            "https://as.example.com/realms/a/",
            (
                "https://as.example.com/.well-known/oauth-authorization-server/realms/a",
                "https://as.example.com/realms/a/.well-known/openid-configuration",
                "https://as.example.com/.well-known/openid-configuration/realms/a",
            ),
        ),
    ],
)
def test_well_known_places(issuer: str, urls: tuple[str, ...]) -> None:
    assert well_known_urls(issuer) == urls


def test_members_of_the_document_are_used(issuer: ScriptedIssuer) -> None:
    issuer.metadata["mtls_endpoint_aliases"] = {"introspection_endpoint": "https://mtls.example.com/i"}
    found = discovered(issuer)
    assert found.jwks_uri == issuer.jwks_url
    assert found.introspection_endpoint == issuer.introspection_url
    assert found.mtls_introspection_endpoint == "https://mtls.example.com/i"


def test_document_at_the_openid_place_is_found(issuer: ScriptedIssuer) -> None:
    issuer.answers[OAUTH] = answer(status=404)
    assert discovered(issuer).jwks_uri == issuer.jwks_url


def test_web_page_at_the_first_place_does_not_hide_the_second(issuer: ScriptedIssuer) -> None:
    issuer.answers[OAUTH] = answer(b"<!doctype html>", content_type="text/html")
    assert discovered(issuer).jwks_uri == issuer.jwks_url


def test_configured_place_is_the_only_one_asked(issuer: ScriptedIssuer) -> None:
    issuer.answers["/elsewhere"] = answer(issuer.document())
    assert discovered(issuer, Discovery(f"{issuer.url}/elsewhere")).jwks_uri == issuer.jwks_url
    assert [request.path for request in issuer.requests] == ["/elsewhere"]


@pytest.mark.parametrize(
    "other",
    ["https://evil.example", "", None, 7, ["as"], "{url}/", "{url}/x", "{upper}"],
    ids=["another", "empty", "missing", "number", "list", "slash", "path", "case"],
)
def test_document_whose_issuer_is_not_identical_is_refused(other: object, issuer: ScriptedIssuer) -> None:
    # RFC 8414 §3.3
    if isinstance(other, str):
        other = other.format(url=issuer.url, upper=issuer.url.upper())
    issuer.metadata["issuer"] = other
    failure = refused(issuer)
    assert failure.phase == "parse"
    assert "another issuer" in failure.detail


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"issuer": "a", "issuer": "b"}', b"\xff", b"[" * 9999]
)
def test_document_that_is_no_clean_json_object_is_named_parse(body: bytes, issuer: ScriptedIssuer) -> None:
    for place in METADATA_PATHS:
        issuer.answers[place] = answer(body)
    assert refused(issuer).phase == "parse"


@pytest.mark.parametrize("member", ["jwks_uri", "introspection_endpoint", "mtls_endpoint_aliases"])
@pytest.mark.parametrize("value", [7, "", "jwks", ["https://as.example.com"], "https://"])
def test_member_that_is_no_url_is_named_parse(member: str, value: object, issuer: ScriptedIssuer) -> None:
    issuer.metadata[member] = value
    assert refused(issuer).phase == "parse"


def test_redirected_document_is_named_status(issuer: ScriptedIssuer) -> None:
    for place in METADATA_PATHS:
        issuer.answers[place] = redirect("https://evil.example/.well-known/openid-configuration")
    assert (refused(issuer).phase, refused(issuer).status) == ("status", 302)


def test_dead_host_is_asked_once_not_once_a_place() -> None:
    issuer = ScriptedIssuer(port=1)
    assert refused(issuer).phase == "connect"


def test_metadata_is_remembered_and_its_last_good_copy_outlives_an_outage(issuer: ScriptedIssuer) -> None:
    clock = ManualClock()

    async def scenario() -> None:
        http = HttpClient.create(PLAIN)
        source = MetadataSource(issuer.url, Discovery(), http, 60.0, clock.clock)
        first = await source.fetch()
        assert await source.fetch() is first
        assert issuer.count(OAUTH) == 1
        clock.advance(61)
        for place in METADATA_PATHS:
            issuer.answers[place] = answer(status=500)
        assert await source.fetch() is first
        assert await source.fetch() is first  # not asked again at once
        assert issuer.count(OAUTH) == 2
        clock.advance(2)
        issuer.answers.clear()
        issuer.metadata["jwks_uri"] = f"{issuer.url}/moved"
        assert (await source.fetch()).jwks_uri == f"{issuer.url}/moved"
        await http.close()

    asyncio.run(scenario())


def test_many_who_ask_at_once_cause_one_fetch(issuer: ScriptedIssuer) -> None:
    async def scenario() -> None:
        http = HttpClient.create(PLAIN)
        source = MetadataSource(issuer.url, Discovery(), http, 60.0, Clock())
        await asyncio.gather(*(source.fetch() for _ in range(50)))
        await http.close()

    asyncio.run(scenario())
    assert issuer.count(OAUTH) == 1


def test_keys_are_not_kept_waiting_by_a_failed_discovery(issuer: ScriptedIssuer) -> None:
    """How often keys are fetched is limited where they are kept; here nothing is remembered but what was good."""

    async def scenario() -> None:
        http = HttpClient.create(PLAIN)
        source = MetadataSource(issuer.url, Discovery(), http, 60.0, ManualClock().clock)
        origin = DiscoveredOrigin(issuer.url, source, http)
        for place in METADATA_PATHS:
            issuer.answers[place] = answer(status=500)
        with pytest.raises(FetchFailed):
            await origin.fetch()
        with pytest.raises(FetchFailed):
            await source.fetch()  # whoever else asks does not make us hammer the issuer
        assert issuer.count(OAUTH) == 1
        issuer.answers.clear()
        assert (await origin.fetch()).document["keys"]
        await http.close()

    asyncio.run(scenario())
