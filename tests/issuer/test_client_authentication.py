"""How the sidecar proves who asks: one test a method, and the secrets that change under it."""

import asyncio
import json
from base64 import b64decode, urlsafe_b64decode
from pathlib import Path
from urllib.parse import unquote_plus

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from sidecar.issuer.client_authentication import ASSERTION_TYPE, Credentials, client_authenticator
from sidecar.issuer.configuration import (
    ClientAuthentication,
    ClientSecretBasic,
    ClientSecretPost,
    PrivateKeyJwt,
    SelfSignedTlsClientAuth,
    TlsClientAuth,
)
from tests.support.issuer_events import ManualClock
from tests.support.mint import SigningKey
from tests.support.pki import make_key, private_key_pem, public_key_pem

ISSUER = "https://as.example.com"
SECRET = "pass word:+%é"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text(SECRET + "\n", encoding="utf-8")
    return path


def credentials(settings: ClientAuthentication, clock: ManualClock) -> Credentials:
    return asyncio.run(client_authenticator(settings, ISSUER, clock.clock).credentials())


def test_basic_encodes_both_parts_before_joining_them(secret: Path, clock: ManualClock) -> None:
    # RFC 6749 §2.3.1: application/x-www-form-urlencoded, then Basic; else a colon in the id would split wrongly.
    given = credentials(ClientSecretBasic("my:client é", secret), clock)
    scheme, _, pair = given.headers["Authorization"].partition(" ")
    client_id, _, password = b64decode(pair).decode("ascii").partition(":")
    assert scheme == "Basic"
    assert unquote_plus(client_id) == "my:client é"
    assert unquote_plus(password) == SECRET
    assert given.form == {}


def test_post_puts_the_secret_into_the_form(secret: Path, clock: ManualClock) -> None:
    given = credentials(ClientSecretPost("api", secret), clock)
    assert given.form == {"client_id": "api", "client_secret": SECRET}
    assert given.headers == {}


@pytest.mark.parametrize(
    ("kind", "algorithm"),
    [("RSA-2048", "PS256"), ("P-256", "ES256"), ("P-384", "ES384"), ("P-521", "ES512"), ("Ed25519", "EdDSA")],
)
def test_assertion_is_signed_with_what_fits_the_key(
    kind: str, algorithm: str, tmp_path: Path, clock: ManualClock
) -> None:
    key = make_key(kind)
    path = tmp_path / "key.pem"
    path.write_bytes(private_key_pem(key))
    given = credentials(PrivateKeyJwt("api", path, key_id="k1"), clock)
    assertion = given.form["client_assertion"]
    assert given.form["client_assertion_type"] == ASSERTION_TYPE
    assert jwt.get_unverified_header(assertion) == {"alg": algorithm, "typ": "JWT", "kid": "k1"}
    claims = jwt.decode(
        assertion,
        public_key_pem(key),
        [algorithm],
        audience=ISSUER,
        options={"verify_exp": False, "verify_iat": False},
    )
    assert claims["iss"] == claims["sub"] == "api"
    assert (claims["iat"], claims["exp"]) == (int(clock.wall), int(clock.wall) + 60)


def test_ed25519_by_its_own_name_signs_as_eddsa(tmp_path: Path, clock: ManualClock) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(private_key_pem(make_key("Ed25519")))
    given = credentials(PrivateKeyJwt("api", path, "Ed25519"), clock)
    assert jwt.get_unverified_header(given.form["client_assertion"])["alg"] == "EdDSA"


def test_each_assertion_has_an_identifier_of_its_own(tmp_path: Path, clock: ManualClock) -> None:
    # RFC 7523 §3: `jti` lets the issuer refuse a replayed assertion.
    path = tmp_path / "key.pem"
    path.write_bytes(private_key_pem(make_key()))
    settings = PrivateKeyJwt("api", path, audience="https://as.example.com/introspect")
    first, second = (payload(credentials(settings, clock).form["client_assertion"]) for _ in range(2))
    assert first["jti"] != second["jti"]
    assert first["aud"] == "https://as.example.com/introspect"


def payload(token: str) -> dict[str, object]:
    part = token.split(".")[1]
    return dict(json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4))))


@pytest.mark.parametrize("method", [TlsClientAuth, SelfSignedTlsClientAuth])
def test_certificate_methods_name_the_client(
    method: type[TlsClientAuth | SelfSignedTlsClientAuth], tmp_path: Path, clock: ManualClock
) -> None:
    # RFC 8705 §2: "the client_id parameter" tells the issuer whose certificate to expect.
    given = credentials(method("api", tmp_path / "c", tmp_path / "k"), clock)
    assert given == Credentials({"client_id": "api"}, {})


def test_changed_secret_is_used_within_a_second(secret: Path, clock: ManualClock) -> None:
    authenticator = client_authenticator(ClientSecretPost("api", secret), ISSUER, clock.clock)

    async def scenario() -> None:
        secret.write_text("rotated")
        assert (await authenticator.credentials()).form["client_secret"] == SECRET
        clock.advance(1)
        assert (await authenticator.credentials()).form["client_secret"] == "rotated"
        secret.write_text("")
        clock.advance(1)
        assert (await authenticator.credentials()).form["client_secret"] == "rotated"
        secret.unlink()
        clock.advance(1)
        assert (await authenticator.credentials()).form["client_secret"] == "rotated"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("pem", "algorithm"),
    [
        (b"not a key", None),
        (private_key_pem(make_key("RSA-1024")), None),
        (private_key_pem(make_key("P-256")), "RS256"),
        (private_key_pem(make_key("P-256")), "ES384"),
        (private_key_pem(make_key("P-256")), "none"),
        (private_key_pem(make_key("P-256")), "ES999"),
        (public_key_pem(make_key("P-256")), None),
        (SigningKey.create("ES256", key=ec.generate_private_key(ec.SECP256K1())).public_pem, None),
    ],
    ids=["no-key", "weak", "type", "curve", "none", "unknown", "public", "secp256k1"],
)
def test_key_that_cannot_sign_is_an_error_at_start(
    pem: bytes, algorithm: str | None, tmp_path: Path, clock: ManualClock
) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(pem)
    with pytest.raises(ValueError, match=r"key|RSA"):
        client_authenticator(PrivateKeyJwt("api", path, algorithm), ISSUER, clock.clock)


def test_missing_or_empty_secret_is_an_error_at_start(tmp_path: Path, clock: ManualClock) -> None:
    with pytest.raises(OSError, match="No such file"):
        client_authenticator(ClientSecretBasic("api", tmp_path / "missing"), ISSUER, clock.clock)
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(ValueError, match="empty"):
        client_authenticator(ClientSecretBasic("api", tmp_path / "empty"), ISSUER, clock.clock)


def test_secret_shows_in_no_repr(secret: Path, clock: ManualClock) -> None:
    given = credentials(ClientSecretPost("api", secret), clock)
    assert SECRET not in repr(given)
    assert SECRET not in repr(client_authenticator(ClientSecretPost("api", secret), ISSUER, clock.clock))
