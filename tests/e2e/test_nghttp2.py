"""HTTP/2 with nghttp2's programs and nginx at the other end: as APIs over TLS and in the clear, and as clients."""

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from sidecar.proxy.upstream.pool import NO_HTTP2
from tests.real import upstreams
from tests.real.clients import Curl, httpx_client, node_http2
from tests.real.nghttp2 import Nghttpd, h2load, nghttp, nghttp_lines, nghttpd
from tests.real.upstreams import Upstream
from tests.support.mint import SigningKey
from tests.support.pki import Pki, certificate_pem
from tests.support.processes import eventually
from tests.support.sidecar import Sidecar, listener
from tests.support.tls_client import Wire

pytestmark = pytest.mark.real

Start = Callable[..., Sidecar]


@pytest.fixture
def start(tmp_path: Path, pki: Pki, signing_key: SigningKey) -> Iterator[Start]:
    """Sidecars that speak HTTP/2 on both sides, or whatever else `upstream` says."""
    with ExitStack() as stack:

        def of(url: str, *, ready: bool = True, **upstream: Any) -> Sidecar:
            made = Sidecar(tmp_path / "sidecar", pki, url, keys=[signing_key])
            document = made.service_document(url)
            document["listeners"] = [listener(made.port) | {"protocols": ["h2", "http/1.1"]}]
            document["upstream"] = {"url": url, "protocol": "h2", **upstream}
            if url.startswith("https:"):
                authority = tmp_path / "upstream-ca.crt"
                authority.write_bytes(certificate_pem(pki.server_authority.certificate))
                document["upstream"]["tls"] = {"ca_file": str(authority)}
            made.write_service(document)
            stack.callback(made.stop)
            return made.start() if ready else made.start_unready()

        yield of


@pytest.fixture
def token(pki: Pki, signing_key: SigningKey) -> str:
    return signing_key.token(pki.client)


# --- APIs


@pytest.fixture(params=["TLS", "in the clear"])
def api(request: pytest.FixtureRequest, tmp_path: Path, pki: Pki) -> Iterator[Nghttpd]:
    with nghttpd(tmp_path, pki.server if request.param == "TLS" else None) as running:
        yield running


@pytest.mark.parametrize("version", ["--http2", "--http1.1"])
def test_nghttpd_is_served(api: Nghttpd, start: Start, curl: Curl, token: str, version: str) -> None:
    sidecar, content = start(api.url), os.urandom(1_000_003)
    file = api.folder / "accounts" / "1"
    file.parent.mkdir()
    file.write_bytes(content)
    got = curl(f"{sidecar.url}/accounts/1", version, token=token)
    assert (got.code, got.status, got.body) == (0, 200, content), got.errors
    sent = curl(f"{sidecar.url}/accounts/1", version, "--upload-file", str(file), token=token)
    assert (sent.code, sent.status, sent.body) == (0, 200, content), sent.errors
    assert curl(f"{sidecar.url}/accounts/1", version).status == 401
    assert api.connections() == 1


def test_trailers_of_nghttpd_arrive(tmp_path: Path, pki: Pki, start: Start, token: str) -> None:
    with nghttpd(tmp_path, pki.server, "--trailer=x-sum: 1") as api:
        (api.folder / "accounts").mkdir()
        (api.folder / "accounts" / "1").write_bytes(b"1")
        printed = nghttp(pki.client, tmp_path, token, f"{start(api.url).url}/accounts/1")
    assert re.search(r"recv \(stream_id=\d+\) x-sum: 1", printed)


def test_no_request_is_lost_when_nginx_says_goaway(
    tmp_path: Path, pki: Pki, start: Start, token: str
) -> None:
    """After ten requests of a connection nginx sends GOAWAY, whatever else is on its way."""
    headers = {"authorization": f"Bearer {token}"}
    asked = [{"path": f"/accounts/{number}", "headers": headers} for number in range(100)]
    with upstreams.nginx_of_http2(tmp_path, pki.server) as url:
        answers = node_http2(start(url).url, pki, pki.client, asked)
    assert [answer["status"] for answer in answers] == [200] * 100
    got = [json.loads(answer["text"]) for answer in answers]
    assert [each["path"] for each in got] == [f"/accounts/{number}" for number in range(100)]
    assert {each["protocol"] for each in got} == {"HTTP/2.0"}
    assert len({each["connection"] for each in got}) >= 10


def refused(sidecar: Sidecar, pki: Pki, token: str) -> dict[str, Any]:
    """The record of a request that the API did not answer; the client is told the reason, and no more."""
    with httpx_client(sidecar.url, pki.server_authority.certificate, pki.client, token) as asks:
        answer = asks.get("/accounts/1")
    assert answer.status_code == 502
    eventually(lambda: bool(sidecar.access_log()), what="a record")
    (record,) = sidecar.access_log()
    assert record["reason"] == answer.json()["reason"]
    return record


def test_an_api_over_tls_without_http2_is_named_as_what_it_is(
    tmp_path: Path, pki: Pki, start: Start, token: str
) -> None:
    with upstreams.nginx_behind_tls(tmp_path, pki.server, pki.client_authority) as port:
        record = refused(start(f"https://localhost:{port}", ready=False), pki, token)
    assert (record["reason"], record["detail"]) == ("upstream_refused", NO_HTTP2)


def test_an_api_in_the_clear_without_http2_is_named_as_what_it_is(
    flask_upstream: Upstream, pki: Pki, start: Start, token: str
) -> None:
    record = refused(start(flask_upstream.url, ready=False), pki, token)
    assert (record["reason"], record["detail"]) == ("upstream_refused", NO_HTTP2)


# --- clients


def test_nghttp_is_served_many_at_once_on_one_connection(
    tmp_path: Path, pki: Pki, start: Start, node_upstream: Upstream, token: str
) -> None:
    sidecar = start(node_upstream.url, protocol="http/1.1")
    printed = nghttp(
        pki.client, tmp_path, token, *(f"{sidecar.url}/accounts/{number}" for number in range(20))
    )
    assert len(re.findall(r"recv \(stream_id=\d+\) :status: 200", printed)) == 20
    printed = nghttp(pki.client, tmp_path, None, f"{sidecar.url}/accounts/1")
    assert re.search(r"recv \(stream_id=\d+\) :status: 401", printed)
    eventually(lambda: len(sidecar.access_log()) == 21, what="all records")
    assert len({record["peer"] for record in sidecar.access_log()}) == 2


def test_a_drain_loses_no_request_of_a_client_that_honours_goaway(
    tmp_path: Path, pki: Pki, start: Start, node_upstream: Upstream, token: str
) -> None:
    sidecar = start(node_upstream.url, protocol="http/1.1")
    assert sidecar.child is not None
    seen = list[str]()
    with (
        Wire.plain(node_upstream.port) as gate,
        nghttp_lines(pki.client, tmp_path, token, f"{sidecar.url}/accounts/1?gated") as lines,
    ):
        for line in lines:
            news = [word for word in ("data: ", "recv GOAWAY") if word in line]
            seen += news
            if news and seen == ["data: "]:
                sidecar.child.signal(signal.SIGTERM)
            elif news and seen == ["data: ", "recv GOAWAY"]:  # what comes now comes after it
                for query in [""] * 38 + ["?last"]:
                    gate.request(target=f"/next{query}")
    assert seen.count("data: ") == 40
    assert seen[1] == "recv GOAWAY"
    assert sidecar.child.wait() == 0


def test_h2load_loses_no_request(
    tmp_path: Path, pki: Pki, start: Start, node_upstream: Upstream, token: str
) -> None:
    sidecar = start(node_upstream.url, protocol="http/1.1")
    printed = h2load(pki.client, tmp_path, token, "-n2000", "-c4", "-m25", f"{sidecar.url}/accounts/1")
    assert "Application protocol: h2" in printed
    assert "2000 succeeded, 0 failed, 0 errored" in printed
    assert "status codes: 2000 2xx" in printed
