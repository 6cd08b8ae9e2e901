"""`sidecar webhook` as a process, over TLS, the way an API server calls it."""

import http.client
import json
import signal
import socket
import ssl
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import replace as replace_fields
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509.oid import NameOID

from sidecar.command.admission_intake import BODIES, CONNECTIONS, MAXIMUM_BODY
from tests.injection.reviews import UID, encoded, patched, pod_as_the_api_server_has_it, review_of
from tests.injection.samples import sidecar_of
from tests.support.pki import Identity, Pki, certificate_pem
from tests.support.processes import Child, eventually, free_port, is_listening, running

COMMAND = [sys.executable, "-m", "sidecar", "webhook"]
SETTINGS = "image: registry.example/sidecar:1\nclient_ca: {config_map: clients}\n"


@dataclass(frozen=True)
class Webhook:
    """A running webhook and what a client needs to call it."""

    port: int
    tls: ssl.SSLContext
    child: Child
    directory: Path

    def call(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
        """One request on a connection of its own: the status, and the answer's JSON."""
        connection = http.client.HTTPSConnection("localhost", self.port, context=self.tls, timeout=60)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json", **headers})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def serial_number(self) -> str:
        """The serial number of the certificate that a new connection gets."""
        connection = http.client.HTTPSConnection("localhost", self.port, context=self.tls, timeout=60)
        try:
            connection.connect()
            assert isinstance(connection.sock, ssl.SSLSocket)
            certificate = connection.sock.getpeercert()
            assert certificate is not None
            return str(certificate["serialNumber"])
        finally:
            connection.close()


def serial_of(identity: Identity) -> str:
    text = f"{identity.certificate.serial_number:X}"
    return text if len(text) % 2 == 0 else f"0{text}"


@pytest.fixture(scope="module")
def webhook(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webhook]:
    directory = tmp_path_factory.mktemp("webhook")
    pki.server.write(directory, "tls")
    (directory / "injector.yaml").write_text(SETTINGS)
    (directory / "root.crt").write_bytes(pki.server_authority.pem)
    port = free_port()
    arguments = [
        *COMMAND,
        *("--settings", directory / "injector.yaml"),
        *("--certificate", directory / "tls.crt"),
        *("--private-key", directory / "tls.key"),
        *("--host", "127.0.0.1"),
        *("--port", port),
    ]
    context = ssl.create_default_context(cafile=str(directory / "root.crt"))
    with running(arguments, directory / "log", lambda: is_listening(port)) as child:
        yield Webhook(port, context, child, directory)


@pytest.fixture(scope="module")
def guarded(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webhook]:
    """One that answers only to the client named `client`."""
    directory = tmp_path_factory.mktemp("guarded")
    files = pki.server.write(directory, "tls")
    (directory / "injector.yaml").write_text(SETTINGS)
    (directory / "root.crt").write_bytes(pki.server_authority.pem)
    (directory / "client-ca.crt").write_bytes(certificate_pem(pki.client_authority.certificate))
    port = free_port()
    arguments = [*COMMAND, "--settings", directory / "injector.yaml", "--host", "127.0.0.1", "--port", port]
    arguments += ["--certificate", files.certificate, "--private-key", files.private_key]
    arguments += ["--client-ca", directory / "client-ca.crt", "--client-name", name_of(pki.client)]
    context = ssl.create_default_context(cafile=str(directory / "root.crt"))
    with running(arguments, directory / "log", lambda: is_listening(port)) as child:
        yield Webhook(port, context, child, directory)


def name_of(identity: Identity) -> str:
    (found,) = identity.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found.value)


def presenting(webhook: Webhook, identity: Identity) -> Webhook:
    files = identity.write(webhook.directory, name_of(identity))
    context = ssl.create_default_context(cafile=str(webhook.directory / "root.crt"))
    context.load_cert_chain(files.certificate, files.private_key)
    return replace_fields(webhook, tls=context)


def test_only_the_api_server_is_answered_where_its_certificate_is_known(guarded: Webhook, pki: Pki) -> None:
    body = encoded(review_of(pod_as_the_api_server_has_it()))
    assert presenting(guarded, pki.client).call("POST", "/mutate", body)[0] == 200
    for path in ("/mutate", "/mutate/enforced", "/validate"):
        status, answer = guarded.call("POST", path, body)
        assert (status, answer["detail"]) == (403, "the API server's client certificate is required")
        status, answer = presenting(guarded, pki.other_client).call("POST", path, body)
        assert (status, "another name" in answer["detail"]) == (403, True)
    assert guarded.call("GET", "/livez")[0] == 200, "the kubelet has no certificate"
    with pytest.raises((ssl.SSLError, ConnectionError)):
        presenting(guarded, pki.stranger).call("POST", "/mutate", body)


def half_a_body(webhook: Webhook, size: int) -> ssl.SSLSocket:
    """A connection that has sent all but the last byte of a body."""
    raw = socket.create_connection(("127.0.0.1", webhook.port), 20)
    wire = webhook.tls.wrap_socket(raw, server_hostname="localhost")
    head = f"POST /mutate HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n"
    wire.sendall(head.encode() + b" " * (size - 1))
    return wire


def test_bodies_that_do_not_end_take_bounded_memory_and_shut_nobody_out(webhook: Webhook) -> None:
    before = webhook.child.memory().now
    hostile = [half_a_body(webhook, MAXIMUM_BODY) for _ in range(12)]
    try:
        status, answer = webhook.call("POST", "/mutate", encoded(review_of(pod_as_the_api_server_has_it())))
        assert (status, answer["response"]["allowed"]) == (200, True)
        assert b" 503 " in hostile[0].recv(64), "the oldest left for the newest"
        grown = webhook.child.memory().now - before
        assert grown < BODIES + (24 << 20), f"{grown >> 20} MiB for {len(hostile)} half bodies"
    finally:
        for wire in hostile:
            wire.close()


def test_connections_of_one_address_are_bounded_and_shut_nobody_out(webhook: Webhook) -> None:
    def connected() -> ssl.SSLSocket:
        raw = socket.create_connection(("127.0.0.1", webhook.port), 20)
        return webhook.tls.wrap_socket(raw, server_hostname="localhost")

    def held() -> int:
        return len(list(Path(f"/proc/{webhook.child.pid}/fd").iterdir()))

    silent: list[socket.socket] = [connected() for _ in range(CONNECTIONS + 40)]
    silent += [socket.create_connection(("127.0.0.1", webhook.port), 20) for _ in range(200)]
    try:
        assert webhook.call("GET", "/readyz")[0] == 200
        eventually(lambda: held() < CONNECTIONS + 30, what="those without a handshake to be gone")
    finally:
        for wire in silent:
            wire.close()


def test_a_pod_sent_by_the_api_server_comes_back_with_a_patch(webhook: Webhook) -> None:
    pod = pod_as_the_api_server_has_it()
    status, answer = webhook.call("POST", "/mutate?timeout=10s", encoded(review_of(pod)))
    assert status == 200
    assert answer["response"]["uid"] == UID
    assert sidecar_of(patched(pod, answer["response"])["spec"])["image"] == "registry.example/sidecar:1"


def test_a_refusal_is_an_answer_and_not_an_error(webhook: Webhook) -> None:
    pod = pod_as_the_api_server_has_it(hostNetwork=True)
    status, answer = webhook.call("POST", "/mutate", encoded(review_of(pod)))
    assert (status, answer["response"]["allowed"]) == (200, False)


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        (b"hello", 400, "not JSON"),
        (
            b'{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1beta1"}',
            400,
            "only admission.k8s.io/v1",
        ),
        (b'"' + b"x" * 10_000_000 + b'"', 413, "larger than"),
    ],
    ids=["not-json", "old-version", "10-MB"],
)
def test_what_is_not_an_admission_review_gets_a_4xx_and_the_webhook_goes_on(
    webhook: Webhook, body: bytes, status: int, detail: str
) -> None:
    got, answer = webhook.call("POST", "/mutate", body)
    assert (got, answer["status"]) == (status, status)
    assert detail in answer["detail"]
    assert webhook.call("GET", "/readyz") == (200, {"status": "ok"})


def test_the_kubelet_finds_it_alive_and_ready(webhook: Webhook) -> None:
    assert [webhook.call("GET", path)[0] for path in ("/livez", "/readyz")] == [200, 200]


def test_a_renewed_certificate_is_served_and_a_broken_one_is_not(webhook: Webhook, pki: Pki) -> None:
    renewed = pki.server_authority.server()
    replace(webhook.directory / "tls.key", renewed.key_pem)
    replace(webhook.directory / "tls.crt", renewed.pem)
    eventually(lambda: webhook.serial_number() == serial_of(renewed), what="the new certificate")
    warned = warnings(webhook)  # a look between the two files warns too
    replace(webhook.directory / "tls.crt", b"half a certifica")
    eventually(lambda: warnings(webhook) > warned, what="a warning")
    assert webhook.serial_number() == serial_of(renewed)


def warnings(webhook: Webhook) -> int:
    return webhook.child.log.read_text().count("the old one stays")


def test_sigterm_ends_it_with_zero(webhook: Webhook, pki: Pki, tmp_path: Path) -> None:
    files = pki.server.write(tmp_path, "tls")
    port = free_port()
    arguments = [*COMMAND, "--settings", webhook.directory / "injector.yaml", "--host", "127.0.0.1"]
    arguments += ["--certificate", files.certificate, "--private-key", files.private_key, "--port", port]
    with running(arguments, tmp_path / "log", lambda: is_listening(port)) as child:
        child.signal(signal.SIGTERM)
        assert child.wait() == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [("image: a\nport: high\n", ":2:7: port"), (SETTINGS, "the certificate cannot be used")],
)
def test_a_webhook_that_cannot_serve_says_why_and_leaves_with_one(
    settings: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from sidecar.command.cli import main

    (tmp_path / "injector.yaml").write_text(settings)
    options = ["--settings", "injector.yaml", "--certificate", "none.crt", "--private-key", "none.key"]
    options = [str(tmp_path / one) if "." in one else one for one in options]
    assert main(["webhook", *options]) == 1
    assert message in capsys.readouterr().err


def replace(path: Path, content: bytes) -> None:
    """As Kubernetes does it: never half a file under the name."""
    fresh = path.with_suffix(".fresh")
    fresh.write_bytes(content)
    fresh.replace(path)
