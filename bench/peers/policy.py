"""The sidecar's own configuration for the benchmark: as shipped, with access log, metrics and N rules."""

from pathlib import Path
from typing import Any

import yaml

from bench.material import AUDIENCE, ISSUER

_LAST = (  # the rules that are used stand last, so each request walks the whole list
    ("upload", ["POST"], "/upload", "files:write"),
    ("download", ["GET"], "/files/**", "files:read"),
    ("accounts", ["GET", "HEAD"], "/accounts/{id}", "accounts:read"),
)


def service(port: int, health: int, upstream: int, material: Path, workers: int = 1) -> str:
    """The service file's text; everything not named keeps its default."""
    tls = {"certificate_file": str(material / "server.crt"), "private_key_file": str(material / "server.key")}
    return _yaml(
        {
            "listeners": [
                {"address": f"127.0.0.1:{port}", "tls": tls, "client_certificate": {"trust": "any"}}
            ],
            "upstream": {"url": f"http://127.0.0.1:{upstream}"},
            "policy_files": ["policy.yaml"],
            "health": {"address": f"127.0.0.1:{health}"},
            "limits": {"connections": 12000},
            "timeouts": {"idle": "300s"},
            "logging": {"format": "json", "access": "all"},
            "workers": workers,
        }
    )


def policy(rules: int, material: Path, introspection: int = 0) -> str:
    """The policy file's text with exactly `rules` rules, of which the last three match the loads."""
    if rules < len(_LAST):
        raise ValueError(f"at least {len(_LAST)} rules")
    fillers = [
        _rule(f"service-{n}", ["GET", "POST"], f"/service-{n}/{{id}}/**", f"service-{n}:read")
        for n in range(rules - len(_LAST))
    ]
    issuer: dict[str, Any] = {
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "keys": {"jwks_file": str(material / "jwks.json")},
        "algorithms": ["ES256", "RS256"],
    }
    if introspection:
        issuer["introspection"] = {
            "when": "opaque",
            "endpoint": f"http://127.0.0.1:{introspection}/introspect",
            "client_id": "api",
            "client_authentication": {"method": "none"},
        }
    return _yaml({"issuers": [issuer], "rules": fillers + [_rule(*last) for last in _LAST]})


def _rule(name: str, methods: list[str], path: str, scope: str) -> dict[str, Any]:
    return {"name": name, "match": {"methods": methods, "path": path}, "require": {"scopes": [scope]}}


def _yaml(document: dict[str, Any]) -> str:
    return yaml.safe_dump(document, sort_keys=False)
