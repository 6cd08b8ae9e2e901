"""Debian's `glewlwyd` on loopback, SQLite behind it: an authorization server that reads certificates from a field."""

import gzip
import http.client
import json
import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import yaml

from tests.support.client_files import jwk
from tests.support.debian import program
from tests.support.mint import SigningKey
from tests.support.pki import Pki, private_key_pem
from tests.support.processes import Child, free_port, is_listening
from tests.support.sidecar import Sidecar

TABLES = Path("/usr/share/dbconfig-common/data/glewlwyd/install/sqlite3")
SAMPLE = Path("/usr/share/doc/glewlwyd/glewlwyd.conf.sample.gz")
FIELD = "X-SSL-CERT"
"""Its name is compared by case there."""
SECRET = "secret-of-basic"
"""Letters alone: it does not decode the parts of Basic as forms have them (RFC 6749 §2.3.1)."""


@dataclass
class Glewlwyd:
    """The server, for a sidecar that will listen on `public_port`."""

    folder: Path
    pki: Pki
    public_port: int = field(default_factory=free_port)
    port: int = field(default_factory=free_port)
    child: Child | None = None
    _cookie: str = ""

    @property
    def issuer(self) -> str:
        return f"https://localhost:{self.public_port}/api/oidc"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        command = program("glewlwyd", "glewlwyd")
        self.folder.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self.folder / "glewlwyd.db")) as database:
            database.executescript(TABLES.read_text())
            database.commit()
        config = self.folder / "glewlwyd.conf"
        config.write_text(self._configuration())
        self.child = Child([command, f"--config-file={config}"], self.folder / "glewlwyd.log")
        self.child.wait_ready(lambda: is_listening(self.port))
        self._set_up()
        return self

    def __exit__(self, *_exc: object) -> None:
        assert self.child is not None
        self.child.stop()

    def _configuration(self) -> str:
        text = gzip.decompress(SAMPLE.read_bytes()).decode()
        changes = {
            "port": str(self.port),
            "bind_address": '"127.0.0.1"',
            "external_url": f'"https://localhost:{self.public_port}"',
            "cookie_secure": "0",
        }
        for name, value in changes.items():
            text = re.sub(rf"^#?{name}=.*$", f"{name}={value}", text, count=1, flags=re.MULTILINE)
        return text.replace("/var/cache/glewlwyd/glewlwyd.db", str(self.folder / "glewlwyd.db"))

    def _call(self, method: str, path: str, body: object = None) -> Any:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            headers = {"Content-Type": "application/json", "Cookie": self._cookie}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
            assert answer.status == 200, (path, answer.status, text)
            self._cookie = (answer.getheader("Set-Cookie") or self._cookie).partition(";")[0]
        return json.loads(text) if text else None

    def _set_up(self) -> None:
        """As its administrator would: the plugin, a scope, the clients."""
        self._call("POST", "/api/auth/", {"username": "admin", "password": "password"})
        key = SigningKey.create("ES256")
        kinds = ("code", "token", "id-token", "none", "password", "client", "refresh")
        parameters = {
            "iss": self.issuer,
            "jwt-type": "ecdsa",
            "jwt-key-size": "256",
            "key": private_key_pem(key.key).decode(),
            "cert": key.public_pem.decode(),
            "access-token-duration": 3600,
            "refresh-token-duration": 3600,
            "code-duration": 600,
            "allow-non-oidc": True,
            **{f"auth-type-{kind}-enabled": True for kind in kinds},
            "introspection-revocation-allowed": True,
            "introspection-revocation-allow-target-client": True,
            "client-cert-source": "header",
            "client-cert-header-name": FIELD,
            "client-cert-self-signed-allowed": True,
            "jwks-show": True,
        }
        plugin = {"module": "oidc", "name": "oidc", "display_name": "oidc", "enabled": True}
        self._call("POST", "/api/mod/plugin/", {**plugin, "parameters": parameters})
        scope = {
            "name": "accounts:read",
            "display_name": "accounts",
            "password_required": False,
            "scheme": {},
        }
        self._call("POST", "/api/scope/", scope)
        self._let_names_be_subjects()
        for client in self._clients():
            self._call("POST", "/api/client/", client)

    def _let_names_be_subjects(self) -> None:
        """As it is delivered it drops `tls_client_auth_subject_dn`, of which nothing tells."""
        module = self._call("GET", "/api/mod/client/database")
        member = {"multiple": False, "read": True, "write": True}
        module["parameters"]["data-format"]["tls_client_auth_subject_dn"] = member
        self._call("PUT", "/api/mod/client/database", module)
        self._call("PUT", "/api/mod/client/database/reset")

    def _clients(self) -> list[Mapping[str, object]]:
        by_name: dict[str, object] = {
            "token_endpoint_auth_method": ["tls_client_auth"],
            "tls_client_auth_san_dns": "client-1.example",
        }
        lone: dict[str, object] = {
            "token_endpoint_auth_method": ["self_signed_tls_client_auth"],
            "jwks": {"keys": [{**jwk(self.pki.self_signed_client), "kid": "lone"}]},
        }
        basic: dict[str, object] = {"token_endpoint_auth_method": ["client_secret_basic"], "password": SECRET}
        common: dict[str, object] = {
            "confidential": True,
            "enabled": True,
            "scope": ["accounts:read"],
            "authorization_type": ["client_credentials"],
            "redirect_uri": ["https://client.example/"],
        }
        methods = {"client-1": by_name, "lone": lone, "basic": basic}
        return [{"client_id": name, "name": name, **common, **one} for name, one in methods.items()]


def in_front_of(folder: Path, server: Glewlwyd) -> Sidecar:
    """A sidecar in front of it."""
    pki = server.pki
    one = Sidecar(folder, pki, server.url, keys=[SigningKey.create("ES256")])
    clients = folder / "clients"
    clients.mkdir()
    (clients / "ca.pem").write_bytes(pki.client_authority.pem)
    (clients / "lone.pem").write_bytes(pki.self_signed_client.pem)
    (clients / "basic.secret").touch(mode=0o600)
    (clients / "basic.secret").write_text(SECRET)
    named = {"method": "tls_client_auth", "ca_file": "ca.pem", "san_dns": "client-1.example"}
    secret = {"method": "client_secret_basic", "client_secret_file": "basic.secret"}
    listed = [
        {"client_id": "client-1", **named},
        {"client_id": "lone", "method": "self_signed_tls_client_auth", "certificate_files": ["lone.pem"]},
        {"client_id": "basic", **named, "translate": secret},
    ]
    (clients / "clients.yaml").write_text(yaml.safe_dump({"clients": listed}))
    service = one.service_document(server.url)
    service["authorization_server"] = {
        "issuer": server.issuer,
        "endpoints": {
            "token": "/api/oidc/token",
            "introspection": "/api/oidc/introspect",
            "revocation": "/api/oidc/revoke",
        },
        "client_files": ["clients/clients.yaml"],
        "hand_over": {"header": {"format": "pem_one_line", "name": FIELD}},
    }
    one.port = server.public_port
    service["listeners"][0]["address"] = f"127.0.0.1:{server.public_port}"
    one.write_service(service)
    return one
