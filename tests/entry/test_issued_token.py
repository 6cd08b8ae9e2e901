"""The auditor: what is known of a token that was just issued (RFC 8705 §3.1, §3.2; RFC 9449 §6)."""

import base64
import gzip
import hashlib
import json
import zlib
from collections.abc import Callable
from urllib.parse import quote

import pytest

from sidecar.decision.strict import Malformed
from sidecar.entry.issued_token import LONGEST, BindingVerdict, claims_of, content, issued, judged
from tests.support.mint import SigningKey
from tests.support.pki import Pki, certificate_pem, thumbprint

OPAQUE = "2YotnFZFEjr1zCsicMWpAA"


def confirmed(member: str, value: object) -> dict[str, object]:
    return {"sub": "client-1", "cnf": {member: value}}


def text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


HEADER = text(b'{"alg":"ES256"}')

# --- the verdict


def test_token_bound_to_the_certificate_of_the_connection_is_bound(pki: Pki) -> None:
    found = judged(confirmed("x5t#S256", pki.client.thumbprint), pki.client.presented)
    assert (found.verdict, found.is_good) == (BindingVerdict.BOUND, True)


def test_token_bound_to_another_certificate_is_a_mismatch(pki: Pki) -> None:
    found = judged(confirmed("x5t#S256", pki.other_client.thumbprint), pki.client.presented)
    assert (found.verdict, found.mistake, found.is_good) == (BindingVerdict.MISMATCH, "unknown", False)


@pytest.mark.parametrize(
    "claims", [{}, {"cnf": None}, {"cnf": {}}, confirmed("kid", "1"), confirmed("x5t", "AAAA")]
)
def test_token_that_confirms_no_key_we_know_is_unbound(claims: dict[str, object], pki: Pki) -> None:
    assert judged(claims, pki.client.presented).verdict is BindingVerdict.UNBOUND


def test_token_bound_to_the_key_of_a_proof_is_said_to_be_so(pki: Pki) -> None:
    found = judged(confirmed("jkt", "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"), pki.client.presented)
    assert (found.verdict, found.is_good) == (BindingVerdict.PROOF_KEY, True)


def test_certificate_counts_where_both_members_are_there(pki: Pki) -> None:
    cnf = {"x5t#S256": pki.other_client.thumbprint, "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}
    assert judged({"cnf": cnf}, pki.client.presented).verdict is BindingVerdict.MISMATCH


@pytest.mark.parametrize("cnf", ["text", 1, [], True])
def test_confirmation_of_another_type_is_unreadable(cnf: object, pki: Pki) -> None:
    assert judged({"cnf": cnf}, pki.client.presented).verdict is BindingVerdict.UNREADABLE


@pytest.mark.parametrize("value", [1, None, ["x"], {}])
def test_thumbprint_of_another_type_is_a_mismatch(value: object, pki: Pki) -> None:
    assert judged(confirmed("x5t#S256", value), pki.client.presented).verdict is BindingVerdict.MISMATCH


def one_line(der: bytes) -> bytes:
    body = base64.b64encode(der)
    lines = [body[at : at + 64] for at in range(0, len(body), 64)]
    return b" ".join([b"-----BEGIN CERTIFICATE-----", *lines, b"-----END CERTIFICATE-----"])


@pytest.mark.parametrize(
    ("mistake", "value"),
    [
        ("hex", lambda one: sha256(one.der).hex()),
        ("hex", lambda one: sha256(one.der).hex(":").upper()),
        ("padded", lambda one: base64.urlsafe_b64encode(sha256(one.der)).decode()),
        ("sha1", lambda one: text(hashlib.sha1(one.der).digest())),
        ("pem_text", lambda one: text(sha256(certificate_pem(one.certificate)))),
        ("pem_text", lambda one: text(sha256(base64.b64encode(one.der)))),
        ("header_text", lambda one: text(sha256(b":" + base64.b64encode(one.der) + b":"))),
        ("header_text", lambda one: text(sha256(one_line(one.der)))),
        ("header_text", lambda one: text(sha256(quote(certificate_pem(one.certificate), safe="").encode()))),
        ("header_text", lambda one: sha256(b"%b, %b" % (one_line(one.der), one_line(one.der))).hex()),
        ("nothing", lambda _one: "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"),
        ("nothing", lambda _one: text(sha256(b"(null)"))),
        ("unknown", lambda _one: ""),
        ("unknown", lambda _one: "garbage"),
        ("unknown", lambda _one: "x" * 100_000),
    ],
)
def test_known_wrong_hash_is_named(mistake: str, value: Callable[..., str], pki: Pki) -> None:
    found = judged(confirmed("x5t#S256", value(pki.client)), pki.client.presented)
    assert (found.verdict, found.mistake) == (BindingVerdict.MISMATCH, mistake)
    assert len(found.detail) < 600


# --- reading the token


def test_claims_of_a_signed_token_are_read_without_its_key(signing_key: SigningKey, pki: Pki) -> None:
    claims = claims_of(signing_key.token(pki.client))
    assert claims is not None
    assert claims["cnf"] == {"x5t#S256": thumbprint(pki.client.certificate)}


@pytest.mark.parametrize(
    "token",
    [
        OPAQUE,
        "a.b",
        "a.b.c",
        "a.b.c.d.e",
        "..",
        f"{text(b'[]')}.e30.x",
        f"{text(b'{}')}.e30.x",
        "v1.public.x",
    ],
)
def test_token_that_is_no_jwt_is_opaque(token: str) -> None:
    assert claims_of(token) is None


@pytest.mark.parametrize("payload", [b"[]", b"{", b'{"a":1,"a":2}', b"\xff", b"1"])
def test_jwt_whose_claims_cannot_be_read_is_malformed(payload: bytes) -> None:
    with pytest.raises(Malformed):
        claims_of(f"{HEADER}.{text(payload)}.x")


# --- reading the response


def test_tokens_of_a_response_are_found_and_never_shown() -> None:
    body = json.dumps({"access_token": OPAQUE, "token_type": "Bearer", "refresh_token": "r"}).encode()
    tokens = issued(body)
    assert (tokens.access_token, tokens.refresh_token) == (OPAQUE, "r")
    assert OPAQUE not in repr(tokens)


@pytest.mark.parametrize(
    "document", [{"refresh_token": 1}, {"refresh_token": None}, {"refresh_token": "é"}, {}]
)
def test_refresh_token_that_is_none_is_none(document: dict[str, object]) -> None:
    assert issued(json.dumps({"access_token": "t", **document}).encode()).refresh_token is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"access_token":""}',
        b'{"access_token":1}',
        '{"access_token":"é"}'.encode(),
    ],
)
def test_response_without_a_token_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        issued(body)


@pytest.mark.parametrize("coding", ["", "identity", " Identity "])
def test_content_without_a_coding_is_as_it_came(coding: str) -> None:
    assert content(b"{}", coding) == b"{}"


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", " GZIP"])
def test_gzip_is_decoded_though_it_was_not_asked_for(coding: str) -> None:
    assert content(gzip.compress(b"{}"), coding) == b"{}"


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (b"{}", "br"),
        (b"{}", "gzip, gzip"),
        (b"{}", "gzip"),
        (zlib.compress(b"{}"), "gzip"),
        (gzip.compress(b"{}" * 1000)[:-9], "gzip"),
        (gzip.compress(b"{}") + b"more", "gzip"),
        (gzip.compress(b"{}") + gzip.compress(b"{}"), "gzip"),
        (gzip.compress(b" " * (LONGEST + 1)), "gzip"),
        (gzip.compress(b" " * (64 << 20)), "gzip"),
        (b" " * (LONGEST + 1), ""),
    ],
    ids=range(10),
)
def test_content_that_is_not_as_it_says_or_too_long_is_malformed(body: bytes, coding: str) -> None:
    with pytest.raises(Malformed):
        content(body, coding)


def test_content_of_the_greatest_length_is_read() -> None:
    assert len(content(gzip.compress(b" " * LONGEST), "gzip")) == LONGEST
