"""Issuers in figures and on the admin page: keys, their age, introspection, and the last error by its phase."""

import json
import time
from pathlib import Path

from tests.process.world import checks, events, fast, figures, get
from tests.support.issuer import INTROSPECTION_PATH, ScriptedIssuer, answer
from tests.support.mint import AUDIENCE, SigningKey
from tests.support.pki import Pki
from tests.support.processes import eventually
from tests.support.recorder import Recorder
from tests.support.sidecar import Sidecar, issuer, policy


def configured(folder: Path, pki: Pki, authority: ScriptedIssuer, upstream: str) -> Sidecar:
    """One issuer over https, asked about opaque tokens too."""
    trusted = issuer(
        issuer=authority.url,
        keys={"jwks_file": None, "jwks_url": authority.jwks_url, "staleness_budget": "12h"},
        http={"ca_file": "../tls/issuer-ca.crt"},
        introspection={
            "when": "opaque",
            "endpoint": authority.introspection_url,
            "client_id": "api",
            "client_authentication": {"method": "client_secret_basic", "client_secret_file": "../secret"},
        },
    )
    one = Sidecar(folder, pki, upstream, policy_document=policy(issuers=[trusted]), service=fast(None))
    (folder / "tls" / "issuer-ca.crt").write_bytes(pki.server_authority.pem)
    (folder / "secret").touch(mode=0o600)
    (folder / "secret").write_text("a secret of the test\n")
    return one


def test_keys_and_introspection_are_counted_and_an_outage_has_its_cause(
    tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> None:
    with Recorder() as upstream, ScriptedIssuer(certificate=pki.server, keys=[signing_key]) as authority:
        authority.tokens["opaque-1"] = {
            "active": True,
            "iss": authority.url,
            "aud": AUDIENCE,
            "exp": int(time.time()) + 300,
            "scope": "accounts:read",
            "client_id": "client-1",
            "cnf": {"x5t#S256": pki.client.thumbprint},
        }
        name = authority.url
        with configured(tmp_path, pki, authority, upstream.url) as one:
            with one.connect(pki.client) as wire:
                for _ in range(2):
                    assert wire.request("GET", "/accounts/1", token="opaque-1").status == 200
                assert wire.request("GET", "/accounts/1", token="opaque-2").status == 401
            found = figures(one)
            assert found[("sidecar_jwks_keys", name)] == 1
            assert found[("sidecar_jwks_refresh_total", name, "success")] == 1
            assert ("sidecar_jwks_age_seconds", name) in found
            assert found[("sidecar_jwks_staleness_budget_seconds", name)] == 12 * 3600
            assert found[("sidecar_introspection_total", name, "active")] == 1
            assert found[("sidecar_introspection_total", name, "inactive")] == 1
            assert found[("sidecar_introspection_cache_entries", name)] == 2
            authority.answers[INTROSPECTION_PATH] = answer(b"down for repair", status=500)
            with one.connect(pki.client) as wire:
                assert wire.request("GET", "/accounts/1", token="opaque-3").status == 503
            eventually(lambda: figures(one).get(("sidecar_introspection_total", name, "status"), 0) >= 1)
            _, state = get(f"{one.admin_url}/state", **one.admin_headers)
            (shown,) = json.loads(state)["issuers"]
            assert shown["last_error"].startswith("introspection status: ")
            assert checks(one)[f"issuer keys {name}"][0], "an outage later on takes nobody out of service"
            eventually(lambda: bool(events(one, "introspection failed")))
