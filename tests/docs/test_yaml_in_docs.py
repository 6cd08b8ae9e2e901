"""Every piece of YAML in the documentation loads: what a page shows can be copied."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from sidecar.command.cli import main
from sidecar.settings.document import parse
from sidecar.settings.schema import schema
from tests.support.configuration import ISSUER, SERVICE, Configuration
from tests.support.pki import Pki

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *(
        ROOT / "docs" / f"{name}.md"
        for name in (
            "policy",
            "configuration",
            "issuers",
            "cli",
            "dpop",
            "http2",
            "authorization-server",
            "authorization-servers",
            "certificate-header",
        )
    ),
]
_BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
RESOURCE = "protected_resource: {resource: https://api.example.com, origins: [https://api.example.com]}\n"
"""Proofs need to know where clients believe the API to be."""
SERVER = """\
authorization_server:
  issuer: https://as.example.com
  endpoints: {token: /token}
  client_files: [clients/*.yaml]
  hand_over: {header: {format: rfc9440}}
"""
MORE = {
    "service": ("authorization-server", "certificate-header"),
    "clients": (),
    "cases": ("configuration", "authorization-server"),
}
"""Where else keys are described."""
SERVICE_KEYS = {"listeners", "upstream", "policy_files"}


@dataclass(frozen=True)
class Example:
    """One block of YAML."""

    page: str
    line: int
    text: str

    @property
    def data(self) -> dict[str, Any]:
        document = parse(f"{self.page}:{self.line}", self.text.encode())
        assert document.problems == []
        assert isinstance(document.data, dict)
        return document.data

    @property
    def kind(self) -> str:
        keys = set(self.data)
        if "cases" in keys:
            return "cases"
        if "clients" in keys:
            return "clients"
        return "policy" if keys <= {"issuers", "rules", "report_only"} else "service"


def examples() -> list[Example]:
    pages = [(page.name, page.read_text("utf-8")) for page in PAGES]
    return [
        Example(name, text.count("\n", 0, block.start()) + 1, block[1])
        for name, text in pages
        for block in _BLOCK.finditer(text)
    ]


EXAMPLES = examples()


@pytest.fixture
def configuration(tmp_path: Path, pki: Pki) -> Configuration:
    """A good configuration, and the files that examples name."""
    made = Configuration.create(tmp_path, pki)
    for folder in (tmp_path / "tls", tmp_path / "policies" / "keys"):
        folder.mkdir(parents=True)
    pki.server.write(tmp_path / "tls", "tls")
    (tmp_path / "tls" / "client-ca.crt").write_bytes(pki.client_authority.pem)
    (tmp_path / "tls" / "client-ca.crl").write_bytes(pki.client_authority.revocation_list())
    (tmp_path / "tls" / "issuer-ca.crt").write_bytes(pki.server_authority.pem)
    (tmp_path / "tls" / "mesh-ca.crt").write_bytes(pki.server_authority.pem)
    (tmp_path / "tls" / "api-ca.crt").write_bytes(pki.server_authority.pem)
    pki.client.write(tmp_path / "tls", "client")
    key = tmp_path / "policies" / "keys" / "api.pem"
    key.write_bytes(pki.client.key_pem)
    key.chmod(0o600)
    clients = tmp_path / "clients"
    clients.mkdir()
    (clients / "a.yaml").write_text("clients:\n  - {client_id: old, method: other}\n")
    (clients / "tpp-ca.pem").write_bytes(pki.client_authority.pem)
    (clients / "tpp-2.pem").write_bytes(pki.self_signed_client.pem)
    for name, content in (("tpp-3.secret", b"secret"), ("tpp-4.key", pki.client.key_pem)):
        (clients / name).touch(mode=0o600)
        (clients / name).write_bytes(content)
    return made


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: f"{one.page}:{one.line}")
def test_an_example_loads(example: Example, configuration: Configuration) -> None:
    match example.kind:
        case "policy":
            text = example.text if "issuers" in example.data else ISSUER + example.text
            configuration.write_policy(text)
            if "DPoP" in text:
                configuration.write_service(SERVICE + RESOURCE)
        case "service":
            # A fragment stands beside what it leaves out.
            rest = [part for part in _parts(SERVICE) if part.split(":")[0] not in example.data]
            configuration.write_service(example.text + "".join(rest))
        case "clients":
            (configuration.folder / "clients" / "a.yaml").write_text(example.text)
            configuration.write_service(SERVICE + SERVER)
        case _:
            policy = (ROOT / "config" / "policies" / "accounts.yaml").read_text("utf-8")
            service = (ROOT / "config" / "sidecar.yaml").read_text("utf-8")
            if "form:" in example.text:
                service += SERVER
                client = (
                    "{client_id: tpp-1, method: tls_client_auth, ca_file: tpp-ca.pem, san_dns: tpp-1.example}"
                )
                (configuration.folder / "clients" / "a.yaml").write_text(f"clients:\n  - {client}\n")
            if "grpc:" in example.text:
                policy = ISSUER + next(
                    one.text for one in EXAMPLES if "rules:" in one.text and "grpc:" in one.text
                )
                service = service.replace("    tls:", "    protocols: [h2]\n    tls:", 1)
                service = service.replace("  url:", "  protocol: h2\n  url:", 1)
            if "proof" in example.text:
                policy = policy.replace("    keys:", "    schemes: [Bearer, DPoP]\n    keys:")
                service += RESOURCE
            configuration.write_policy(policy)
            configuration.write_service(service)
            path = configuration.folder / "cases.yaml"
            path.write_text(example.text, "utf-8")
            assert main(["test", "--config", str(configuration.file), str(path)]) == 0
    assert configuration.said() == []


def _parts(text: str) -> list[str]:
    return re.findall(r"^\S.*\n(?:[ -].*\n)*", text, re.MULTILINE)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: f"{one.page}:{one.line}")
def test_an_example_is_valid_by_the_published_schema(example: Example) -> None:
    made = schema(example.kind)
    if example.kind == "service":
        made = {**made, "required": []}
    Draft202012Validator(made).validate(example.data)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) > 15
    assert {example.kind for example in EXAMPLES} == {"service", "policy", "clients", "cases"}


@pytest.mark.parametrize(
    ("kind", "page"),
    [
        ("service", "configuration"),
        ("policy", "policy"),
        ("cases", "policy"),
        ("clients", "authorization-server"),
    ],
)
def test_every_key_is_documented(kind: str, page: str) -> None:
    text = "".join(
        (ROOT / "docs" / f"{name}.md").read_text("utf-8")
        for name in (page, *MORE.get(kind, ("configuration",)))
    )
    made = schema(kind)
    missing = [
        f"{section}.{key}"
        for section, part in {kind: made, **made["$defs"]}.items()
        for key in part.get("properties", {})
        if not re.search(rf"(?<![\w-]){re.escape(key)}(?![\w-])", text)
    ]
    assert missing == []
