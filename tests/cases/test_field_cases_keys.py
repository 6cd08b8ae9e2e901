"""Keys and issuers as servers have them: key sets, metadata, endpoints; each row was met in the field."""

import asyncio
import json
from codecs import BOM_UTF8
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar.command.cli import main
from sidecar.decision import jose
from sidecar.decision.denial import Reason
from sidecar.decision.token import AccessToken
from sidecar.issuer.client_authentication import client_authenticator
from sidecar.issuer.clock import SYSTEM_CLOCK
from sidecar.issuer.configuration import Anonymous, BearerToken
from sidecar.issuer.http import FetchFailed, quoted
from sidecar.issuer.keys import load_key_set
from sidecar.issuer.metadata import parse_metadata, parse_object
from sidecar.rehearsal.key_sources import local_keys
from tests.support.configuration import ISSUER, Configuration
from tests.support.mint import SigningKey, jwks
from tests.support.pki import Pki
from tests.support.world import Keys, authorizer, decide, denied, head, permitted, policy, presenter

OPTIONAL = ("use", "alg", "kid", "key_ops", "x5c", "x5t", "x5u", "oth", "k", "d", "p", "q", "dp", "dq", "qi")


@pytest.mark.parametrize("empty", [None, "", []], ids=["null", "empty text", "empty list"])
@pytest.mark.parametrize("name", OPTIONAL)
@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_member_that_is_null_or_empty_is_absent(
    signing_keys: Callable[[str], SigningKey], algorithm: str, name: str, empty: object
) -> None:
    key = signing_keys(algorithm)
    keys = load_key_set({"keys": [{**key.jwk, name: empty}]}, 100)
    assert (len(keys), keys.skipped) == (1, ())
    assert len(keys.fitting(None if name == "kid" else key.kid, algorithm)) == 1


@pytest.mark.parametrize("name", ["n", "e", "kty"])
def test_a_member_that_must_be_there_may_be_neither_null_nor_empty(
    signing_keys: Callable[[str], SigningKey], name: str
) -> None:
    values: list[object] = [None, "", []]
    for empty in values:
        assert len(load_key_set({"keys": [{**signing_keys("RS256").jwk, name: empty}]}, 100)) == 0


@pytest.mark.parametrize("name", ["k", "d", "oth"])
def test_a_member_that_says_something_still_counts(
    signing_keys: Callable[[str], SigningKey], name: str
) -> None:
    value = ["x"] if name == "oth" else "eA"
    assert len(load_key_set({"keys": [{**signing_keys("RS256").jwk, name: value}]}, 100)) == 0


def test_the_same_kid_of_an_rsa_and_an_ec_key_is_told_apart_by_the_algorithm(
    signing_keys: Callable[[str], SigningKey],
) -> None:
    """RFC 7517 §4.5."""
    both = [signing_keys(name).with_kid("1") for name in ("RS256", "ES256")]
    keys = load_key_set(jwks(*both), 100)
    assert (len(keys), keys.skipped) == (2, ())
    for key in both:
        jws = jose.parse(AccessToken(key.token(), b"k"))
        assert jose.verify(jws, {"RS256", "ES256"}, keys).key.algorithms == {key.algorithm}
    saved = load_key_set(keys.document(), 100, keys)
    assert [saved.is_current(key) for name in ("RS256", "ES256") for key in keys.fitting("1", name)] == [
        True,
        True,
    ]


def test_two_keys_for_one_algorithm_under_one_kid_are_still_refused(signing_key: SigningKey) -> None:
    other = SigningKey.create("ES256").with_kid(signing_key.kid)
    assert len(load_key_set(jwks(signing_key, other), 100)) == 0


@pytest.mark.parametrize("count", [2, 8])
def test_a_token_without_kid_is_held_against_each_key_that_fits(pki: Pki, count: int) -> None:
    several = [SigningKey.create("ES256", f"k{number}") for number in range(count)]
    gate = authorizer(policy(), Keys.of(*several))
    for key in several:
        token = key.token(pki.client, {"kid": None})
        permitted(decide(gate, head(token), presenter(pki.client)))
    stranger = SigningKey.create("ES256").token(pki.client, {"kid": None})
    assert denied(decide(gate, head(stranger), presenter(pki.client))).reason is Reason.SIGNATURE_INVALID


def test_no_token_is_held_against_more_than_eight_keys(pki: Pki) -> None:
    several = [SigningKey.create("ES256", f"k{number}") for number in range(9)]
    gate = authorizer(policy(), Keys.of(*several))
    ninth = several[8].token(pki.client, {"kid": None})
    assert denied(decide(gate, head(ninth), presenter(pki.client))).reason is Reason.SIGNATURE_INVALID
    permitted(decide(gate, head(several[8].token(pki.client)), presenter(pki.client)))


def test_a_byte_order_mark_is_passed_over(signing_key: SigningKey) -> None:
    document = jwks(signing_key)
    assert parse_object(BOM_UTF8 + json.dumps(document).encode()) == document
    with pytest.raises(FetchFailed):
        parse_object(BOM_UTF8 + BOM_UTF8 + b"{}")


def test_a_key_set_in_a_file_may_begin_with_a_byte_order_mark(
    configuration: Configuration, signing_key: SigningKey
) -> None:
    """`check` calls it good, and what runs has its keys."""
    file = configuration.folder / "policies" / "jwks.json"
    file.write_bytes(BOM_UTF8 + json.dumps(jwks(signing_key)).encode())
    configuration.write_policy(
        ISSUER.replace("{discovery: true}", "{jwks_file: jwks.json}")
        + "rules:\n  - {name: a, match: {path: /a}}\n"
    )
    loaded = configuration.load()
    assert loaded.warnings == ()
    keys = local_keys(loaded.issuers, None).keys("https://as.example.com")
    assert len(keys.fitting(signing_key.kid, signing_key.algorithm)) == 1


@pytest.mark.parametrize(
    ("named", "shown"),
    [
        ("https://as.example.com/", '"https://as.example.com/"'),
        ("a\nb\u00fc", '"a\\nb\\xfc"'),
        ("x" * 300, f'"{"x" * 200}…"'),
        (None, "none"),
        (7, "none"),
    ],
)
def test_an_issuer_that_differs_is_shown_beside_the_configured_one(named: object, shown: str) -> None:
    with pytest.raises(FetchFailed) as caught:
        parse_metadata({"issuer": named}, "https://as.example.com")
    expected = f'the metadata names another issuer: {shown}, not "https://as.example.com"'
    assert caught.value.detail == expected


def test_what_a_peer_said_is_shown_bounded_and_escaped() -> None:
    assert quoted("https://x/\r\n\x1b[2J") == '"https://x/\\r\\n\\x1b[2J"'
    assert len(quoted("\u00fc" * 5000)) < 1000


def credentials(settings: Any) -> dict[str, str]:
    return asyncio.run(
        client_authenticator(settings, "https://as.example.com", SYSTEM_CLOCK).credentials()
    ).headers


def test_an_endpoint_may_want_a_bearer_token_or_nothing(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("abc.def\n")
    assert credentials(BearerToken("api", file)) == {"Authorization": "Bearer abc.def"}
    assert credentials(Anonymous("api")) == {}


BEARER, NOBODY = "{method: bearer, token_file: token}", "{method: insecure_none}"


@pytest.fixture
def configuration(tmp_path: Path, pki: Pki) -> Configuration:
    return Configuration.create(tmp_path, pki)


@pytest.mark.parametrize(
    ("method", "content", "problem"),
    [
        (BEARER, "abc", ""),
        ("{method: bearer}", "abc", "`method: bearer` needs `token_file`"),
        (BEARER, "two words", "the file holds no access token on one line"),
        ("{method: insecure_none, token_file: token}", "abc", "`token_file` has no effect"),
        (NOBODY, "abc", ""),
    ],
)
def test_check_knows_how_the_endpoint_is_asked(
    configuration: Configuration, capsys: pytest.CaptureFixture[str], method: str, content: str, problem: str
) -> None:
    file = configuration.folder / "policies" / "token"
    file.write_text(content)
    file.chmod(0o600)
    configuration.write_policy(
        "issuers:\n  - issuer: https://as.example.com\n    audience: a\n    introspection:\n      when: opaque\n"
        f"      endpoint: https://as.example.com/i\n      client_id: api\n      client_authentication: {method}\n"
        "rules:\n  - name: all\n    match: {path: /**}\n"
    )
    code = main(["check", "--config", str(configuration.file)])
    told = "".join(capsys.readouterr())
    assert problem in told
    assert code == (1 if problem else 0)
    assert ("insecure_none` is on" in told) is (method == NOBODY)
    assert content not in told
