"""Who the caller is, as Flask, Django and CGI read it: what the sidecar says, and nothing that the client says."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.real.upstreams import Upstream
from tests.support.mint import SigningKey
from tests.support.pki import Pki
from tests.support.sidecar import Sidecar, policy
from tests.support.tls_client import Wire, chunked

pytestmark = pytest.mark.real

IDENTITY_HEADERS = {"X-Auth-Subject": "sub", "X-Auth-Scope": "scope"}
FORGED = [
    "X-Auth-Subject",
    "x-auth-subject",
    "X-AUTH-SUBJECT",
    "X_Auth_Subject",
    "X-Auth_Subject",
    "X_Auth-Subject",
    "x_auth_subject",
    "X.Auth.Subject",
    "HTTP_X_AUTH_SUBJECT",
]


@pytest.fixture(scope="module", params=["flask", "django", "cgi"])
def sidecar(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    pki: Pki,
    signing_key: SigningKey,
) -> Iterator[Sidecar]:
    upstream: Upstream = request.getfixturevalue(f"{request.param}_upstream")
    service = {"upstream": {"identity_headers": IDENTITY_HEADERS}}
    own = {"name": "own", "match": {"path": "/own/**"}, "identity_headers": {"X-Client": "client_id"}}
    document = policy(rules=[own, *policy()["rules"]])
    folder = tmp_path_factory.mktemp(upstream.name)
    with Sidecar(
        folder, pki, upstream.url, policy_document=document, keys=[signing_key], service=service
    ) as running:
        yield running


def environ(wire: Wire, target: str, fields: list[tuple[str, str]], token: str | None) -> dict[str, Any]:
    """The API's view of a request."""
    answer = wire.request("GET", target, fields, token=token)
    assert answer.status == 200, answer
    return dict(answer.json()["environ"])


def named_like(seen: dict[str, Any], value: str) -> list[str]:
    return [name for name, found in seen.items() if value in str(found)]


@pytest.mark.parametrize("name", FORGED)
def test_cases_forged_identity_never_arrives_beside_the_real_one(
    sidecar: Sidecar, pki: Pki, signing_key: SigningKey, name: str
) -> None:
    token = signing_key.token(pki.client, sub="alice")
    with sidecar.connect(pki.client) as wire:
        seen = environ(wire, "/accounts/1", [(name, "mallory"), (name, "mallory")], token)
    assert seen["HTTP_X_AUTH_SUBJECT"] == "alice"
    assert seen["HTTP_X_AUTH_SCOPE"] == "accounts:read"
    assert [one for one in named_like(seen, "mallory") if "AUTH_SUBJECT" in one] == []


def test_headers_of_a_rule_stand_in_place_of_the_upstreams(
    sidecar: Sidecar, pki: Pki, signing_key: SigningKey
) -> None:
    """With one token on one connection, under one rule and the other in turn."""
    token = signing_key.token(pki.client, sub="alice", client_id="shop")
    forged = [("X-Client", "mallory"), ("X-Auth-Subject", "mallory")]
    with sidecar.connect(pki.client) as wire:
        seen = [environ(wire, target, forged, token) for target in ("/own/1", "/accounts/1", "/own/2")]
    told = [(one.get("HTTP_X_CLIENT"), one.get("HTTP_X_AUTH_SUBJECT")) for one in seen]
    assert told == [("shop", None), (None, "alice"), ("shop", None)]
    assert [named_like(one, "mallory") for one in seen] == [[], [], []]


def test_cases_forged_identity_never_arrives_under_a_public_rule(sidecar: Sidecar, pki: Pki) -> None:
    with sidecar.connect(pki.client) as wire:
        seen = environ(wire, "/public/page", [(name, "mallory") for name in FORGED], None)
    assert "HTTP_X_AUTH_SUBJECT" not in seen
    assert [one for one in named_like(seen, "mallory") if "AUTH_SUBJECT" in one] == []


@pytest.mark.parametrize(
    "option", ["X-Auth-Subject", "close, X-Auth-Subject", "x-auth-subject, X_Auth_Subject"]
)
def test_cases_connection_option_does_not_remove_the_identity(
    sidecar: Sidecar, pki: Pki, signing_key: SigningKey, option: str
) -> None:
    token = signing_key.token(pki.client, sub="alice")
    with sidecar.connect(pki.client) as wire:
        seen = environ(wire, "/accounts/1", [("Connection", option)], token)
    assert seen["HTTP_X_AUTH_SUBJECT"] == "alice"


def test_cases_forged_identity_in_a_trailer_never_arrives(
    sidecar: Sidecar, pki: Pki, signing_key: SigningKey
) -> None:
    body = chunked(b"abc", trailers={"X-Auth-Subject": "mallory", "X_Auth_Subject": "mallory"})
    token = signing_key.token(pki.client, sub="alice")
    with sidecar.connect(pki.client) as wire:
        answer = wire.request("POST", "/accounts/1", {"Transfer-Encoding": "chunked"}, body, token=token)
    assert answer.json()["environ"]["HTTP_X_AUTH_SUBJECT"] == "alice"
    assert b"mallory" not in answer.body


@pytest.mark.parametrize(
    "subject",
    ["a\r\nX-Admin: 1", "a\nX-Admin: 1", "a\x00b", "ünïcode", "100%", "a,b", " padded "],
    ids=["CR LF", "LF", "NUL", "UTF-8", "percent", "comma", "spaces"],
)
def test_cases_claim_cannot_add_a_header(
    sidecar: Sidecar, pki: Pki, signing_key: SigningKey, subject: str
) -> None:
    """A claim goes out encoded, or the request is refused; it never breaks out of its field."""
    with sidecar.connect(pki.client) as wire:
        answer = wire.request(target="/accounts/1", token=signing_key.token(pki.client, sub=subject))
    if answer.status == 200:
        seen = answer.json()["environ"]
        assert "HTTP_X_ADMIN" not in seen
        assert seen["HTTP_X_AUTH_SUBJECT"].isascii()
        assert seen["HTTP_X_AUTH_SUBJECT"].isprintable()
    else:
        assert answer.status in {401, 403}
