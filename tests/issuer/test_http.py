"""Exchanges with an issuer: bounded, never redirected, and every failure named by its phase."""

import asyncio
import os
import shutil
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sidecar.issuer.configuration import HttpSettings
from sidecar.issuer.http import Fetched, FetchFailed, HttpClient
from tests.support.issuer import (
    INTROSPECTION_PATH,
    JWKS_PATH,
    ScriptedIssuer,
    answer,
    drop,
    endless,
    half,
    redirect,
    server_context,
    slow,
    trickle,
)
from tests.support.issuer_events import PLAIN, until
from tests.support.pki import Pki, certificate_pem
from tests.support.processes import free_port

JSON = "application/json"
PATIENT = HttpSettings(connect_timeout=50.0, timeout=55.0)
"""A resolver of names that is out of reach takes its time to say so."""


def fetched(url: str, settings: HttpSettings = PLAIN) -> Fetched:
    async def scenario() -> Fetched:
        client = HttpClient.create(settings)
        try:
            return await client.get(url, JSON)
        finally:
            await client.close()

    return asyncio.run(scenario())


def failed(url: str, settings: HttpSettings = PLAIN) -> FetchFailed:
    with pytest.raises(FetchFailed) as caught:
        fetched(url, settings)
    return caught.value


# --- phases


def test_name_that_does_not_resolve_is_named_dns() -> None:
    assert failed("https://no-such-host.invalid/jwks", PATIENT).phase == "dns"


def test_refused_connection_is_named_connect() -> None:
    failure = failed(f"http://127.0.0.1:{free_port()}/jwks")
    assert failure.phase == "connect"
    assert failure.detail == "Connection refused"


def test_untrusted_certificate_is_named_tls(secure: ScriptedIssuer) -> None:
    failure = failed(secure.jwks_url, HttpSettings())
    assert failure.phase == "tls"
    assert "not trusted" in failure.detail


def test_certificate_for_another_name_is_named_tls(pki: Pki, trusting: HttpSettings) -> None:
    from tests.support.pki import SERVER_PROFILE, subject_alternative_names

    profile = replace(SERVER_PROFILE, names=tuple(subject_alternative_names(dns=["as.example.com"])))
    with ScriptedIssuer(certificate=pki.server_authority.server(profile)) as elsewhere:
        assert failed(elsewhere.jwks_url, trusting).phase == "tls"


def test_expired_certificate_is_named_tls(pki: Pki, trusting: HttpSettings) -> None:
    from tests.support.pki import SERVER_PROFILE

    with ScriptedIssuer(certificate=pki.server_authority.expired(SERVER_PROFILE)) as expired:
        failure = failed(expired.jwks_url, trusting)
    assert failure.phase == "tls"
    assert "expired" in failure.detail


def test_server_that_speaks_no_tls_is_named_tls(issuer: ScriptedIssuer, trusting: HttpSettings) -> None:
    assert failed(issuer.jwks_url.replace("http:", "https:"), trusting).phase == "tls"


def test_handshake_that_never_ends_is_named_timeout(trusting: HttpSettings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        settings = replace(trusting, connect_timeout=0.3)
        assert failed(f"https://127.0.0.1:{deaf.getsockname()[1]}/jwks", settings).phase == "timeout"


@pytest.mark.parametrize("status", [201, 204, 400, 401, 403, 404, 418, 429, 500, 502, 503])
def test_any_status_but_200_is_named_status(status: int, issuer: ScriptedIssuer) -> None:
    issuer.answers[JWKS_PATH] = answer(status=status)
    failure = failed(issuer.jwks_url)
    assert (failure.phase, failure.status) == ("status", status)


@pytest.mark.field_cases
@pytest.mark.parametrize(
    "location",
    ["https://evil.example/jwks", "file:///etc/passwd", "http://169.254.169.254/latest/meta-data", "/other"],
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_is_not_followed(location: str, status: int, issuer: ScriptedIssuer) -> None:
    issuer.answers[JWKS_PATH] = redirect(location, status)
    failure = failed(issuer.jwks_url)
    assert (failure.phase, failure.status) == ("status", status)
    assert [request.path for request in issuer.requests] == [JWKS_PATH]
    # `/other` comes as it was sent: a target is shown, never resolved.
    assert failure.detail == f'the answer is {status}, to "{location}": not followed'


def test_body_of_a_gigabyte_is_named_size_and_not_held(issuer: ScriptedIssuer) -> None:
    issuer.answers[JWKS_PATH] = endless(1 << 30)
    failure = failed(issuer.jwks_url, replace(PLAIN, timeout=50.0, document_bytes=1 << 20))
    assert failure.phase == "size"


def test_announced_length_past_the_limit_is_refused_unread(issuer: ScriptedIssuer) -> None:
    issuer.answers[JWKS_PATH] = answer(b" " * 2048)
    assert failed(issuer.jwks_url, replace(PLAIN, document_bytes=2047)).phase == "size"
    assert len(fetched(issuer.jwks_url, replace(PLAIN, document_bytes=2048)).body) == 2048


def test_half_an_answer_is_named_size(issuer: ScriptedIssuer) -> None:
    issuer.answers[JWKS_PATH] = half(b'{"keys": []}')
    assert failed(issuer.jwks_url).phase == "size"


def test_connection_closed_without_an_answer_is_named_connect(issuer: ScriptedIssuer) -> None:
    issuer.answers[JWKS_PATH] = drop()
    assert failed(issuer.jwks_url).phase == "connect"


def test_silent_issuer_is_named_timeout(issuer: ScriptedIssuer) -> None:
    issuer.answers[JWKS_PATH] = slow(30.0, answer({}))
    assert failed(issuer.jwks_url, replace(PLAIN, timeout=0.3)).phase == "timeout"


def test_trickled_answer_is_named_timeout(issuer: ScriptedIssuer) -> None:
    issuer.answers[JWKS_PATH] = trickle(b" " * 300, 0.1)
    assert failed(issuer.jwks_url, replace(PLAIN, timeout=0.4)).phase == "timeout"


def test_compressed_answer_is_named_parse(issuer: ScriptedIssuer) -> None:
    # A small answer may unpack to anything: identity is asked for and nothing else is taken.
    issuer.answers[JWKS_PATH] = answer(b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
    assert failed(issuer.jwks_url).phase == "parse"


@pytest.mark.parametrize("reply", [b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b"HTTP/1.1 2xx OK\r\n\r\n", b"\0" * 64])
def test_answer_that_is_no_http_is_named_parse(reply: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        failure = failed(f"http://127.0.0.1:{server.getsockname()[1]}/jwks")
        thread.join(5)
    assert failure.phase == "parse"


@pytest.mark.parametrize(
    "url",
    ["http://as.example.com/", "ftp://as.example.com/", "file:///etc/passwd", "", "https://", "HTTP://a"],
)
def test_url_that_is_not_https_is_never_asked(url: str) -> None:
    assert failed(url, HttpSettings()).phase == "connect"


@pytest.mark.parametrize("url", ["https://[", "https://a:port/", "https://exa mple/", "https://\x00/"])
def test_url_that_nobody_can_ask_is_a_named_failure(url: str) -> None:
    assert failed(url, PATIENT).phase in {"connect", "parse", "dns"}


def test_detail_repeats_nothing_that_the_issuer_wrote(issuer: ScriptedIssuer) -> None:
    issuer.answers[JWKS_PATH] = answer(b"secret-of-the-issuer", status=500)
    assert "secret" not in str(failed(issuer.jwks_url))


@pytest.mark.parametrize(("value", "seconds"), [("7", 7), ("99999", 300), ("soon", None), ("-1", None)])
def test_retry_after_is_taken_within_bounds(value: str, seconds: int | None, issuer: ScriptedIssuer) -> None:
    issuer.answers[JWKS_PATH] = answer(status=503, headers={"Retry-After": value})
    assert failed(issuer.jwks_url).retry_after == seconds


# --- connections


def test_question_on_a_connection_closed_meanwhile_is_asked_once_more(issuer: ScriptedIssuer) -> None:
    issuer.tokens["t"] = {"active": True}

    async def scenario() -> None:
        client = HttpClient.create(PLAIN)
        try:
            for _ in range(2):
                await client.post(issuer.introspection_url, {"token": "t"}, {}, 1000)
                issuer.once[INTROSPECTION_PATH].append(drop())
                await client.post(issuer.introspection_url, {"token": "t"}, {}, 1000)
        finally:
            await client.close()

    asyncio.run(scenario())
    assert issuer.count(INTROSPECTION_PATH) == 6  # four answers, and two that found their connection closed


def test_question_dropped_on_a_fresh_connection_is_not_repeated(issuer: ScriptedIssuer) -> None:
    issuer.answers[INTROSPECTION_PATH] = drop()

    async def scenario() -> None:
        client = HttpClient.create(PLAIN)
        try:
            with pytest.raises(FetchFailed) as caught:
                await client.post(issuer.introspection_url, {"token": "t"}, {}, 1000)
            assert caught.value.phase == "connect"
        finally:
            await client.close()

    asyncio.run(scenario())
    assert issuer.count(INTROSPECTION_PATH) == 1


def test_environment_names_no_proxy(issuer: ScriptedIssuer) -> None:
    before = os.environ.get("http_proxy")
    os.environ["http_proxy"] = "http://127.0.0.1:9"
    try:
        issuer.answers[JWKS_PATH] = answer({})
        assert fetched(issuer.jwks_url).body == b"{}"
    finally:
        del os.environ["http_proxy"]
        if before is not None:
            os.environ["http_proxy"] = before


def test_client_certificate_is_presented(
    secure: ScriptedIssuer, pki: Pki, trusting: HttpSettings, tmp_path: Path
) -> None:
    secure.answers[JWKS_PATH] = answer({})
    files = pki.client.write(tmp_path, "client")
    fetched(
        secure.jwks_url,
        replace(trusting, certificate_file=files.certificate, private_key_file=files.private_key),
    )
    assert secure.requests[-1].client_certificate == pki.client.der


def test_certificate_the_issuer_refuses_is_named_tls(pki: Pki, trusting: HttpSettings) -> None:
    context = server_context(pki.server, [pki.client_authority.certificate])
    context.verify_mode = ssl.CERT_REQUIRED

    async def scenario() -> FetchFailed:
        server = await asyncio.start_server(
            lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=context
        )
        client = HttpClient.create(trusting)
        try:
            with pytest.raises(FetchFailed) as caught:
                await client.get(f"https://localhost:{server.sockets[0].getsockname()[1]}/jwks", JSON)
            return caught.value
        finally:
            await client.close()
            server.close()
            await until(lambda: open_connections() == [])  # those of failed handshakes end in the background

    assert asyncio.run(scenario()).phase in {"tls", "connect"}  # TLS 1.3: the alert races with the request


def test_changed_certificate_authority_is_taken_up(
    secure: ScriptedIssuer, pki: Pki, trusting: HttpSettings, tmp_path: Path
) -> None:
    secure.answers[JWKS_PATH] = answer({})
    bundle = tmp_path / "changing.pem"
    bundle.write_bytes(certificate_pem(pki.client_authority.certificate))

    async def scenario() -> None:
        client = HttpClient.create(replace(trusting, ca_file=bundle))
        try:
            with pytest.raises(FetchFailed, match="tls"):
                await client.get(secure.jwks_url, JSON)
            bundle.write_bytes(b"half written")
            await asyncio.sleep(1.05)
            with pytest.raises(FetchFailed, match="tls"):
                await client.get(secure.jwks_url, JSON)
            assert trusting.ca_file is not None
            shutil.copy(trusting.ca_file, bundle)
            await asyncio.sleep(1.05)
            assert (await client.get(secure.jwks_url, JSON)).body == b"{}"
        finally:
            await client.close()

    asyncio.run(scenario())


def test_unknown_certificate_file_is_an_error_at_start(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        HttpClient.create(HttpSettings(ca_file=tmp_path / "missing.pem"))


def test_scripted_answer_keeps_its_type(issuer: ScriptedIssuer) -> None:
    issuer.answers[JWKS_PATH] = answer(b"<html>", content_type="text/html")
    assert fetched(issuer.jwks_url).media_type == "text/html"


# --- the end


def open_connections() -> list[object]:
    """What the running loop still has."""
    transports: Mapping[int, Any] = asyncio.get_running_loop()._transports  # type: ignore[attr-defined] # private
    return [one for one in transports.values() if one._sock is not None]


def test_a_closed_client_leaves_no_connection_to_the_loop(pki: Pki, tmp_path: Path) -> None:
    """A document has a connection of its own, whose TLS goodbye is under way when the client closes."""
    authority = tmp_path / "ca.crt"
    authority.write_bytes(pki.server_authority.pem)

    async def scenario(url: str) -> list[object]:
        client = HttpClient.create(replace(PLAIN, ca_file=authority))
        await client.get(url, JSON)
        await client.close()
        return open_connections()

    with ScriptedIssuer([], certificate=pki.server) as issuer:
        assert asyncio.run(scenario(issuer.jwks_url)) == []


def test_a_client_can_be_closed_by_two_at_once_and_again() -> None:
    async def scenario(url: str) -> None:
        client = HttpClient.create(PLAIN)
        await client.get(url, JSON)
        await client.post(url.replace(JWKS_PATH, INTROSPECTION_PATH), {"token": "t"}, {}, 1000)
        await asyncio.gather(client.close(), client.close())
        await client.close()

    with ScriptedIssuer([]) as issuer:
        asyncio.run(scenario(issuer.jwks_url))
