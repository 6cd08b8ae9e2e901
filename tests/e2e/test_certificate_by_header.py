"""A running sidecar behind a proxy that ends the clients' TLS and tells their certificates (RFC 9440)."""

import asyncio
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from sidecar.http.certificate_field import CertificateFormat, FieldCertificates, emit
from tests.process.world import fast
from tests.support.mint import SigningKey
from tests.support.pki import Authority, Identity, Pki, Profile, certificate_der, certificate_pem
from tests.support.processes import eventually
from tests.support.recorder import Recorder
from tests.support.sidecar import Sidecar
from tests.support.spiffe import svid
from tests.support.tls_client import Response, Wire, client_context

FORMAT = CertificateFormat.RFC9440
TLS = {"certificate_file": "tls/tls.crt", "private_key_file": "tls/tls.key"}
LOOPBACK = {"network": "127.0.0.0/8"}
Running = tuple[Sidecar, Recorder]


def told(*proxies: Mapping[str, Any], **others: Any) -> dict[str, Any]:
    return {"source": "header", "header": {"format": FORMAT.value}, "proxies": list(proxies), **others}


@contextmanager
def running(
    folder: Path,
    pki: Pki,
    key: SigningKey,
    certificate: Mapping[str, Any],
    to_api: Mapping[str, Any] | None = None,
    **listener: Any,
) -> Iterator[Running]:
    """A sidecar with one listener: with TLS on a port, unless `listener` says otherwise; `to_api` is of `upstream`."""
    with Recorder() as upstream:
        one = Sidecar(folder, pki, upstream.url, keys=[key])
        entry = {"name": "main", "address": f"127.0.0.1:{one.port}", "client_certificate": dict(certificate)}
        document = fast(one.service_document(upstream.url))
        document["listeners"] = [entry | (listener or {"tls": TLS})]
        document["upstream"] |= to_api or {}
        one.write_service(document)
        with one:
            yield one, upstream


def fields(token: str, identity: Identity | None) -> list[tuple[str, str]]:
    found = [("Authorization", f"Bearer {token}")]
    if identity is not None:
        behind = tuple(map(certificate_der, identity.chain))
        value, chain = emit(FORMAT, FieldCertificates(identity.der, behind))
        found.append(("Client-Cert", value.decode()))
        if chain:
            found.append(("Client-Cert-Chain", chain.decode()))
    return found


def ask(wire: Wire, token: str, identity: Identity | None, path: str = "/x") -> Response:
    return wire.request("GET", path, fields(token, identity))


def refused(wire: Wire, token: str, identity: Identity | None) -> tuple[int, str]:
    answer = ask(wire, token, identity)
    return answer.status, answer.json()["reason"]


def record(one: Sidecar, number: int) -> dict[str, Any]:
    eventually(lambda: len(one.access_log()) >= number, what=f"{number} records")
    return one.access_log()[number - 1]


def test_neighbour_on_a_unix_socket_tells_the_certificate(
    tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> None:
    path, client, thief = tmp_path / "s.sock", pki.self_signed_client, pki.other_client
    token, certificate = signing_key.token(client), told({"unix_user": os.getuid()})
    with running(tmp_path, pki, signing_key, certificate, address=f"unix://{path}") as (one, upstream):
        with Wire.plain(path) as wire:
            assert ask(wire, token, client).status == 200
            assert refused(wire, token, thief) == (401, "binding_mismatch")
            assert refused(wire, token, None) == (401, "certificate_missing")
            assert ask(wire, token, client).status == 200
        assert not [name for seen in upstream.seen for name, _ in seen.headers if "cert" in name.lower()]
        line = record(one, 2)
        assert line["certificate_source"] == "header"
        assert line["certificate_proxy"] == f"unix user {os.getuid()}"
        assert line["presented_thumbprint"] == thief.thumbprint


def test_user_that_is_not_listed_is_not_believed(tmp_path: Path, pki: Pki, signing_key: SigningKey) -> None:
    path, certificate = tmp_path / "s.sock", told({"unix_user": os.getuid() + 1})
    with running(tmp_path, pki, signing_key, certificate, address=f"unix://{path}") as (one, upstream):
        with Wire.plain(path) as wire:
            answer = refused(wire, signing_key.token(pki.client), pki.client)
            assert answer == (400, "certificate_header_untrusted")
        assert upstream.seen == []
        assert record(one, 1)["certificate_proxy"] == ""


def test_proxy_is_known_by_its_own_certificate_and_never_taken_for_the_client(
    tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> None:
    mesh, other_mesh = Authority.root("mesh"), Authority.root("another mesh")
    ingress = svid(mesh.intermediate(), "/ns/ingress/envoy")
    (tmp_path / "mesh.crt").write_bytes(certificate_pem(mesh.certificate))
    certificate = told({"spiffe_id": "spiffe://bank.example/ns/ingress/**", "ca_file": "mesh.crt"})
    token, of_proxy = signing_key.token(pki.client), signing_key.token(ingress)
    with running(tmp_path, pki, signing_key, certificate) as (one, _):
        for _ in range(2):  # a session that could be resumed would lose the chain
            with one.connect(ingress) as wire:
                assert ask(wire, token, pki.client).status == 200
                assert refused(wire, of_proxy, None) == (401, "certificate_missing")
                assert refused(wire, of_proxy, ingress) == (400, "certificate_header_malformed")
        assert record(one, 1)["certificate_proxy"] == "spiffe://bank.example/ns/ingress/envoy"
        for stranger in (svid(other_mesh, "/ns/ingress/envoy"), svid(mesh, "/ns/shop/web"), pki.client, None):
            with one.connect(stranger) as wire:
                assert refused(wire, token, pki.client) == (400, "certificate_header_untrusted")


def test_proxy_may_be_pinned_by_its_thumbprint(tmp_path: Path, pki: Pki, signing_key: SigningKey) -> None:
    certificate = told({"thumbprint": pki.self_signed_client.thumbprint})
    token = signing_key.token(pki.client)
    with running(tmp_path, pki, signing_key, certificate) as (one, _):
        with one.connect(pki.self_signed_client) as wire:
            assert ask(wire, token, pki.client).status == 200
        with one.connect(pki.other_client) as wire:
            assert refused(wire, token, pki.client) == (400, "certificate_header_untrusted")


def test_network_is_that_of_the_tcp_peer_whatever_is_forwarded(
    tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> None:
    """Neither the PROXY protocol nor Forwarded moves a peer into a listed network, or out of one."""
    token, claimed = signing_key.token(pki.client), b"PROXY TCP4 203.0.113.9 127.0.0.1 5000 443\r\n"
    others: dict[str, Any] = {
        "tls": TLS,
        "proxy_protocol_from": ["127.0.0.0/8"],
        "forwarded_from": ["127.0.0.0/8"],
    }
    outside = told({"network": "203.0.113.0/24"})
    with running(tmp_path / "outside", pki, signing_key, outside, **others) as (one, _):
        with one.connect(preamble=claimed) as wire:
            sent = [*fields(token, pki.client), ("X-Forwarded-For", "203.0.113.9")]
            assert wire.request("GET", "/x", sent).status == 400
        assert record(one, 1)["detail"] == "client-cert from 127.0.0.1, which is not in `proxies`"
    with running(tmp_path / "inside", pki, signing_key, told(LOOPBACK), **others) as (one, _):
        with one.connect(preamble=claimed) as wire:
            assert ask(wire, token, pki.client).status == 200
        assert record(one, 1)["peer"].startswith("203.0.113.9:")


def test_chain_is_verified_here_and_a_revoked_certificate_refused_at_once(
    tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> None:
    root = Authority.root("clients")
    middle = root.intermediate()
    client = middle.issue(Profile("client-1"))
    (tmp_path / "root.crt").write_bytes(certificate_pem(root.certificate))
    crl = tmp_path / "clients.crl"
    crl.write_bytes(root.revocation_list() + middle.revocation_list())
    certificate = told(LOOPBACK, trust="ca", ca_file="root.crt", crl_file="clients.crl")
    token, unchained = signing_key.token(client), Identity(client.certificate, client.key)
    with running(tmp_path, pki, signing_key, certificate) as (one, _), one.connect() as wire:
        assert ask(wire, token, client).status == 200
        for other in (unchained, pki.stranger, pki.self_signed_client, middle.expired()):
            assert refused(wire, signing_key.token(other), other) == (400, "certificate_refused")
        assert ask(wire, token, client).status == 200
        crl.write_bytes(root.revocation_list() + middle.revocation_list(client))
        eventually(lambda: ask(wire, token, client).status == 400, what="the new list to count")
        assert refused(wire, token, client) == (400, "certificate_refused")
        eventually(lambda: "revoked" in one.access_log()[-1].get("detail", ""), what="the record of it")


def test_api_is_told_the_chain_that_the_proxy_told_and_nothing_else(
    tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> None:
    client = pki.client_authority.intermediate().issue(Profile("client-1"))
    token, header = signing_key.token(client), {"format": "rfc9440", "chain": True}
    certificate, more = told(LOOPBACK), {"client_certificate_header": header}
    with running(tmp_path, pki, signing_key, certificate, more) as (one, upstream), one.connect() as wire:
        answer = ask(wire, token, client)
        assert (answer.status, answer.header("Vary")) == (200, "Client-Cert, Client-Cert-Chain")
        (seen,) = upstream.seen
        told_on = {name: seen.all(name) for name in ("Client-Cert", "Client-Cert-Chain")}
        assert {name: [value] for name, value in fields(token, client)[1:]} == told_on


def test_chain_of_a_clients_own_handshake_is_told_and_no_session_resumed(
    tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> None:
    client = pki.client_authority.intermediate().issue(Profile("client-1"))
    token, header = signing_key.token(client), {"format": "rfc9440", "chain": True}
    more = {"client_certificate_header": header}
    with running(tmp_path, pki, signing_key, {"trust": "any"}, more) as (one, api):
        context = client_context(client)
        session = None
        for _ in range(2):
            with one.connect(context=context, session=session) as wire:
                assert wire.request("GET", "/x", [("Authorization", f"Bearer {token}")]).status == 200
                session = wire.session
        chains = [seen.all("Client-Cert-Chain") for seen in api.seen]
        assert chains == [[fields(token, client)[2][1]]] * 2


def test_streams_of_one_http2_connection_each_have_their_own_client(
    tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> None:
    """Many at once, on the connection of one proxy."""
    people = [pki.client, pki.other_client, pki.self_signed_client]
    tokens = [signing_key.token(one) for one in people]
    asked = [(owner, shown) for owner in range(3) for shown in range(3) for _ in range(12)]
    listener: dict[str, Any] = {"tls": TLS, "protocols": ["h2"]}

    async def all_at_once(one: Sidecar) -> list[httpx.Response]:
        async with httpx.AsyncClient(http2=True, verify=client_context(alpn=["h2"]), timeout=60) as client:
            url = f"https://127.0.0.1:{one.port}/x"
            await client.get(url)  # one connection, which the others then share
            asking = [
                client.get(f"{url}/{at}", headers=dict(fields(tokens[owner], people[shown])))
                for at, (owner, shown) in enumerate(asked)
            ]
            return await asyncio.gather(*asking)

    with running(tmp_path, pki, signing_key, told(LOOPBACK), **listener) as (one, _):
        answers = asyncio.run(all_at_once(one))
        assert {answer.http_version for answer in answers} == {"HTTP/2"}
        assert [answer.status_code for answer in answers] == [200 if a == b else 401 for a, b in asked]
        record(one, len(asked) + 1)
        by_path = {line["path"]: line for line in one.access_log()}
    assert len({line["peer"] for line in by_path.values()}) == 1
    for at, (owner, shown) in enumerate(asked):
        line = by_path[f"/x/{at}"]
        assert line["presented_thumbprint"] == people[shown].thumbprint
        assert line["expected_thumbprint"] == people[owner].thumbprint
        assert (line["protocol"], line["certificate_proxy"]) == ("h2", "127.0.0.1")


def test_neighbour_that_is_listed_may_forward_where_a_request_came_from(
    tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> None:
    """And a user that is not listed may not, on the same socket."""
    path, token = tmp_path / "s.sock", signing_key.token(pki.client)
    others = {"address": f"unix://{path}", "forwarded_from": ["unix"]}
    claimed = [("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-Proto", "https")]
    for user, seen_as in ((os.getuid(), "203.0.113.9, unknown"), (os.getuid() + 1, "unknown")):
        certificate = told({"unix_user": user})
        with running(tmp_path, pki, signing_key, certificate, None, **others) as (one, upstream):
            with Wire.plain(path) as wire:
                sent = fields(token, pki.client if user == os.getuid() else None)
                wire.request("GET", "/public/x", [*sent, *claimed])
            (seen,) = upstream.seen
            assert seen.all("X-Forwarded-For") == [seen_as]
            assert one.process.is_running
