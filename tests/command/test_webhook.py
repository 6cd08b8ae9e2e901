"""`sidecar webhook` as a process, over TLS, the way an API server calls it."""

import http.client
import json
import signal
import ssl
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.injection.reviews import UID, encoded, patched, pod_as_the_api_server_has_it, review_of
from tests.injection.samples import sidecar_of
from tests.support.pki import Identity, Pki
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
        connection = http.client.HTTPSConnection("localhost", self.port, context=self.tls, timeout=20)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json", **headers})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def serial_number(self) -> str:
        """Of the certificate that a new connection gets."""
        connection = http.client.HTTPSConnection("localhost", self.port, context=self.tls, timeout=20)
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
    eventually(lambda: webhook.serial_number() == serial_of(renewed), within=20, what="the new certificate")
    replace(webhook.directory / "tls.crt", b"half a certifica")
    eventually(lambda: "the old one stays" in webhook.child.tail(), within=20, what="a warning")
    assert webhook.serial_number() == serial_of(renewed)


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
