"""Certificates as partners bring them: what OpenSSL accepted is served, recorded and explained, whatever it says."""

import json
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from OpenSSL import SSL

from sidecar.command.cli import main
from tests.process.endpoints.test_admin import ask
from tests.process.world import get, sidecar
from tests.support.configuration import Configuration
from tests.support.mint import SigningKey, jwks
from tests.support.odd_certificates import (
    ALL,
    READABLE,
    REFUSED,
    UNREADABLE_NAMES,
    UNREADABLE_SUBJECT,
    OddCertificate,
    pem,
)
from tests.support.pki import Pki, certificate_pem
from tests.support.processes import eventually
from tests.support.recorder import Recorder
from tests.support.sidecar import Sidecar, listener, policy
from tests.support.tls_client import Wire

POLICY = policy(
    rules=[
        {"name": name, "match": {"path": f"/{name}"}, "require": {"client_certificate": {name: value}}}
        for name, value in [("subject", "CN=client"), ("issuer", "CN=client"), ("san_dns", "client.example")]
    ]
    + [{"name": "rest", "match": {"path": "/**"}}]
)
PATHS = ("/subject", "/issuer", "/san_dns", "/", "/")


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory, pki: Pki, signing_key: SigningKey) -> Iterator[Sidecar]:
    folder = tmp_path_factory.mktemp("odd")
    with sidecar(folder, pki, signing_key, policy_document=POLICY) as (running, _):
        yield running


class Lenient:
    """A socket with the client's TLS by pyOpenSSL: it loads any certificate, and looks into none."""

    def __init__(self, port: int, odd: OddCertificate) -> None:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        with tempfile.TemporaryDirectory() as folder:
            files = odd.write(Path(folder), "client")
            context.use_certificate_file(str(files.certificate))
            context.use_privatekey_file(str(files.private_key))
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.tls = SSL.Connection(context, self.socket)
        self.tls.set_connect_state()
        self.sendall, self.recv = self.tls.sendall, self.tls.recv

    def settimeout(self, _seconds: float) -> None:
        """The server answers, or the test runner's own timeout ends the wait."""

    def close(self) -> None:
        self.socket.close()


def lenient(port: int, odd: OddCertificate) -> Wire:
    return Wire(cast(socket.socket, Lenient(port, odd)))


def expected(kind: str) -> list[int]:
    """The status of each of `PATHS`: only the conditions on a name that cannot be read, or is another, fail."""
    subject = 200 if ALL[kind].presented.subject == "CN=client" else 403
    names = 403 if kind in UNREADABLE_NAMES or kind == "explicit version 1" else 200
    return [subject, subject, names, 200, 200]


def records(one: Sidecar, thumbprint: str, count: int) -> list[dict[str, Any]]:
    """The records of a certificate, once there are `count`."""

    def told() -> list[dict[str, Any]]:
        return [line for line in one.access_log() if line.get("presented_thumbprint") == thumbprint]

    eventually(lambda: len(told()) >= count, what=f"{count} records")
    return told()


@pytest.mark.parametrize("kind", ALL)
def test_what_openssl_accepts_is_served_with_one_record_a_request(
    one: Sidecar, signing_key: SigningKey, kind: str
) -> None:
    odd = ALL[kind]
    token = signing_key.token(odd.thumbprint)
    with lenient(one.port, odd) as wire:
        assert [wire.request(target=path, token=token).status for path in PATHS] == expected(kind)
    told = records(one, odd.thumbprint, len(PATHS))
    assert [line["path"] for line in told] == list(PATHS)
    for line in told:
        assert line["certificate_subject"].startswith("unreadable (") == (
            kind in UNREADABLE_SUBJECT or kind == "version 4"
        )
        assert "incomplete" not in line
    for line in told[:3]:
        for failure in line.get("failures", ()):
            assert failure["presented"].startswith("unreadable (") == (kind not in READABLE)
    status, body = get(f"{one.admin_url}/decisions", **one.admin_headers)
    assert status == 200
    assert odd.thumbprint in body
    assert "DeprecationWarning" not in one.log.read_text()


@pytest.mark.parametrize("kind", REFUSED)
def test_what_openssl_does_not_accept_is_one_line_everywhere(
    one: Sidecar, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "client.crt").write_bytes(REFUSED[kind].pem)
    assert main(["thumbprint", str(tmp_path / "client.crt")]) == 1
    assert capsys.readouterr().err == f"{tmp_path}/client.crt: line 1: a broken certificate\n"
    question = {"token": "x", "certificate": REFUSED[kind].pem.decode(), "url": "/x"}
    status, _, body = ask(one, "/explain", "POST", question)
    assert (status, "certificate: line 1: a broken certificate" in body) == (400, True)


@pytest.mark.parametrize("kind", ALL)
def test_explain_tells_of_it_like_of_any_other(
    tmp_path: Path, pki: Pki, signing_key: SigningKey, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    odd, configuration = ALL[kind], Configuration.create(tmp_path, pki)
    configuration.write_policy(
        "issuers:\n  - issuer: https://as.example.com\n    audience: https://api.example.com\n"
        "    keys: {jwks_file: jwks.json}\nrules:\n  - name: one\n    match: {path: /**}\n"
        "    require: {client_certificate: {subject: CN=client, san_dns: client.example}}\n"
    )
    (tmp_path / "policies" / "jwks.json").write_text(json.dumps(jwks(signing_key)))
    (tmp_path / "client.crt").write_bytes(odd.pem + certificate_pem(pki.client.certificate))
    words = ["explain", "--config", str(configuration.file), "--certificate", str(tmp_path / "client.crt")]
    for bound_to in (odd.thumbprint, pki.client.thumbprint, pki.server.thumbprint, "A" * 43):
        code = main([*words, "--token", signing_key.token(bound_to), "--format", "json"])
        said = capsys.readouterr()
        assert said.err == ""
        document = json.loads(said.out)
        good = bound_to == odd.thumbprint and expected(kind)[0] == expected(kind)[2] == 200
        assert (code, document["permit"]) == (0 if good else 1, good)
    assert main(["thumbprint", str(tmp_path / "client.crt")]) == 0
    assert capsys.readouterr().out == f"{odd.thumbprint}\n"


@pytest.mark.parametrize("kind", ALL)
def test_the_admin_page_explains_it_like_any_other(
    one: Sidecar, signing_key: SigningKey, kind: str, pki: Pki
) -> None:
    for bound_to in (ALL[kind].thumbprint, pki.server.thumbprint):
        question = {"token": signing_key.token(bound_to), "certificate": ALL[kind].pem.decode(), "url": "/x"}
        status, _, body = ask(one, "/explain", "POST", question)
        assert status == 200
        assert json.loads(body)["permit"] is (bound_to == ALL[kind].thumbprint)


@pytest.mark.parametrize("kind", ["T61String beyond ASCII", "an x400Address", "version 4", "serial number 0"])
def test_what_check_calls_good_serves_as_server_certificate_and_as_authority(
    tmp_path: Path, pki: Pki, signing_key: SigningKey, kind: str
) -> None:
    with Recorder() as upstream:
        one = Sidecar(
            tmp_path, pki, upstream.url, keys=[signing_key], server=ALL[kind], service={"listeners": None}
        )
        authorities = tmp_path / "tls" / "client-ca.crt"
        authorities.write_bytes(b"".join(odd.pem for odd in ALL.values()) + authorities.read_bytes())
        document = one.service_document(upstream.url)
        one.write_service({**document, "listeners": [listener(one.port, trust="ca")]})
        assert main(["check", "--config", str(one.config)]) == 0
        with one:
            with Wire.tls(one.port, pki.client) as wire:
                assert wire.request(target="/public/x").status == 200
            status, body = get(f"{one.admin_url}/state", **one.admin_headers)
            assert status == 200
            subjects = {each["use"]: each["subject"] for each in json.loads(body)["certificates"]}
            assert ALL[kind].presented.called in subjects.values()


def test_one_broken_authority_among_many_is_named_by_its_line(
    tmp_path: Path, pki: Pki, capsys: pytest.CaptureFixture[str]
) -> None:
    configuration = Configuration.create(tmp_path, pki)
    configuration.write_service(
        configuration.file.read_text().replace(
            "server.key}\n", "server.key}\n    client_certificate: {trust: ca, ca_file: ca.crt}\n"
        )
    )
    good = certificate_pem(pki.client_authority.certificate)
    before = good * 100
    (tmp_path / "ca.crt").write_bytes(before + REFUSED["UTCTime without seconds"].pem + good * 49)
    assert main(["check", "--config", str(configuration.file)]) == 0
    line = before.count(b"\n") + 1
    assert f"/ca.crt`: line {line}: a broken certificate" in capsys.readouterr().out
    (tmp_path / "ca.crt").write_bytes(before + UNREADABLE_SUBJECT["a SEQUENCE"].pem + good * 49)
    assert main(["check", "--config", str(configuration.file)]) == 0
    assert pem(UNREADABLE_SUBJECT["a SEQUENCE"].der) in (tmp_path / "ca.crt").read_bytes()
