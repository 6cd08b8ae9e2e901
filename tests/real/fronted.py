"""npm `oidc-provider` that cannot do mutual TLS, and the sidecar in front of it (RFC 8705 §2)."""

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

import yaml

from tests.support.mint import AUDIENCE, SigningKey
from tests.support.pki import Identity, Pki, private_key_pem
from tests.support.processes import Child, answers_ok, free_port
from tests.support.sidecar import Document, Sidecar, issuer, listener, merged, policy
from tests.support.tls_client import Response, Wire

HERE = Path(__file__).parent
SCOPES = ("accounts:read", "accounts:write")
HAND_OVER = {
    "header": {"format": "rfc9440", "verified": {"name": "X-Client-Verified", "yes": "SUCCESS", "no": "NONE"}}
}


@dataclass
class FrontedProvider:
    """The authorization server, for a sidecar that will listen on `public_port`."""

    folder: Path
    pki: Pki
    public_port: int = field(default_factory=free_port)
    port: int = field(default_factory=free_port)
    assertion_key: SigningKey = field(default_factory=lambda: SigningKey.create("ES256", "assertion"))
    child: Child | None = None

    @property
    def issuer(self) -> str:
        return f"https://localhost:{self.public_port}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def clients(self) -> list[dict[str, object]]:
        """Client metadata (RFC 7591 §2, RFC 8705 §2)."""
        lone = SigningKey("ES256", "lone", self.pki.self_signed_client.key).jwk
        x5c = [base64.b64encode(self.pki.self_signed_client.der).decode()]
        methods: dict[str, dict[str, object]] = {
            "client-1": {
                "token_endpoint_auth_method": "tls_client_auth",
                "tls_client_auth_subject_dn": "CN=x",
            },
            "lone": {
                "token_endpoint_auth_method": "self_signed_tls_client_auth",
                "jwks": {"keys": [{**lone, "x5c": x5c}]},
            },
            "basic": {"token_endpoint_auth_method": "client_secret_basic", "client_secret": "basic s+cret%"},
            "post": {"token_endpoint_auth_method": "client_secret_post", "client_secret": "post s+cret%"},
            "assertion": {
                "token_endpoint_auth_method": "private_key_jwt",
                "jwks": {"keys": [self.assertion_key.jwk]},
            },
            "forgetful": {
                "token_endpoint_auth_method": "tls_client_auth",
                "tls_client_auth_subject_dn": "CN=x",
                "tls_client_certificate_bound_access_tokens": False,
            },
            "old": {"token_endpoint_auth_method": "client_secret_basic", "client_secret": "old s+cret%"},
            "sidecar": {
                "token_endpoint_auth_method": "client_secret_basic",
                "client_secret": "the-sidecars-own",
            },
        }
        common = {
            "grant_types": ["client_credentials"],
            "response_types": [],
            "redirect_uris": [],
            "scope": " ".join(SCOPES),
            "id_token_signed_response_alg": "ES256",
            "tls_client_certificate_bound_access_tokens": True,
        }
        return [{"client_id": name, **common, **members} for name, members in methods.items()]

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "fronted.json"
        config.write_text(
            json.dumps(
                {
                    "port": self.port,
                    "issuer": self.issuer,
                    "audience": AUDIENCE,
                    "scopes": SCOPES,
                    "lifetime": 300,
                    "clients": self.clients(),
                }
            )
        )
        self.child = Child(["node", HERE / "fronted.mjs", config], self.folder / "fronted.log")
        self.child.wait_ready(lambda: answers_ok(f"{self.url}/-/ready"))
        return self

    def __exit__(self, *_exc: object) -> None:
        assert self.child is not None
        self.child.stop()

    @contextmanager
    def hashing(self, mode: str) -> Iterator[None]:
        """Meanwhile it hashes something else."""
        for name in (mode, "right"):
            with Wire.plain(self.port) as wire:
                wire.request("POST", f"/-/mode?name={name}", body=b"")
            if name == mode:
                yield


def write_clients(folder: Path, provider: FrontedProvider) -> None:
    """The sidecar's file of clients, with what it names."""
    pki = provider.pki
    (folder / "clients").mkdir(parents=True, exist_ok=True)
    (folder / "clients" / "ca.pem").write_bytes(pki.client_authority.pem)
    (folder / "clients" / "lone.pem").write_bytes(pki.self_signed_client.pem)
    secrets = {
        "basic": b"basic s+cret%",
        "post": b"post s+cret%",
        "assertion": private_key_pem(provider.assertion_key.key),
    }
    for name, secret in secrets.items():
        file = folder / "clients" / f"{name}.secret"
        file.touch(mode=0o600)
        file.write_bytes(secret)

    def named(client_id: str, **more: object) -> dict[str, object]:
        by_name = {"method": "tls_client_auth", "ca_file": "ca.pem", "san_dns": "client-1.example"}
        return {"client_id": client_id, **by_name, **more}

    def translated(client_id: str, method: str, key: str) -> dict[str, object]:
        return named(client_id, translate={"method": method, key: f"{client_id}.secret"})

    clients = [
        named("client-1"),
        {"client_id": "lone", "method": "self_signed_tls_client_auth", "certificate_files": ["lone.pem"]},
        translated("basic", "client_secret_basic", "client_secret_file"),
        translated("post", "client_secret_post", "client_secret_file"),
        translated("assertion", "private_key_jwt", "key_file"),
        named("forgetful"),
        {"client_id": "old", "method": "other"},
    ]
    (folder / "clients" / "clients.yaml").write_text(yaml.safe_dump({"clients": clients}))


def in_front(folder: Path, provider: FrontedProvider, **section: object) -> Sidecar:
    """A sidecar in front of the server: the endpoints, and by rules its metadata and its keys."""
    rules = [
        {"name": "metadata", "match": {"methods": ["GET"], "path": "/.well-known/**"}, "public": True},
        {"name": "keys", "match": {"methods": ["GET"], "path": "/jwks"}, "public": True},
    ]
    endpoints = {
        "token": "/token",
        "pushed_authorization_request": "/request",
        "introspection": "/token/introspection",
        "revocation": "/token/revocation",
    }
    server = {
        "issuer": provider.issuer,
        "endpoints": endpoints,
        "client_files": ["clients/clients.yaml"],
        "hand_over": HAND_OVER,
        "metadata": {"mtls_origin": provider.issuer},
        **section,
    }
    one = Sidecar(
        folder,
        provider.pki,
        provider.url,
        policy_document=policy(rules, [_issuer(folder, provider, introspection=True)]),
    )
    write_clients(folder, provider)
    one.port = provider.public_port
    service = one.service_document(provider.url)
    service["authorization_server"] = server
    one.write_service(service)
    return one


def api(folder: Path, provider: FrontedProvider, upstream: str, service: Document | None = None) -> Sidecar:
    """A sidecar in front of an API that takes this server's tokens."""
    document = policy(issuers=[_issuer(folder, provider)])
    return Sidecar(folder, provider.pki, upstream, policy_document=document, service=service)


def both_protocols(one: Sidecar) -> Sidecar:
    """The same, not started yet, with a listener that speaks HTTP/2 too."""
    service = yaml.safe_load(one.config.read_text())
    service["listeners"] = [listener(one.port) | {"protocols": ["h2", "http/1.1"]}]
    one.write_service(service)
    return one


def _issuer(folder: Path, provider: FrontedProvider, *, introspection: bool = False) -> dict[str, Any]:
    """The server as an issuer: its keys straight from it, as it has them in the clear on loopback."""
    (folder / "policies").mkdir(parents=True, exist_ok=True)
    document = issuer(issuer=provider.issuer)
    document["keys"] = {"jwks_url": f"{provider.url}/jwks"}
    document["http"] = {"insecure_plain_http_anyone_can_forge_keys": True}
    if introspection:
        secret = folder / "policies" / "sidecar.secret"
        secret.touch(mode=0o600)
        secret.write_text("the-sidecars-own")
        document["introspection"] = {
            "when": "opaque",
            "client_id": "sidecar",
            "endpoint": f"{provider.url}/token/introspection",
            "client_authentication": {
                "method": "client_secret_basic",
                "client_secret_file": "sidecar.secret",
            },
        }
    return document


def credentials_form(client_id: str, token_format: str = "ES256", **parameters: str) -> dict[str, str]:
    """The form that asks for a token by client credentials (RFC 6749 §4.4.2)."""
    return {
        "grant_type": "client_credentials",
        "client_id": client_id,
        "resource": f"{AUDIENCE}/{token_format}",
        "scope": "accounts:read",
        **parameters,
    }


def token_request(
    one: Sidecar,
    client_id: str,
    identity: Identity | None,
    token_format: str = "ES256",
    headers: Mapping[str, str] | None = None,
    **parameters: str,
) -> Response:
    """A token by client credentials (RFC 6749 §4.4), asked for at the sidecar."""
    form = credentials_form(client_id, token_format, **parameters)
    fields = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Host": f"localhost:{one.port}",
        **(headers or {}),
    }
    with one.connect(identity) as wire:
        return wire.request("POST", "/token", fields, urlencode(form).encode())


__all__ = [
    "FrontedProvider",
    "api",
    "both_protocols",
    "credentials_form",
    "in_front",
    "listener",
    "merged",
    "token_request",
]
