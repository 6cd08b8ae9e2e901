"""A configuration in front of an authorization server, with files of clients; a test changes what it is about."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path

import jwt

from sidecar.settings import Problem
from tests.support.configuration import SERVICE, Configuration
from tests.support.pki import Authority, Identity, Pki, self_signed

SECTION = """\
authorization_server:
  issuer: https://as.example.com
  endpoints: {token: /token}
  client_files: [clients/*.yaml]
  hand_over: {header: {format: rfc9440}}
"""
ONE = """\
clients:
  - {client_id: tpp-1, method: tls_client_auth, ca_file: ../ca.crt, san_dns: tpp-1.example}
"""


@dataclass(frozen=True)
class Clients:
    """The configuration, and what its files of clients may name."""

    configuration: Configuration
    authority: Authority
    own: Identity
    """Self-signed; its certificate is in `own.crt`, and in `own.jwks`."""

    @classmethod
    def create(cls, folder: Path, pki: Pki) -> "Clients":
        configuration = Configuration.create(folder, pki)
        (folder / "clients").mkdir()
        authority, own = Authority.root("tpp root"), self_signed()
        (folder / "ca.crt").write_bytes(authority.pem)
        (folder / "own.crt").write_bytes(own.pem)
        (folder / "own.jwks").write_text(json.dumps({"keys": [jwk(own)]}))
        secret = folder / "secret"
        secret.touch(mode=0o600)
        secret.write_text("s3cret\n")
        own.write(folder, "signer")
        made = cls(configuration, authority, own)
        made.write_section(SECTION)
        made.write(ONE)
        return made

    @property
    def folder(self) -> Path:
        return self.configuration.folder

    def write_section(self, text: str, service: str = SERVICE) -> None:
        self.configuration.write_service(service + text)

    def write(self, text: str, name: str = "a.yaml") -> None:
        (self.folder / "clients" / name).write_text(text, "utf-8")

    def write_client(self, text: str, name: str = "a.yaml") -> None:
        """One client, its members being `text`, in flow."""
        self.write(f"clients:\n  - {{{text}}}\n", name)

    def problems(self) -> list[str]:
        """What is wrong, each as `line:column: message`."""
        return [_said(one) for one in self.configuration.problems()]

    def warnings(self, now: float | None = None) -> list[str]:
        """What is doubtful about the server and its clients, but for the one that every configuration here has."""
        return [_said(one) for one in self.configuration.load(now).warnings]


def _said(problem: Problem) -> str:
    return f"{problem.line}:{problem.column}: {problem.message}"


def jwk(identity: Identity) -> dict[str, object]:
    """The public key with its certificate (RFC 7517 §4.7)."""
    found: dict[str, object] = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(identity.key.public_key()))  # type: ignore[arg-type] # P-256
    return found | {"x5c": [base64.b64encode(identity.der).decode()]}
