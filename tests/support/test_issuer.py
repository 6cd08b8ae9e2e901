"""The scripted issuer and the raw client, tried on each other."""

import gc
import json
import ssl
import warnings
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support.issuer import (
    JWKS_PATH,
    METADATA_PATHS,
    ScriptedIssuer,
    answer,
    drop,
    endless,
    half,
    redirect,
    slow,
    trickle,
)
from tests.support.mint import SigningKey
from tests.support.pki import Pki
from tests.support.tls_client import TLS12, TLS13, Truncated, Wire, client_context, request_bytes


@pytest.fixture
def issuer(signing_key: SigningKey) -> Iterator[ScriptedIssuer]:
    with ScriptedIssuer(keys=[signing_key], tokens={"opaque": {"active": True}}) as running:
        yield running


def test_metadata_names_its_own_endpoints(issuer: ScriptedIssuer) -> None:
    with Wire.plain(issuer.port) as wire:
        for path in METADATA_PATHS:
            document = wire.request(target=path).json()
            assert document["issuer"] == issuer.url
            assert document["jwks_uri"] == issuer.jwks_url


def test_keys_may_change_while_it_runs(issuer: ScriptedIssuer, signing_key: SigningKey) -> None:
    with Wire.plain(issuer.port) as wire:
        assert wire.request(target=JWKS_PATH).json()["keys"] == [signing_key.jwk]
        issuer.keys = [signing_key.with_kid("next")]
        assert wire.request(target=JWKS_PATH).json()["keys"][0]["kid"] == "next"
    assert issuer.count(JWKS_PATH) == 2


def test_introspection_knows_its_tokens_and_no_others(issuer: ScriptedIssuer) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    with Wire.plain(issuer.port) as wire:
        assert wire.request("POST", "/introspect", form, b"token=opaque").json() == {"active": True}
        assert wire.request("POST", "/introspect", form, b"token=other").json() == {"active": False}
    assert [request.form["token"] for request in issuer.requests] == ["opaque", "other"]


def test_faults_come_one_by_one_and_then_the_right_answer(issuer: ScriptedIssuer) -> None:
    issuer.once[JWKS_PATH].extend(
        [
            answer(b"<html>", 503, "text/html"),
            redirect("http://elsewhere.example/jwks"),
            slow(0.01, answer({})),
        ]
    )
    with Wire.plain(issuer.port) as wire:
        assert wire.request(target=JWKS_PATH).status == 503
        assert wire.request(target=JWKS_PATH).header("location") == "http://elsewhere.example/jwks"
        assert wire.request(target=JWKS_PATH).json() == {}
        assert "keys" in wire.request(target=JWKS_PATH).json()


def test_half_an_answer_is_half_an_answer(issuer: ScriptedIssuer) -> None:
    issuer.answers[JWKS_PATH] = half(b"x" * 1000)
    with Wire.plain(issuer.port) as wire, pytest.raises(Truncated) as caught:
        wire.request(target=JWKS_PATH)
    assert len(caught.value.partial) == 500


def test_dropped_connection_gives_no_answer(issuer: ScriptedIssuer) -> None:
    issuer.answers[JWKS_PATH] = drop()
    with Wire.plain(issuer.port) as wire, pytest.raises((Truncated, ConnectionResetError)):
        wire.request(target=JWKS_PATH)


def test_large_and_slow_bodies_arrive_whole(issuer: ScriptedIssuer) -> None:
    issuer.once[JWKS_PATH].extend([endless(1 << 22), trickle(b'{"keys": []}', 0.001)])
    with Wire.plain(issuer.port) as wire:
        assert len(wire.request(target=JWKS_PATH).body) == 1 << 22
        assert wire.request(target=JWKS_PATH).json() == {"keys": []}


def test_endless_body_stops_when_the_reader_leaves(issuer: ScriptedIssuer) -> None:
    issuer.once[JWKS_PATH].append(endless())
    with Wire.plain(issuer.port) as wire:
        wire.send(b"GET /jwks HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert wire.head().status == 200
    with Wire.plain(issuer.port) as wire:
        assert wire.request(target=JWKS_PATH).status == 200


@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_https_sees_the_client_certificate_and_resumes(
    pki: Pki, signing_key: SigningKey, version: ssl.TLSVersion
) -> None:
    trust = [pki.client_authority.certificate]
    context = client_context(pki.client, pki.server_authority.certificate, minimum=version, maximum=version)
    with ScriptedIssuer([signing_key], certificate=pki.server, client_trust=trust) as issuer:
        with Wire.tls(issuer.port, context=context) as first:
            assert first.request(target=JWKS_PATH).status == 200
            session = first.session
        with Wire.tls(issuer.port, context=context, session=session) as second:
            assert second.request(target=JWKS_PATH).status == 200
            assert second.secure.session_reused
    assert issuer.requests[0].client_certificate == pki.client.der


def test_issuer_under_a_path_serves_both_metadata_locations() -> None:
    with ScriptedIssuer(path="/tenant") as issuer, Wire.plain(issuer.port) as wire:
        for target in [
            "/.well-known/oauth-authorization-server/tenant",
            "/tenant/.well-known/openid-configuration",
        ]:
            assert json.loads(wire.request(target=target).body)["issuer"].endswith("/tenant")


def test_stopped_issuer_comes_back_on_the_same_port(issuer: ScriptedIssuer) -> None:
    port = issuer.port
    issuer.stop()
    with pytest.raises(ConnectionRefusedError):
        Wire.plain(port)
    issuer.start()
    with Wire.plain(port) as wire:
        assert wire.request(target=JWKS_PATH).status == 200


def connect(issuer: ScriptedIssuer) -> Wire:
    return Wire.plain(issuer.port) if issuer.certificate is None else Wire.tls(issuer.port)


@pytest.mark.parametrize("is_secure", [False, True])
def test_stop_leaves_nothing_open_whoever_is_still_connected(pki: Pki, is_secure: bool) -> None:
    """What is left open is told of when it is collected: in some later test, which then fails."""
    with warnings.catch_warnings(record=True) as told, ExitStack() as clients:
        warnings.simplefilter("always")
        with ScriptedIssuer(certificate=pki.server if is_secure else None) as issuer:
            issuer.answers["/half"] = half(b"x" * 100)
            for target in (JWKS_PATH, JWKS_PATH, "/half"):
                wire = clients.enter_context(connect(issuer))
                wire.send(request_bytes("GET", target))
                wire.head()
            clients.enter_context(Wire.plain(issuer.port))  # and never says a word
        del issuer
        gc.collect()
    assert [str(warning.message) for warning in told] == []
