"""docs/migration.md: every configuration runs as it stands, and the table is what the four of them answer."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.real import tls_proxies
from tests.support.debian import program
from tests.support.mint import SigningKey, claims_set, jwks
from tests.support.pki import Identity, Pki, certificate_pem
from tests.support.processes import free_port, is_listening, running

PAGE = (Path(__file__).parents[2] / "docs" / "migration.md").read_text("utf-8")
HOUR = 3600
MODULE = Path("/usr/lib/apache2/modules/mod_oauth2.so")


def shown(title: str) -> list[str]:
    """The blocks of a section of the page."""
    section = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    return re.findall(r"^```\w+\n(.*?)^```", section, re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Edge:
    """Where a proxy stands: its folder, the issuer's key, and the ports of the page here."""

    folder: Path
    key: SigningKey
    ports: dict[str, str]

    def here(self, text: str) -> str:
        """What the page shows, with this machine's folder and ports."""
        placed = text.replace("/etc/edge", str(self.folder))
        return re.sub(r"\b(8443|8080|9902)\b", lambda port: self.ports[port[1]], placed)


def envoy(edge: Edge) -> list[str]:
    (block,) = shown("From Envoy: jwt_authn and Lua")
    return tls_proxies.envoy_command(edge.folder, edge.here(block))


def haproxy(edge: Edge) -> list[str]:
    (block,) = shown("From HAProxy: jwt_verify")
    return tls_proxies.haproxy_command(edge.folder, edge.here(block))


def apache(edge: Edge) -> list[str]:
    program("apache2", "apache2")
    if not MODULE.exists():
        subprocess.run(["apt-get", "install", "-y", "-qq", "libapache2-mod-oauth2"], check=True, timeout=300)
    (block,) = shown("From Apache: mod_oauth2")
    bare = {name: value for name, value in edge.key.jwk.items() if name not in {"kid", "alg", "use"}}
    return tls_proxies.apache_command(
        edge.folder, edge.here(block).replace("@JWK@", json.dumps(json.dumps(bare)))
    )


def sidecar(edge: Edge) -> list[str]:
    for block in shown("The sidecar's side"):
        name = block.partition("\n")[0].removeprefix("# ")
        (edge.folder / name).write_text(edge.here(block))
    return [sys.executable, "-m", "sidecar", "run", "--config", str(edge.folder / "sidecar.yaml")]


PROXIES: dict[str, Callable[[Edge], list[str]]] = {
    "Envoy": envoy,
    "HAProxy": haproxy,
    "Apache": apache,
    "sidecar": sidecar,
}


def edge_of(folder: Path, pki: Pki, key: SigningKey, api: int) -> Edge:
    folder.mkdir(mode=0o755)
    pki.server.write(folder, "server")
    (folder / "server.pem").write_bytes(pki.server.pem + pki.server.key_pem)
    (folder / "ca.pem").write_bytes(certificate_pem(pki.client_authority.certificate))
    (folder / "jwks.json").write_text(json.dumps(jwks(key)))
    (folder / "es.pub").write_bytes(key.public_pem)
    return Edge(folder, key, {"8443": str(free_port()), "8080": str(api), "9902": str(free_port())})


@dataclass(frozen=True)
class Asked:
    """A request: what is presented with it."""

    token: str | None
    certificate: Identity | None


def questions(pki: Pki, key: SigningKey) -> dict[str, Asked]:
    me, good = pki.client, claims_set(pki.client)
    now = int(str(good["iat"]))

    def bound(**changes: object) -> str:
        return key.sign(claims_set(me, **changes))

    def headed(**changes: object) -> str:
        return key.sign(good, {"alg": "ES256", "kid": key.kid, "typ": "at+jwt", **changes})

    unknown = {"cnf": {**_members(good["cnf"]), "kid": "another"}}
    return {
        "token bound to the certificate of the connection": Asked(bound(), me),
        "the same token, stolen: another certificate": Asked(bound(), pki.other_client),
        "the same token without a certificate": Asked(bound(), None),
        "no token": Asked(None, me),
        "token bound to nothing": Asked(key.token(None), me),
        "expired an hour ago": Asked(bound(exp=now - HOUR, iat=now - 2 * HOUR), me),
        "not valid for another hour (`nbf`)": Asked(bound(nbf=now + HOUR), me),
        "for another API (`aud`)": Asked(bound(aud="https://other.example.com"), me),
        "of another issuer": Asked(bound(iss="https://evil.example.com"), me),
        "signed by another key": Asked(SigningKey.create("ES256", kid=key.kid).token(me), me),
        "an ID token (`typ: JWT`)": Asked(headed(typ="JWT"), me),
        "with an extension that must be understood (`crit`)": Asked(headed(crit=["x"], x=1), me),
        "bound in a second way that is not understood": Asked(bound(**unknown), me),
    }


def _members(value: object) -> dict[str, object]:
    assert isinstance(value, dict)
    return value


def ask(port: str, asked: Asked, folder: Path, authority: Path) -> str:
    """The status, or `–` when the connection brings no answer."""
    command = [
        "curl",
        "-s",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "--cacert",
        str(authority),
        "--max-time",
        "20",
    ]
    if asked.certificate is not None:
        files = asked.certificate.write(folder, "asking")
        command += ["--cert", str(files.certificate), "--key", str(files.private_key)]
    if asked.token is not None:
        command += ["-H", f"Authorization: Bearer {asked.token}"]
    done = subprocess.run(
        [*command, f"https://localhost:{port}/accounts/1"], check=False, capture_output=True, text=True
    )
    return "–" if done.stdout == "000" else done.stdout


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    log = tmp_path_factory.mktemp("api") / "log"

    def port() -> int:
        return int(log.read_text() or "0")

    with running([sys.executable, "-u", "-m", "sidecar.demo.api"], log, lambda: port() > 0):
        yield port()


def table() -> dict[str, dict[str, str]]:
    """Request → proxy → status, as the page has it."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.partition("\n## What each proxy answers\n")[2].partition("\n## ")[0].splitlines()
        if line.startswith("|") and not line.startswith("|---")
    ]
    return {row[0]: dict(zip(rows[0][1:], row[1:], strict=True)) for row in rows[1:]}


@pytest.mark.parametrize("name", PROXIES)
def test_a_configuration_answers_what_the_table_says(
    name: str, api: int, pki: Pki, signing_key: SigningKey, tmp_path: Path
) -> None:
    tmp_path.chmod(0o755)
    edge = edge_of(tmp_path / "edge", pki, signing_key, api)
    authority = tmp_path / "server-ca.pem"
    authority.write_bytes(certificate_pem(pki.server_authority.certificate))
    port = edge.ports["8443"]
    with running(PROXIES[name](edge), tmp_path / "proxy.log", lambda: is_listening(int(port)), within=60):
        answers = {
            question: ask(port, asked, tmp_path, authority)
            for question, asked in questions(pki, signing_key).items()
        }
    assert answers == {question: row[name] for question, row in table().items()}


def test_the_sidecar_lets_nothing_wrong_through() -> None:
    said = [row["sidecar"] for row in table().values()]
    assert said == ["200"] + ["401"] * (len(said) - 1)
