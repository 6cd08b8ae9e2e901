"""The sidecar's own configuration for the benchmark: as shipped, with access log, metrics and N rules."""

from collections.abc import Mapping
from typing import Any

import yaml

from bench.material import AUDIENCE, ISSUER
from bench.peers.site import Site
from bench.proofs import ORIGIN

CALL = "/bench.Echo/Unary"
"""The path of a gRPC call."""

_USED = (  # the rules that the loads match stand last, so each request passes the whole list
    ("forms", ["POST"], "/forms/{id}", "accounts:read"),
    ("call", ["POST"], CALL, "accounts:read"),
    ("upload", ["POST"], "/upload", "files:write"),
    ("download", ["GET"], "/files/**", "files:read"),
    ("accounts", ["GET", "HEAD"], "/accounts/{id}", "accounts:read"),
)

_DPOP = {
    "protected_resource": {"resource": ORIGIN, "origins": [ORIGIN]},
    "dpop": {"replay": {"store": "memory"}},
}


def service(site: Site, more: Mapping[str, object] | None = None) -> str:
    """The service file's text, with `more` sections; what is not named keeps its default."""
    material = site.material.directory
    tls = {"certificate_file": str(material / "server.crt"), "private_key_file": str(material / "server.key")}
    protocols = {"protocols": ["h2", "http/1.1"]} if site.http2 else {}
    spoken = {"protocol": "h2"} if site.grpc else {}
    limits = {"connections": 12000, **({"cached_tokens": site.cached_tokens} if site.cached_tokens else {})}
    return _yaml(
        {
            "listeners": [
                {
                    "address": f"127.0.0.1:{site.port}",
                    "tls": tls,
                    "client_certificate": {"trust": "any"},
                    **protocols,
                }
            ],
            # 2,000 connections ask at once: more may wait than by default, which answers 503 to a flood
            "upstream": {"url": f"http://127.0.0.1:{site.upstream}", "max_waiting": 4096, **spoken},
            "policy_files": ["policy.yaml"],
            "health": {"address": f"127.0.0.1:{site.admin}"},
            "limits": limits,
            "timeouts": {"idle": "300s"},
            "logging": {"format": "json", "access": "all"},
            "workers": site.workers,
            **(_DPOP if site.dpop else {}),
            **(more or {}),
        }
    )


def policy(site: Site) -> str:
    """The policy file's text with exactly `site.rules` rules, of which the last four match the loads."""
    if site.rules < len(_USED):
        raise ValueError(f"at least {len(_USED)} rules")
    others = [
        _rule(f"service-{n}", ["GET", "POST"], f"/service-{n}/{{id}}/**", f"service-{n}:read")
        for n in range(site.rules - len(_USED))
    ]
    return _yaml({"issuers": [_issuer(site)], "rules": others + [_rule(*used) for used in _USED]})


def _issuer(site: Site) -> dict[str, Any]:
    issuer: dict[str, Any] = {
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "keys": {"jwks_file": str(site.material.directory / "jwks.json")},
        "algorithms": ["ES256", "RS256"],
    }
    if site.dpop:
        issuer["schemes"] = ["Bearer", "DPoP"]
    if not site.introspection:
        return issuer
    secret = site.run / "client-secret.txt"
    asking = {
        "when": "opaque",
        "endpoint": f"http://127.0.0.1:{site.introspection}/introspect",
        "client_id": "api",
        "client_authentication": {"method": "client_secret_basic", "client_secret_file": str(secret)},
    }
    # plain HTTP: every peer asks the same issuer the same way, on loopback
    return {**issuer, "http": {"insecure_plain_http_anyone_can_forge_keys": True}, "introspection": asking}


def write_secret(site: Site) -> None:
    """What the sidecar authenticates with to the issuer, which does not look at it."""
    path = site.run / "client-secret.txt"
    path.touch(mode=0o600)
    path.write_text("not-a-secret\n")


def _rule(name: str, methods: list[str], path: str, scope: str) -> dict[str, Any]:
    return {"name": name, "match": {"methods": methods, "path": path}, "require": {"scopes": [scope]}}


def _yaml(document: dict[str, Any]) -> str:
    return yaml.safe_dump(document, sort_keys=False)
