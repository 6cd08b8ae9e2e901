"""npm `oidc-provider` as a child process, and the clients registered with it."""

import base64
import contextlib
import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

from tests.support.mint import AUDIENCE, SigningKey
from tests.support.pki import Identity, Pki, self_signed
from tests.support.processes import Child, ChildFailed, answers_ok, free_port
from tests.support.tls_client import Response, Wire, client_context

HERE = Path(__file__).parent
SCOPES = ("accounts:read", "accounts:write")
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True, slots=True)
class Client:
    """A client registered at the provider: how it authenticates, and with what."""

    client_id: str
    method: str
    """RFC 7591 `token_endpoint_auth_method`."""
    identity: Identity | None = None
    """The certificate it presents, to authenticate or to have its tokens bound."""
    secret: str | None = None
    assertion_key: SigningKey | None = None
    bound: bool = True
    """Whether its tokens are certificate-bound."""

    def registration(self) -> dict[str, object]:
        """Client metadata (RFC 7591 §2, RFC 8705 §2, §3.4)."""
        metadata: dict[str, object] = {
            "client_id": self.client_id,
            "token_endpoint_auth_method": self.method,
            "grant_types": ["client_credentials"],
            "response_types": [],
            "redirect_uris": [],
            "scope": " ".join(SCOPES),
            "tls_client_certificate_bound_access_tokens": self.bound,
            "introspection_signed_response_alg": "ES256",  # for those who ask for a signed one (RFC 9701 §6)
        }
        if self.secret is not None:
            metadata["client_secret"] = self.secret
        if self.method == "tls_client_auth":
            metadata["tls_client_auth_subject_dn"] = f"CN={self.client_id}"
        if self.assertion_key is not None:
            metadata["jwks"] = {"keys": [self.assertion_key.jwk]}
        if self.method == "self_signed_tls_client_auth":
            assert self.identity is not None
            public = SigningKey("ES256", "self-signed", self.identity.key).jwk
            metadata["jwks"] = {"keys": [{**public, "x5c": [base64.b64encode(self.identity.der).decode()]}]}
        return metadata

    def credentials(self, audience: str) -> tuple[dict[str, str], dict[str, str]]:
        """The header fields and form parameters that authenticate it (RFC 6749 §2.3, RFC 7523 §2.2)."""
        if self.method == "client_secret_basic":
            pair = base64.b64encode(f"{self.client_id}:{self.secret}".encode()).decode()
            return {"Authorization": f"Basic {pair}"}, {}
        if self.method == "client_secret_post":
            assert self.secret is not None
            return {}, {"client_id": self.client_id, "client_secret": self.secret}
        if self.assertion_key is not None:
            return {}, {
                "client_assertion_type": ASSERTION_TYPE,
                "client_assertion": self._assertion(audience),
            }
        return {}, {"client_id": self.client_id}

    def _assertion(self, audience: str) -> str:
        assert self.assertion_key is not None
        now = int(time.time())
        claims = {"iss": self.client_id, "sub": self.client_id, "aud": audience, "jti": str(uuid.uuid4())}
        header = {"alg": self.assertion_key.algorithm, "kid": self.assertion_key.kid, "typ": "JWT"}
        return self.assertion_key.sign({**claims, "iat": now, "exp": now + 60}, header)


def registered_clients(pki: Pki, assertion_key: SigningKey) -> dict[str, Client]:
    """One client for each authentication method, each with a certificate, and one whose tokens are unbound."""
    lone = self_signed()
    clients = [
        Client("client-1", "tls_client_auth", pki.client),
        Client("client-2", "tls_client_auth", pki.other_client),
        Client("self-signed", "self_signed_tls_client_auth", lone),
        Client("basic", "client_secret_basic", pki.client, secret="basic-client-password"),
        Client("post", "client_secret_post", pki.client, secret="post-client-password"),
        Client("assertion", "private_key_jwt", pki.client, assertion_key=assertion_key),
        Client("unbound", "client_secret_basic", secret="unbound-client-password", bound=False),
    ]
    return {client.client_id: client for client in clients}


class OidcProvider:
    """The running authorization server."""

    def __init__(self, folder: Path, pki: Pki, lifetime: int = 300, *, dpop_nonces: bool = False) -> None:
        """`dpop_nonces`: proofs at the token endpoint must hold a nonce that was given there (RFC 9449 §8)."""
        self.pki = pki
        self.folder = folder
        self.port, self.admin_port = free_port(), free_port()
        self.assertion_key = SigningKey.create("ES256", "assertion")
        self.clients = registered_clients(pki, self.assertion_key)
        self.lifetime = lifetime
        self.dpop_nonces = dpop_nonces
        self.child: Child | None = None

    @property
    def issuer(self) -> str:
        return f"https://localhost:{self.port}"

    @property
    def introspection_endpoint(self) -> str:
        return f"{self.issuer}/token/introspection"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def start(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        server = self.pki.server.write(self.folder, "provider")
        authority = self.folder / "client-ca.crt"
        authority.write_bytes(self.pki.client_authority.pem)
        config = self.folder / "provider.json"
        config.write_text(
            json.dumps(self._configuration(str(server.certificate), str(server.private_key), str(authority)))
        )
        command = ["node", HERE / "provider.mjs", config]
        with contextlib.suppress(ChildFailed):
            return self._started(Child(command, self.folder / "provider.log"))
        # Seen once in some hundred starts, on a busy machine: Node had begun, and said nothing for 90 seconds.
        return self._started(Child(command, self.folder / "provider-again.log"))

    def _started(self, child: Child) -> Self:
        self.child = child
        child.wait_ready(lambda: answers_ok(f"http://127.0.0.1:{self.admin_port}/ready"))
        return self

    def _configuration(self, certificate: str, key: str, authority: str) -> dict[str, object]:
        return {
            "port": self.port,
            "adminPort": self.admin_port,
            "certificate": certificate,
            "key": key,
            "clientAuthority": authority,
            "audience": AUDIENCE,
            "scopes": SCOPES,
            "lifetime": self.lifetime,
            "dpopNonces": self.dpop_nonces,
            "clients": [client.registration() for client in self.clients.values()],
        }

    def stop(self) -> None:
        assert self.child is not None
        self.child.stop()

    def rotate(self, *, keep_old: bool = False) -> None:
        """New signing keys; the old ones leave the JWKS unless kept."""
        with Wire.plain(self.admin_port) as wire:
            assert wire.request("POST", f"/rotate{'?keep=1' if keep_old else ''}", body=b"").status == 200

    def token(self, client_id: str, token_format: str = "ES256", scope: str = "accounts:read") -> str:
        """An access token by client credentials (RFC 6749 §4.4): `ES256`, `PS256`, … or `opaque`."""
        form = {"grant_type": "client_credentials", "resource": f"{AUDIENCE}/{token_format}", "scope": scope}
        answer = self.post("/token", client_id, form)
        assert answer.status == 200, answer.body
        return str(answer.json()["access_token"])

    def introspect(self, client_id: str, token: str) -> dict[str, Any]:
        """What the provider says of a token (RFC 7662), asked as `client_id`."""
        answer = self.post("/token/introspection", client_id, {"token": token})
        assert answer.status == 200, answer.body
        return dict(answer.json())

    def revoke(self, client_id: str, token: str) -> None:
        """Revokes a token of that client (RFC 7009)."""
        assert self.post("/token/revocation", client_id, {"token": token}).status == 200

    def post(self, path: str, client_id: str, form: Mapping[str, str]) -> Response:
        """A form, sent as that client authenticates."""
        client = self.clients[client_id]
        headers, credentials = client.credentials(self.issuer)
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        headers["Host"] = f"localhost:{self.port}"
        context = client_context(client.identity, self.pki.server_authority.certificate)
        with Wire.tls(self.port, context=context) as wire:
            return wire.request("POST", path, headers, urlencode({**form, **credentials}).encode())
