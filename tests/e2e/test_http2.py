"""Ordinary clients of HTTP/2 are served through the sidecar's own process: curl, httpx, Node and Java's."""

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates

from tests.process.world import figures
from tests.real.clients import HERE, Curl, node_http2
from tests.real.upstreams import Upstream
from tests.support.debian import program
from tests.support.mint import SigningKey
from tests.support.pki import Pki, certificate_pem
from tests.support.processes import eventually
from tests.support.sidecar import Sidecar, listener
from tests.support.tls_client import client_context

pytestmark = pytest.mark.real


@pytest.fixture
def sidecar(tmp_path: Path, pki: Pki, signing_key: SigningKey, node_upstream: Upstream) -> Iterator[Sidecar]:
    made = Sidecar(tmp_path / "sidecar", pki, node_upstream.url, keys=[signing_key])
    document = made.service_document(node_upstream.url)
    document["listeners"] = [listener(made.port) | {"protocols": ["h2", "http/1.1"]}]
    made.write_service(document)
    with made:
        yield made


@pytest.fixture
def token(pki: Pki, signing_key: SigningKey) -> str:
    return signing_key.token(pki.client)


@pytest.fixture
def client(sidecar: Sidecar, pki: Pki, token: str) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=sidecar.url,
        verify=client_context(pki.client, pki.server_authority.certificate),
        headers={"Authorization": f"Bearer {token}"},
        http2=True,
        http1=False,
        trust_env=False,
        timeout=60,
    ) as made:
        yield made


def node(pki: Pki, sidecar: Sidecar, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What Node's client got, all asked at once on one connection."""
    return node_http2(sidecar.url, pki, pki.client, requests)


def protocols(sidecar: Sidecar) -> list[str]:
    """What the connection of each request spoke."""
    return [record["protocol"] for record in sidecar.access_log()]


def peers(sidecar: Sidecar, requests: int) -> int:
    """Connections over which so many requests came."""
    eventually(lambda: len(sidecar.access_log()) == requests, what="all records")
    return len({record["peer"] for record in sidecar.access_log()})


def test_curl_is_served(sidecar: Sidecar, curl: Curl, token: str) -> None:
    answer = curl(f"{sidecar.url}/accounts/1?a=b%20c", "--http2", token=token)
    assert (answer.code, answer.status) == (0, 200), answer.errors
    assert answer.headers.startswith("HTTP/2 200")
    assert answer.json()["path"] == "/accounts/1?a=b%20c"
    assert curl(f"{sidecar.url}/accounts/1", "--http2").status == 401
    assert curl(f"{sidecar.url}/accounts/1", token=token).headers.startswith("HTTP/1.1 200")
    eventually(lambda: protocols(sidecar) == ["h2", "h2", "http/1.1"], what="three records")


def test_curl_uploads_and_downloads(sidecar: Sidecar, curl: Curl, token: str, tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_bytes(os.urandom(3_000_001))
    answer = curl(f"{sidecar.url}/accounts/1", "--http2", "--upload-file", str(body), token=token)
    assert (answer.code, answer.status) == (0, 200), answer.errors
    assert answer.json()["body"]["sha256"] == hashlib.sha256(body.read_bytes()).hexdigest()
    answer = curl(f"{sidecar.url}/accounts/1?stream=5000001", "--http2", token=token)
    assert (answer.code, answer.size) == (0, 5_000_001), answer.errors


def test_httpx_keeps_one_connection(client: httpx.Client, sidecar: Sidecar) -> None:
    for number in range(20):
        answer = client.get(f"/accounts/{number}", headers={"Cookie": "a=1; b=2"})
        assert (answer.status_code, answer.http_version) == (200, "HTTP/2")
        assert answer.json()["path"] == f"/accounts/{number}"
    assert peers(sidecar, 20) == 1


def test_httpx_reads_events_as_they_come(client: httpx.Client) -> None:
    with client.stream("GET", "/accounts/1?events=3&every=0.05") as answer:
        assert sum(line.startswith("data: ") for line in answer.iter_lines()) == 3


def test_streams_under_way_are_a_figure(client: httpx.Client, sidecar: Sidecar) -> None:
    def under_way() -> tuple[float, float]:
        counted = figures(sidecar)
        return counted[("sidecar_http2_streams",)], counted[("sidecar_requests_in_progress",)]

    assert under_way() == (0, 0)
    with client.stream("GET", "/accounts/1?events=1000&every=0.05"):
        eventually(lambda: under_way() == (1, 1))
    eventually(lambda: under_way() == (0, 0))


def test_node_asks_many_at_once_on_one_connection(sidecar: Sidecar, pki: Pki, token: str) -> None:
    headers = {"authorization": f"Bearer {token}"}
    requests: list[dict[str, Any]] = [
        {"path": f"/accounts/{number}", "headers": headers} for number in range(60)
    ]
    requests += [
        {"path": "/accounts/up", "method": "POST", "headers": headers, "body": "x" * 300_000},
        {"path": "/accounts/trailers?trailers", "headers": headers},
        {"path": "/accounts/1"},
    ]
    *got, posted, trailed, refused = node(pki, sidecar, requests)
    assert [answer["status"] for answer in got] == [200] * 60
    assert json.loads(posted["text"])["body"]["size"] == 300_000
    assert trailed["trailers"]["x-digest"] == "of the body"
    assert (refused["status"], refused["error"]) == (401, "")
    assert peers(sidecar, 63) == 1


@pytest.mark.timeout(150)  # a virtual machine that compiles its program first, on a busy machine
def test_the_client_of_the_jdk_asks_many_at_once_on_one_connection(
    sidecar: Sidecar, pki: Pki, token: str, tmp_path: Path
) -> None:
    """Its client certificate is in a PKCS #12 file."""
    identity, password, authority = pki.client, "changeit", tmp_path / "ca.crt"
    authority.write_bytes(certificate_pem(pki.server_authority.certificate))
    store = tmp_path / "client.p12"
    protection = BestAvailableEncryption(password.encode())
    store.write_bytes(
        serialize_key_and_certificates(b"client", identity.key, identity.certificate, None, protection)
    )
    command = [program("java", "default-jdk-headless"), str(HERE / "Http2Client.java")]
    arguments = [str(store), password, str(authority), f"{sidecar.url}/accounts/1", token]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, timeout=140)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["HTTP_2 200"] * 52 + ["HTTP_2 401"]
    assert peers(sidecar, 53) == 1


def test_metrics_count_connections_by_protocol(sidecar: Sidecar, client: httpx.Client) -> None:
    client.get("/accounts/1")
    text = httpx.get(f"{sidecar.health_url}/metrics", trust_env=False, timeout=60).text
    lines = re.findall(r'^sidecar_tls_handshakes_negotiated_total\{.*protocol="h2".*', text, re.MULTILINE)
    assert lines, text
