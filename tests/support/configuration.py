"""Configurations to load: a small good one, in a folder of its own, of which a test changes what it is about."""

from dataclasses import dataclass
from pathlib import Path

from sidecar.settings import Loaded, Problem, SettingsError, load
from tests.support.pki import Pki

SERVICE = """\
listeners:
  - address: 127.0.0.1:8443
    tls: {certificate_file: server.crt, private_key_file: server.key}
upstream: {url: "http://127.0.0.1:8080"}
policy_files: [policies/*.yaml]
"""
ISSUER = """\
issuers:
  - issuer: https://as.example.com
    audience: https://api.example.com
    keys: {discovery: true}
"""
POLICY = (
    ISSUER
    + """\
rules:
  - name: read
    match: {methods: [GET], path: /accounts}
"""
)


@dataclass(frozen=True)
class Configuration:
    """A folder with a service file, a policy file, and a server's certificate and key."""

    folder: Path

    @classmethod
    def create(cls, folder: Path, pki: Pki) -> "Configuration":
        pki.server.write(folder, "server")
        (folder / "policies").mkdir()
        made = cls(folder)
        made.write_service(SERVICE)
        made.write_policy(POLICY)
        return made

    @property
    def file(self) -> Path:
        return self.folder / "sidecar.yaml"

    def write_service(self, text: str) -> None:
        self.file.write_text(text, "utf-8")

    def write_policy(self, text: str, name: str = "policy.yaml") -> None:
        (self.folder / "policies" / name).write_text(text, "utf-8")

    def write_rule(self, text: str) -> None:
        """A policy of one issuer and one rule, the rule's members being `text` (in flow or indented by 4)."""
        self.write_policy(f"{ISSUER}rules:\n  - name: one\n    {text}\n")

    def load(self, now: float | None = None) -> Loaded:
        return load(self.file, now=now)

    def problems(self) -> tuple[Problem, ...]:
        """Everything that is wrong; none when it loads."""
        try:
            self.load()
        except SettingsError as error:
            return error.problems
        return ()

    def said(self) -> list[str]:
        """Each problem as `line:column: message`, without the file."""
        return [f"{one.line}:{one.column}: {one.message}" for one in self.problems()]
