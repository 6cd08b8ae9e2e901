"""Real clients in front of the sidecar: curl, httpx and Node's undici, each presenting a certificate and a token."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from cryptography import x509

from tests.support.pki import Identity, Pki, certificate_pem
from tests.support.tls_client import client_context

HERE = Path(__file__).parent
CLIENT_SECONDS = 120
"""How long one run of a client may take; under the limit of a test."""


@dataclass(frozen=True, slots=True)
class CurlAnswer:
    """What curl got: `code` is its exit code, 0 when there was a whole response."""

    code: int
    status: int
    headers: str
    body: bytes
    size: int
    """Bytes of the body, also when it went elsewhere than to `body`."""
    errors: str

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Curl:
    """curl that trusts one CA and presents one certificate. `folder` takes its files."""

    folder: Path
    trust: x509.Certificate
    identity: Identity | None = None

    def __call__(self, url: str, *arguments: str, token: str | None = None) -> CurlAnswer:
        """Runs it; `arguments` are curl's own."""
        head, body, authority = (self.folder / name for name in ["curl.head", "curl.body", "curl.ca"])
        authority.write_bytes(certificate_pem(self.trust))
        for left_over in [head, body]:
            left_over.unlink(missing_ok=True)
        command = ["curl", "-q", "--silent", "--show-error", "--http1.1", "--noproxy", "*"]
        command += ["--max-time", str(CLIENT_SECONDS), "--cacert", str(authority)]
        command += [
            "--dump-header",
            str(head),
            "--output",
            str(body),
            "--write-out",
            "%{http_code} %{size_download}",
        ]
        if self.identity is not None:
            files = self.identity.write(self.folder, "curl-client")
            command += ["--cert", str(files.certificate), "--key", str(files.private_key)]
        if token is not None:
            command += ["--header", f"Authorization: Bearer {token}"]
        done = subprocess.run([*command, *arguments, url], capture_output=True, text=True, check=False)
        status, _, size = done.stdout.partition(" ")
        return CurlAnswer(
            done.returncode,
            int(status or 0),
            head.read_text("latin-1") if head.exists() else "",
            body.read_bytes() if body.exists() else b"",
            int(size or 0),
            done.stderr,
        )


def httpx_client(
    url: str, trust: x509.Certificate, identity: Identity | None, token: str | None
) -> httpx.Client:
    """An httpx client for `url`; use as a context manager."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return httpx.Client(
        base_url=url,
        verify=client_context(identity, trust),
        headers=headers,
        trust_env=False,
        timeout=CLIENT_SECONDS,
    )


def in_node(
    script: str, trust: x509.Certificate, identity: Identity, task: Mapping[str, object]
) -> list[dict[str, Any]]:
    """Runs a script of this folder. It reads one object, `task` with the PEM texts `ca`, `cert` and `key`, and writes a
    list of answers.
    """
    material = {
        "ca": certificate_pem(trust).decode(),
        "cert": identity.pem.decode(),
        "key": identity.key_pem.decode(),
    }
    done = subprocess.run(
        ["node", HERE / script],
        input=json.dumps({**material, **task}),
        capture_output=True,
        text=True,
        timeout=CLIENT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


def undici(
    url: str,
    trust: x509.Certificate,
    identity: Identity,
    requests: Sequence[Mapping[str, object]],
    connections: int = 1,
) -> list[dict[str, Any]]:
    """Sends `requests` (see `undici.mjs`) in order over one pool; their answers."""
    task = {"origin": url, "connections": connections, "requests": list(requests)}
    return in_node("undici.mjs", trust, identity, task)


def node_http2(
    url: str, pki: Pki, identity: Identity, requests: Sequence[Mapping[str, object]]
) -> list[dict[str, Any]]:
    """Sends `requests` (see `http2.mjs`) all at once over one connection of HTTP/2; their answers."""
    task = {"origin": url, "requests": list(requests)}
    return in_node("http2.mjs", pki.server_authority.certificate, identity, task)
