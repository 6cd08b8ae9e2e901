"""The sidecar itself as a child process: real configuration files, real ports, stopped and asked for its exit code."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import yaml

from tests.support.mint import AUDIENCE, ISSUER, SigningKey, jwks
from tests.support.odd_certificates import OddCertificate
from tests.support.pki import Identity, Pki, certificate_pem
from tests.support.processes import Child, answers_ok, free_port, is_listening
from tests.support.tls_client import Wire

Document = Mapping[str, Any]


def merged(base: Document, changes: Document) -> dict[str, Any]:
    """`base` with `changes` laid over it, mapping by mapping; a value of None takes a member out."""
    result = dict(base)
    for name, value in changes.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, Mapping) and isinstance(base.get(name), Mapping):
            result[name] = merged(base[name], value)
        else:
            result[name] = value
    return result


def listener(
    port: int,
    *,
    trust: str = "any",
    at_handshake: str = "optional",
    crl_file: str | None = None,
    **tls: object,
) -> dict[str, Any]:
    """One entry of `listeners`; the files are those that `Sidecar` writes."""
    client_certificate = {"trust": trust, "at_handshake": at_handshake}
    if trust == "ca":
        client_certificate["ca_file"] = "tls/client-ca.crt"
    if crl_file is not None:
        client_certificate["crl_file"] = crl_file
    return {
        "address": f"127.0.0.1:{port}",
        "tls": {"certificate_file": "tls/tls.crt", "private_key_file": "tls/tls.key", **tls},
        "client_certificate": client_certificate,
    }


def policy(
    rules: Sequence[Document] | None = None, issuers: Sequence[Document] | None = None, **changes: object
) -> dict[str, Any]:
    """A policy document. By default: the issuer of `mint` with keys from `keys/jwks.json`, and three rules:
    `GET /public/**` for all, anything under `/accounts` with the scope accounts:read, all else with a token."""
    document = {
        "issuers": list(issuers) if issuers is not None else [issuer()],
        "rules": list(rules)
        if rules is not None
        else [
            {"name": "public", "match": {"methods": ["GET"], "path": "/public/**"}, "public": True},
            {
                "name": "accounts",
                "match": {"path": "/accounts/**"},
                "require": {"scopes": ["accounts:read"]},
                "upgrade": ["websocket", "echo"],
            },
            {"name": "rest", "match": {"path": "/**"}},
        ],
    }
    return merged(document, changes)


def issuer(**changes: object) -> dict[str, Any]:
    """One entry of `issuers`: the issuer and audience of `mint`, keys from `keys/jwks.json`."""
    document = {"issuer": ISSUER, "audience": AUDIENCE, "keys": {"jwks_file": "../keys/jwks.json"}}
    return merged(document, changes)


def replace(file: Path, text: str) -> None:
    """Another file in its place, whole from the first moment on."""
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    fresh.rename(file)


def whole_lines(file: Path) -> list[str]:
    """What is written so far, less a line of which only a part is there yet."""
    return file.read_bytes().rpartition(b"\n")[0].decode().splitlines()


class Sidecar:
    """A configuration folder and the process that runs on it.

    The folder holds `sidecar.yaml`, `policies/policy.yaml`, `tls/tls.{crt,key}`, `tls/client-ca.crt` and
    `keys/jwks.json`; change any of them and the process may be told to reload.
    """

    def __init__(
        self,
        folder: Path,
        pki: Pki,
        upstream: str,
        *,
        policy_document: Document | None = None,
        keys: Sequence[SigningKey | Mapping[str, object]] = (),
        service: Document | None = None,
        server: Identity | OddCertificate | None = None,
    ) -> None:
        """Writes the configuration; `service` is laid over the default service document (see `merged`)."""
        self.folder = folder
        self.port, self.health_port, self.admin_port = free_port(), free_port(), free_port()
        self.health_host = "127.0.0.1"
        """As in a URL; `[::1]` where it listens on IPv6 only."""
        self.config = folder / "sidecar.yaml"
        self.log, self.output = folder / "sidecar.log", folder / "sidecar.out"
        self.child: Child | None = None
        self.program: list[str] = ["-m", "sidecar"]
        self.environment: dict[str, str] = {}
        """What its process finds in its environment besides."""
        """What Python runs."""
        for name in ["tls", "keys", "policies"]:
            (folder / name).mkdir(parents=True, exist_ok=True)
        (server or pki.server).write(folder / "tls", "tls")
        (folder / "tls" / "client-ca.crt").write_bytes(certificate_pem(pki.client_authority.certificate))
        self.write_keys(*keys)
        self.write_policy(policy_document or policy())
        self.write_service(merged(self.service_document(upstream), service or {}))

    def service_document(self, upstream: str) -> dict[str, Any]:
        """The default service file: one listener that accepts any client certificate."""
        return {
            "listeners": [listener(self.port)],
            "upstream": {"url": upstream},
            "policy_files": ["policies/*.yaml"],
            "health": {"address": f"127.0.0.1:{self.health_port}"},
            "admin": {"address": f"127.0.0.1:{self.admin_port}", "token_file": "admin-token"},
            "logging": {"format": "json", "access": "all"},
            "bypass_check": {"enabled": False},  # it leaves loopback; its own tests give it a network
        }

    def write_service(self, document: Document) -> None:
        """As one change, as all of these files are written: a sidecar that watches it never sees half of it."""
        replace(self.config, yaml.safe_dump(dict(document), sort_keys=False))

    def write_policy(self, document: Document, name: str = "policy.yaml") -> None:
        replace(self.folder / "policies" / name, yaml.safe_dump(dict(document), sort_keys=False))

    def write_keys(self, *keys: SigningKey | Mapping[str, object]) -> None:
        replace(self.folder / "keys" / "jwks.json", json.dumps(jwks(*keys)))

    # -- the process

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Runs it and returns once `/readyz` answers 200; raises `ChildFailed` with its log otherwise."""
        self.child = self.spawn()
        self.child.wait_ready(lambda: answers_ok(f"{self.health_url}/readyz"))
        return self

    def start_unready(self) -> Self:
        """Runs it and returns once it listens: for a sidecar whose upstream or issuer is not there."""
        self.child = self.spawn()
        self.child.wait_ready(lambda: is_listening(self.health_port))  # which it opens last
        return self

    def spawn(self) -> Child:
        """Runs it and returns at once: for configurations that must not start."""
        assert self.child is None or not self.child.is_running, (
            "it runs already: nobody would stop the first one"
        )
        command = [sys.executable, *self.program, "run", "--config", str(self.config)]
        return Child(command, self.log, output=self.output, environment=self.environment or None)

    @property
    def process(self) -> Child:
        assert self.child is not None, "not started"
        return self.child

    def stop(self) -> int:
        """SIGTERM, wait for the drain; the exit code."""
        return self.process.stop()

    # -- talking to it

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    @property
    def health_url(self) -> str:
        return f"http://{self.health_host}:{self.health_port}"

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}"

    @property
    def admin_headers(self) -> dict[str, str]:
        """What every request to the admin server must present."""
        return {"Authorization": f"Bearer {(self.folder / 'admin-token').read_text().strip()}"}

    @property
    def admin_link(self) -> str:
        """What `sidecar admin-url` prints."""
        return f"{self.admin_url}/#token={(self.folder / 'admin-token').read_text().strip()}"

    def connect(self, identity: Identity | None = None, **options: Any) -> Wire:
        """A raw TLS connection to the listener (`Wire.tls` takes the options)."""
        return Wire.tls(self.port, identity, **options)

    def records(self) -> list[dict[str, Any]]:
        """Every line of its output and log that is a JSON object, in order."""
        lines = [*whole_lines(self.output), *whole_lines(self.log)]
        return [json.loads(line) for line in lines if line.startswith("{")]

    def access_log(self) -> list[dict[str, Any]]:
        """One record per request, as logged so far."""
        return [record for record in self.records() if "request_id" in record]
