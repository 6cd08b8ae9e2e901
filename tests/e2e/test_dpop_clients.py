"""DPoP (RFC 9449) on real parts: npm `oidc-provider` binds tokens to keys, with and without nonces, and clients that
others wrote (npm `dpop`, `oauth4webapi`, `openid-client`) present them to the sidecar, with and without nonces."""

import base64
import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.trust import sidecar_trusting
from tests.real.provider import HERE, OidcProvider
from tests.real.upstreams import Upstream
from tests.support.mint import AUDIENCE
from tests.support.pki import Pki, certificate_pem
from tests.support.sidecar import Sidecar

pytestmark = pytest.mark.real

LIBRARIES = ["dpop", "oauth4webapi", "openid-client"]
CLIENT = "unbound"
"""One without a certificate: what its tokens are bound to is the key of its proofs."""


@dataclass(frozen=True)
class Place:
    """An authorization server, and a sidecar that trusts it."""

    provider: OidcProvider
    sidecar: Sidecar
    folder: Path

    def request(self, path: str = "/accounts/1", **more: object) -> dict[str, object]:
        return {"method": "GET", "url": self.sidecar.url + path, **more}

    def play(
        self,
        library: str,
        *requests: Mapping[str, object],
        algorithm: str = "ES256",
        scope: str = "accounts:read",
    ) -> dict[str, Any]:
        """What the library's caller sees."""
        config = self.folder / "client.json"
        client = self.provider.clients[CLIENT]
        config.write_text(
            json.dumps(
                {
                    "issuer": self.provider.issuer,
                    "clientId": client.client_id,
                    "secret": client.secret,
                    "tokenResource": f"{AUDIENCE}/ES256",
                    "scope": scope,
                    "requests": requests,
                }
            )
        )
        authority = self.folder / "authority.crt"
        authority.write_bytes(certificate_pem(self.provider.pki.server_authority.certificate))
        done = subprocess.run(
            ["node", HERE / "dpop_clients.mjs", library, algorithm, config],
            env={"NODE_EXTRA_CA_CERTS": str(authority), "PATH": "/usr/local/bin:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found


def claims(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return found


@pytest.fixture(scope="module", params=[False, True], ids=["no nonces", "nonces"])
def place(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    pki: Pki,
    flask_upstream: Upstream,
) -> Iterator[Place]:
    """Both ask for nonces, or neither does."""
    folder = tmp_path_factory.mktemp("dpop")
    key = folder / "nonce-key"
    key.write_text("n" * 48)
    key.chmod(0o600)
    dpop = {"nonce": "required"} if request.param else {}
    with OidcProvider(folder / "provider", pki, dpop_nonces=request.param) as provider:
        trusted = {"schemes": ["Bearer", "DPoP"], "dpop": dpop}
        sidecar = sidecar_trusting(provider, folder / "sidecar", flask_upstream, **trusted)
        document = yaml.safe_load(sidecar.config.read_text())
        document["protected_resource"] = {"resource": AUDIENCE, "origins": [sidecar.url]}
        sidecar.write_service({**document, "dpop": {"nonce_key_file": str(key)}})
        with sidecar:
            yield Place(provider, sidecar, folder)


@pytest.mark.parametrize("library", LIBRARIES)
def test_token_that_the_server_bound_to_a_key_reaches_the_api_with_a_proof_for_each_request(
    library: str, place: Place
) -> None:
    came = place.play(
        library,
        place.request(),
        place.request("/accounts/2?a=b"),
        place.request(method="POST", body="amount=1"),
    )
    assert came["tokenType"].lower() == "dpop"
    assert claims(came["token"])["cnf"] == {"jkt": came["thumbprint"]}
    assert [answer["status"] for answer in came["answers"]] == [200, 200, 200]
    seen = [json.loads(answer["body"]) for answer in came["answers"]]
    assert [one["path"] for one in seen] == ["/accounts/1", "/accounts/2?a=b", "/accounts/1"]
    assert (seen[2]["method"], seen[2]["body"]["text"]) == ("POST", "amount=1")
    for one in seen:
        assert one["environ"]["HTTP_X_AUTH_CLIENT"] == CLIENT
        assert not {"HTTP_AUTHORIZATION", "HTTP_DPOP"} & one["environ"].keys()


@pytest.mark.parametrize("library", LIBRARIES)
def test_client_that_signs_with_ed25519_is_served(library: str, place: Place) -> None:
    came = place.play(library, place.request(), algorithm="Ed25519")
    assert [answer["status"] for answer in came["answers"]] == [200]


@pytest.mark.parametrize("library", LIBRARIES)
def test_refusal_is_one_that_the_client_understands(library: str, place: Place) -> None:
    """The rule asks for another scope than the token has: no error of the proof, and no endless retry."""
    came = place.play(library, place.request(), place.request("/other"), scope="accounts:write")
    refused, served = came["answers"]
    assert (refused["status"], served["status"]) == (403, 200)
    assert 'DPoP error="insufficient_scope"' in refused["challenge"]
    if library != "dpop":  # the others read challenges
        assert [one["scheme"] for one in refused["parsed"]][:1] == ["dpop"]
        assert refused["parsed"][0]["parameters"]["error"] == "insufficient_scope"
