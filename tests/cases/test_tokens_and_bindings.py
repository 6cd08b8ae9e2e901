"""Mistakes that products of this kind have made with tokens and bindings, and what this one does."""

import asyncio
import base64
import hashlib
import inspect
import json
import time
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sidecar.authorizer import Authorizer
from sidecar.decision import confirmation, profile
from sidecar.decision.denial import Denial, Denied, Reason, shape
from sidecar.decision.diagnosis import diagnose_thumbprint
from sidecar.decision.policy import Binding, IntrospectWhen
from sidecar.decision.ports import IssuerUnavailable
from sidecar.decision.strict import Malformed
from sidecar.decision.token import TokenDigest
from tests.support.mint import (
    AUDIENCE,
    ISSUER,
    SigningKey,
    base64url,
    claims_set,
    keyed_by_public_key,
    tampered,
    unsigned,
)
from tests.support.pki import Pki, certificate_pem
from tests.support.world import (
    Introspection,
    Keys,
    authorizer,
    decide,
    denied,
    head,
    issuer_policy,
    permitted,
    policy,
    presentation,
    presenter,
    rule,
)


@pytest.fixture
def gate(signing_key: SigningKey) -> Authorizer:
    return authorizer(policy(), Keys.of(signing_key))


def refusal(gate: Authorizer, token: str, pki: Pki) -> Denial:
    """The refusal of a token that the rightful client presents; always a 401 that names invalid_token."""
    denial = denied(decide(gate, head(token), presenter(pki.client)))
    row = shape(denial.reason)
    assert row.status == 401
    assert row.error is not None
    assert row.error.value == "invalid_token"
    return denial


# --- binding -------------------------------------------------------------------------------------


def test_every_confirmation_method_returns_evidence_or_raises(pki: Pki) -> None:
    """A check that exists and lets everything pass looks like one that works. Here it must hand back what it found."""
    for method in confirmation.METHODS.values():
        right = method.parse(pki.client.thumbprint)
        for stranger in (presentation(pki.other_client), presentation(None)):
            with pytest.raises(Denied):
                method.confirm(right, stranger)
    certificate = confirmation.METHODS["x5t#S256"]
    right = certificate.parse(pki.client.thumbprint)
    assert certificate.confirm(right, presentation(pki.client)).member == "x5t#S256"
    assert set(confirmation.METHODS) == {
        "x5t#S256",
        "jkt",
    }  # `jkt`: tests/decision/confirmation/test_proof_key.py


@pytest.mark.parametrize("binding", list(Binding))
def test_confirmation_with_an_unknown_member_only_is_not_unbound(
    binding: Binding, signing_key: SigningKey, pki: Pki
) -> None:
    lax = authorizer(policy(rule(binding=binding)), Keys.of(signing_key))
    denial = refusal(lax, signing_key.token(cnf={"osc": "x"}), pki)
    assert denial.reason is Reason.CONFIRMATION_UNSUPPORTED


WRONG_SHAPES: list[object] = [
    "text", [], [{"x5t#S256": "A" * 43}], None, {}, 1, True,
    {"x5t#S256": 1}, {"x5t#S256": ["A" * 43]}, {"x5t#S256": None}, {"x5t#S256": {}}, {"x5t#S256": ""},
    {"x5t#S256": "0" * 64}, {"x5t#S256": "A" * 43 + "="}, {"x5t#S256": "A" * 43 + " "}, {"x5t#S256": " " + "A" * 43},
    {"x5t#S256": "A" * 20 + "\n" + "A" * 23}, {"x5t#S256": "A" * 42 + "B"}, {"x5t#S256": "A" * 42},
    {"x5t#S256": "A" * 44},
]  # fmt: skip


@pytest.mark.parametrize("binding", list(Binding))
@pytest.mark.parametrize("cnf", WRONG_SHAPES, ids=repr)
def test_confirmation_of_any_wrong_shape_is_refused(
    cnf: object, binding: Binding, signing_key: SigningKey, pki: Pki
) -> None:
    """Documentation that printed the thumbprint in hexadecimal for years: https://github.com/wso2/docs-apim/pull/11806"""
    lax = authorizer(policy(rule(binding=binding)), Keys.of(signing_key))
    assert refusal(lax, signing_key.token(cnf=cnf), pki).reason is Reason.CONFIRMATION_MALFORMED


@pytest.mark.parametrize(
    ("mistake", "value"),
    [
        ("hex", lambda pki: hashlib.sha256(pki.client.der).hexdigest()),
        ("padded", lambda pki: pki.client.thumbprint + "="),
        ("sha1", lambda pki: base64url(hashlib.sha1(pki.client.der).digest())),
        ("pem_text", lambda pki: base64url(hashlib.sha256(certificate_pem(pki.client.certificate)).digest())),
        ("public_key", lambda pki: base64url(hashlib.sha256(spki(pki)).digest())),
        ("issuing_ca", lambda pki: pki.client_authority.thumbprint),
        ("another_certificate", lambda pki: pki.server.thumbprint),
    ],
)
def test_mistake_behind_a_wrong_thumbprint_is_named(
    mistake: str, value: Callable[[Pki], str], gate: Authorizer, signing_key: SigningKey, pki: Pki
) -> None:
    """https://github.com/wso2/docs-apim/pull/11806"""
    wrong = value(pki)
    refusal(gate, signing_key.token(wrong), pki)
    others = [pki.client_authority.presented, pki.server.presented]
    assert diagnose_thumbprint(wrong, pki.client.presented, others).mistake == mistake


def spki(pki: Pki) -> bytes:
    return pki.client.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def test_thumbprint_is_compared_with_case(gate: Authorizer, signing_key: SigningKey, pki: Pki) -> None:
    right = pki.client.thumbprint
    swapped = right[:-1].swapcase() + right[-1]
    assert refusal(gate, signing_key.token(swapped), pki).reason is Reason.BINDING_MISMATCH


def test_missing_certificate_is_the_clients_fault(
    gate: Authorizer, signing_key: SigningKey, pki: Pki
) -> None:
    denial = denied(decide(gate, head(signing_key.token(pki.client)), presenter(None)))
    assert denial.reason is Reason.CERTIFICATE_MISSING
    assert shape(denial.reason).status == 401


@pytest.mark.parametrize("binding", list(Binding))
def test_bound_token_is_never_a_bearer_token(binding: Binding, signing_key: SigningKey, pki: Pki) -> None:
    """https://github.com/wso2/product-is/issues/19606 https://github.com/marcjazz/authkestra/issues/224
    https://github.com/Abblix/Oidc.Server/pull/159
    """
    lax = authorizer(
        policy(rule(binding=binding), issuers=[issuer_policy(binding=binding)]), Keys.of(signing_key)
    )
    token = signing_key.token(pki.other_client)
    assert refusal(lax, token, pki).reason is Reason.BINDING_MISMATCH
    assert denied(decide(lax, head(token), presenter(None))).reason is Reason.CERTIFICATE_MISSING


@pytest.mark.parametrize(
    "other", [{"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}, {"jwk": {}}, {"kid": "x"}]
)
def test_token_bound_in_two_ways_must_confirm_both(
    other: dict[str, object], gate: Authorizer, signing_key: SigningKey, pki: Pki
) -> None:
    cnf = {"x5t#S256": pki.client.thumbprint, **other}
    assert refusal(gate, signing_key.token(cnf=cnf), pki).reason is Reason.CONFIRMATION_UNSUPPORTED


def test_binding_asked_for_is_that_of_the_tokens_own_issuer(signing_key: SigningKey, pki: Pki) -> None:
    lax, strict = "https://lax.example.com", "https://strict.example.com"
    keys = Keys.of(signing_key, issuer=lax)
    keys.publish(signing_key, issuer=strict)
    for issuers in ([lax, strict], [strict, lax]):
        modes = {lax: Binding.IF_BOUND, strict: Binding.REQUIRED}
        gate = authorizer(policy(issuers=[issuer_policy(one, binding=modes[one]) for one in issuers]), keys)
        permitted(decide(gate, head(signing_key.token(iss=lax)), presenter(pki.client)))
        assert refusal(gate, signing_key.token(iss=strict), pki).reason is Reason.BINDING_MISSING


def test_no_request_sees_another_requests_claims(signing_key: SigningKey, pki: Pki) -> None:
    """https://github.com/OpenIDC/ngx_oauth2_module/issues/8"""
    subjects = [f"subject-{number}" for number in range(50)]
    issuer = Introspection({
        (ISSUER, subject): profile.introspected(
            {"active": True, "aud": AUDIENCE, "sub": subject, "cnf": {"x5t#S256": pki.client.thumbprint}},
            ISSUER, TokenDigest(b""),
        )
        for subject in subjects
    })  # fmt: skip
    gate = authorizer(
        policy(issuers=[issuer_policy(introspect=IntrospectWhen.OPAQUE)]), Keys.of(signing_key), issuer
    )

    async def seen_by(subject: str) -> str | None:
        decision = gate.authorize(head(subject), presenter(pki.client), time.time())
        assert inspect.isawaitable(decision)
        token = permitted(await decision).token
        return None if token is None else token.subject

    async def all_at_once() -> list[str | None]:
        return await asyncio.gather(*(seen_by(subject) for subject in subjects))

    assert asyncio.run(all_at_once()) == subjects


# --- signature -----------------------------------------------------------------------------------


def test_unsigned_and_symmetrically_signed_tokens_are_refused(
    gate: Authorizer, signing_key: SigningKey, pki: Pki
) -> None:
    """https://github.com/mpdavis/python-jose/issues/419 https://nvd.nist.gov/vuln/detail/CVE-2024-37568"""
    claims = claims_set(pki.client)
    for forged in (
        unsigned(claims),
        unsigned(claims, {"typ": "at+jwt", "alg": "None"}),
        unsigned(claims, {"typ": "at+jwt", "alg": "none", "kid": "es256"}, "AAAA"),
        keyed_by_public_key(signing_key, claims),
        keyed_by_public_key(signing_key, claims, "HS512"),
    ):
        assert refusal(gate, forged, pki).reason is Reason.ALGORITHM_REFUSED


def test_header_does_not_choose_the_algorithm_of_a_key(
    signing_keys: Callable[[str], SigningKey], pki: Pki
) -> None:
    """https://github.com/mpdavis/python-jose/issues/419"""
    pss = signing_keys("PS256")
    gate = authorizer(policy(), Keys.of(pss))
    pkcs1 = SigningKey("RS256", pss.kid, pss.key)
    assert refusal(gate, pkcs1.token(pki.client), pki).reason is Reason.KEY_UNKNOWN
    permitted(decide(gate, head(pss.token(pki.client)), presenter(pki.client)))


@pytest.mark.parametrize("crit", [["x"], ["exp"], ["b64"], [], "x", None, ["x", "x"]])
def test_critical_extension_is_not_ignored(
    crit: object, gate: Authorizer, signing_key: SigningKey, pki: Pki
) -> None:
    """https://github.com/jpadilla/pyjwt/security/advisories/GHSA-752w-5fwx-jx9f
    https://nvd.nist.gov/vuln/detail/CVE-2025-59420
    """
    header = {"typ": "at+jwt", "alg": "ES256", "kid": "es256", "crit": crit, "x": True}
    assert (
        refusal(gate, signing_key.sign(claims_set(pki.client), header), pki).reason is Reason.HEADER_REFUSED
    )


def test_token_never_brings_its_own_key(gate: Authorizer, signing_key: SigningKey, pki: Pki) -> None:
    """https://github.com/authlib/authlib/security/advisories/GHSA-wvwj-cvrp-7pv5"""
    own = SigningKey.create("ES256", "own")
    brought: dict[str, object] = {
        "jwk": own.jwk, "jku": "https://evil.example.com/jwks.json", "x5u": "https://evil.example.com/cert.pem",
        "x5c": [base64.b64encode(pki.stranger.der).decode()],
    }  # fmt: skip
    for name, value in brought.items():
        assert refusal(gate, own.token(pki.client, {name: value}), pki).reason is Reason.KEY_UNKNOWN
        forged = own.with_kid("es256").token(pki.client, {name: value})
        assert refusal(gate, forged, pki).reason is Reason.SIGNATURE_INVALID
        permitted(decide(gate, head(signing_key.token(pki.client, {name: value})), presenter(pki.client)))


@pytest.mark.parametrize(
    ("kid", "reason"),
    [
        ("../../../../etc/passwd", Reason.KEY_UNKNOWN), ("https://evil.example.com/key", Reason.KEY_UNKNOWN),
        ("' OR 1=1 --", Reason.KEY_UNKNOWN), ("es256\x00", Reason.KEY_UNKNOWN), ("", Reason.KEY_UNKNOWN),
        ("x" * 10_000, Reason.HEADER_REFUSED), (1, Reason.HEADER_REFUSED), (["es256"], Reason.HEADER_REFUSED),
        (None, Reason.HEADER_REFUSED),
    ],
)  # fmt: skip
def test_key_id_is_opaque_and_bounded(
    kid: object, reason: Reason, gate: Authorizer, signing_key: SigningKey, pki: Pki
) -> None:
    """Path traversal and request forgery by `kid`: liboauth2's change log of 06/02/2026,
    https://github.com/OpenIDC/liboauth2
    """
    header = {"typ": "at+jwt", "alg": "ES256", "kid": kid}
    assert refusal(gate, signing_key.sign(claims_set(pki.client), header), pki).reason is reason


def test_key_id_of_a_megabyte_never_gets_so_far(gate: Authorizer, signing_key: SigningKey, pki: Pki) -> None:
    token = signing_key.token(pki.client, {"kid": "x" * (1 << 20)})
    denial = denied(decide(gate, head(token), presenter(pki.client)))
    assert denial.reason is Reason.TOKEN_TOO_LARGE


# --- claims --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "exp", [True, False, "1", "1e9", None, [], {}, 1e308, -1, 253_402_300_800, 10**19], ids=repr
)  # fmt: skip
def test_expiry_that_is_no_time_is_refused(
    exp: object, gate: Authorizer, signing_key: SigningKey, pki: Pki
) -> None:
    assert refusal(gate, signing_key.token(pki.client, exp=exp), pki).reason is Reason.CLAIM_MALFORMED


def test_missing_expiry_is_refused(gate: Authorizer, signing_key: SigningKey, pki: Pki) -> None:
    assert refusal(gate, signing_key.token(pki.client, without=["exp"]), pki).reason is Reason.CLAIM_MISSING


@pytest.mark.parametrize(
    "literal", ["NaN", "Infinity", "-Infinity", "1e999", "1" * 400, "0x10", "01", "+1", "1_000"]
)
def test_expiry_that_json_does_not_know_is_refused(
    literal: str, gate: Authorizer, signing_key: SigningKey, pki: Pki
) -> None:
    text = json.dumps(claims_set(pki.client) | {"exp": "HERE"}).replace('"HERE"', literal)
    assert refusal(gate, signing_key.sign(text), pki).reason is Reason.TOKEN_MALFORMED


def test_fractional_expiry_is_a_time_and_passes(gate: Authorizer, signing_key: SigningKey, pki: Pki) -> None:
    """RFC 7519 §2: a NumericDate may have a fraction."""
    now = int(time.time())
    token = signing_key.token(pki.client, exp=now + 0.5)
    permitted(decide(gate, head(token), presenter(pki.client), now + 30.4))
    late = denied(decide(gate, head(token), presenter(pki.client), now + 30.5))
    assert late.reason is Reason.TOKEN_EXPIRED


@pytest.mark.parametrize("name", ["nbf", "iat"])
def test_token_from_the_future_is_refused(
    name: str, gate: Authorizer, signing_key: SigningKey, pki: Pki
) -> None:
    token = signing_key.token(pki.client, **{name: int(time.time()) + 120})  # type: ignore[arg-type]  # a claim
    assert refusal(gate, token, pki).reason is Reason.TOKEN_NOT_YET_VALID


@pytest.mark.parametrize(
    "payload",
    [
        b'{"iss":"https://as.example.com","iss":"https://evil.example.com","exp":9999999999}',
        b'{"iss":"https://evil.example.com","\\u0069ss":"https://as.example.com","exp":9999999999}',
        b'{"aud":{"a":1,"a":2},"iss":"https://as.example.com"}',
        b"[]", b"null", b'"text"', b"1", b"", b"{", b"{}}", b'{"a":' + b"[" * 10_000,
        b'{"a":' * 2_000 + b"1" + b"}" * 2_000, b'{"iss":"\\ud800"}', b'\xef\xbb\xbf{"iss":"x"}', b'{"iss":"\xff"}',
        '{"iss":"x"}'.encode("utf-16"), b'{"iss":"a\x00b"}', b'{"iss": "x",}', b"{'iss': 1}", b'{"iss": "x"} x',
    ],
    ids=lambda payload: ascii(payload[:32]),
)  # fmt: skip
def test_payload_that_two_readers_could_read_differently_is_refused(
    payload: bytes, gate: Authorizer, signing_key: SigningKey, pki: Pki
) -> None:
    assert refusal(gate, signing_key.sign(payload), pki).reason is Reason.TOKEN_MALFORMED


@pytest.mark.parametrize(
    "header",
    [
        b'{"alg":"none","alg":"ES256"}',
        b"[]",
        b"{",
        b'\xef\xbb\xbf{"alg":"ES256"}',
        b'{"alg":"ES256","kid":"\\udfff"}',
    ],
)
def test_header_that_two_readers_could_read_differently_is_refused(
    header: bytes, gate: Authorizer, signing_key: SigningKey, pki: Pki
) -> None:
    assert (
        refusal(gate, signing_key.sign(claims_set(pki.client), header), pki).reason is Reason.TOKEN_MALFORMED
    )


@pytest.mark.parametrize("name", ["iss", "aud"])
def test_token_for_nobody_or_from_nobody_is_refused(
    name: str, gate: Authorizer, signing_key: SigningKey, pki: Pki
) -> None:
    """https://github.com/OpenIDC/mod_auth_openidc/security/advisories/GHSA-wcvh-g65p-v576"""
    assert refusal(gate, signing_key.token(pki.client, without=[name]), pki).reason is Reason.CLAIM_MISSING


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"aud": "https://other.example.com"}, Reason.AUDIENCE_MISMATCH), ({"aud": []}, Reason.AUDIENCE_MISMATCH),
        ({"aud": AUDIENCE + "/"}, Reason.AUDIENCE_MISMATCH), ({"aud": AUDIENCE.upper()}, Reason.AUDIENCE_MISMATCH),
        ({"iss": "https://other.example.com"}, Reason.ISSUER_UNKNOWN), ({"iss": ISSUER + "/"}, Reason.ISSUER_UNKNOWN),
        ({"iss": ISSUER.upper()}, Reason.ISSUER_UNKNOWN),
    ],
)  # fmt: skip
def test_token_for_somebody_else_or_from_somebody_else_is_refused(
    claims: dict[str, Any], reason: Reason, gate: Authorizer, signing_key: SigningKey, pki: Pki
) -> None:
    """https://github.com/OpenIDC/mod_auth_openidc/security/advisories/GHSA-wcvh-g65p-v576"""
    assert refusal(gate, signing_key.token(pki.client, **claims), pki).reason is reason


@pytest.mark.parametrize("header", [{"typ": "JWT"}, {"typ": None}, {"typ": "logout+jwt"}])
def test_id_token_is_no_access_token(
    header: dict[str, object], gate: Authorizer, signing_key: SigningKey, pki: Pki
) -> None:
    """RFC 8725 §3.12: the type decides, whatever the claims look like."""
    token = signing_key.token(pki.client, header, nonce="n", at_hash="h", azp="client-1")
    assert refusal(gate, token, pki).reason is Reason.TOKEN_TYPE_REFUSED


def test_encrypted_token_is_never_inflated(gate: Authorizer, pki: Pki) -> None:
    """https://github.com/mpdavis/python-jose/issues/344 https://github.com/authlib/authlib/pull/830"""
    bomb = base64url(zlib.compress(bytes(1 << 22)))
    header = base64url(json.dumps({"alg": "dir", "enc": "A256GCM", "zip": "DEF"}).encode())
    assert refusal(gate, f"{header}..AAAA.{bomb}.AAAA", pki).reason is Reason.TOKEN_ENCRYPTED


# --- memory --------------------------------------------------------------------------------------


def test_remembered_token_outlives_neither_its_expiry_nor_its_key_nor_its_policy(
    signing_key: SigningKey, pki: Pki
) -> None:
    """Results that outlived `exp`: liboauth2's change log of 06/03/2026, https://github.com/OpenIDC/liboauth2"""
    keys, now = Keys.of(signing_key), int(time.time())
    gate, token = authorizer(policy(), keys), signing_key.token(pki.client, exp=now + 60)
    permitted(decide(gate, head(token), presenter(pki.client), now))
    assert denied(decide(gate, head(token), presenter(pki.client), now + 91)).reason is Reason.TOKEN_EXPIRED

    permitted(decide(gate, head(token), presenter(pki.client), now))
    stricter = authorizer(policy(issuers=[issuer_policy(audience=frozenset({"urn:new"}))]), keys)
    assert (
        denied(decide(stricter, head(token), presenter(pki.client), now)).reason is Reason.AUDIENCE_MISMATCH
    )

    keys.publish(SigningKey.create("ES256", "new"))
    assert denied(decide(gate, head(token), presenter(pki.client), now)).reason is Reason.KEY_UNKNOWN


def test_remembered_introspection_is_held_against_every_rule_anew(signing_key: SigningKey, pki: Pki) -> None:
    """https://nvd.nist.gov/vuln/detail/CVE-2021-32701
    https://github.com/ory/oathkeeper/security/advisories/GHSA-4mq7-pvjg-xp2r
    """
    answered = profile.introspected(
        {"active": True, "aud": AUDIENCE, "scope": "read", "cnf": {"x5t#S256": pki.client.thumbprint}},
        ISSUER, TokenDigest(b""),
    )  # fmt: skip
    issuer = Introspection({(ISSUER, "opaque"): answered}, caches=True)
    rules = rule("read", "/read", scopes=("read",)), rule("write", "/write", scopes=("write",))
    given = policy(*rules, issuers=[issuer_policy(introspect=IntrospectWhen.OPAQUE)])
    gate = authorizer(given, Keys.of(signing_key), issuer)
    permitted(decide(gate, head("opaque", target="/read"), presenter(pki.client)))
    other = denied(decide(gate, head("opaque", target="/write"), presenter(pki.client)))
    assert other.reason is Reason.SCOPE_INSUFFICIENT
    assert len(issuer.asked) == 1


@pytest.mark.parametrize(
    "response", [{}, {"active": "true"}, {"active": 1}, {"active": None}, {"active": []}]
)
def test_introspection_that_does_not_say_active_says_nothing(response: dict[str, object]) -> None:
    """https://github.com/Kuadrant/authorino/pull/652"""
    with pytest.raises(Malformed):
        profile.introspected(response, ISSUER, TokenDigest(b""))


def test_issuer_that_says_nothing_is_a_503(signing_key: SigningKey, pki: Pki) -> None:
    """https://github.com/Kuadrant/authorino/pull/652"""
    issuer = Introspection({(ISSUER, "opaque"): IssuerUnavailable(ISSUER, "parse")})
    given = policy(issuers=[issuer_policy(introspect=IntrospectWhen.OPAQUE)])
    denial = denied(
        decide(authorizer(given, Keys.of(signing_key), issuer), head("opaque"), presenter(pki.client))
    )
    assert shape(denial.reason).status == 503
    assert denial.retry_after == 5


@pytest.mark.parametrize("audience", ["https://other.example.com", None, []])
def test_active_token_for_another_audience_is_refused(
    audience: object, signing_key: SigningKey, pki: Pki
) -> None:
    """https://github.com/keycloak/keycloak/issues/49113"""
    response: dict[str, object] = {"active": True, "cnf": {"x5t#S256": pki.client.thumbprint}}
    if audience is not None:
        response["aud"] = audience
    issuer = Introspection({(ISSUER, "opaque"): profile.introspected(response, ISSUER, TokenDigest(b""))})
    given = policy(issuers=[issuer_policy(introspect=IntrospectWhen.OPAQUE)])
    gate = authorizer(given, Keys.of(signing_key), issuer)
    assert refusal(gate, "opaque", pki).reason is Reason.AUDIENCE_MISMATCH


# --- as the RFCs say -----------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer", "bEARER"])
def test_scheme_has_no_case(scheme: str, gate: Authorizer, signing_key: SigningKey, pki: Pki) -> None:
    request = head(authorization=(f"{scheme} {signing_key.token(pki.client)}",))
    permitted(decide(gate, request, presenter(pki.client)))


def test_padded_token_is_refused(gate: Authorizer, signing_key: SigningKey, pki: Pki) -> None:
    for padding in ("=", "=="):
        token = signing_key.token(pki.client) + padding
        assert refusal(gate, token, pki).reason is Reason.TOKEN_MALFORMED


def test_audience_may_be_an_array(gate: Authorizer, signing_key: SigningKey, pki: Pki) -> None:
    token = signing_key.token(pki.client, aud=["https://other.example.com", AUDIENCE])
    permitted(decide(gate, head(token), presenter(pki.client)))


def test_expired_token_is_a_401(gate: Authorizer, signing_key: SigningKey, pki: Pki) -> None:
    """https://github.com/OpenIDC/mod_oauth2/issues/94"""
    token = signing_key.token(pki.client, exp=int(time.time()) - 60)
    assert refusal(gate, token, pki).reason is Reason.TOKEN_EXPIRED


@pytest.mark.parametrize("size", [1_700, 8_000, 15_000, 16_384])
def test_large_token_passes_up_to_the_limit(
    size: int, gate: Authorizer, signing_key: SigningKey, pki: Pki
) -> None:
    """https://github.com/curityio/nginx_phantom_token_module/issues/50"""
    claims: dict[str, Any] = {"jti": "1", "filler": ""}
    room = size - len(signing_key.token(pki.client, **claims))
    token = signing_key.token(pki.client, **claims | {"filler": "x" * (room * 3 // 4)})
    assert size - 4 < len(token) <= size
    permitted(decide(gate, head(token), presenter(pki.client)))


def test_token_past_the_limit_is_a_400(gate: Authorizer, signing_key: SigningKey, pki: Pki) -> None:
    """https://github.com/curityio/nginx_phantom_token_module/issues/50"""
    token = signing_key.token(pki.client, filler="x" * 16_384)
    denial = denied(decide(gate, head(token), presenter(pki.client)))
    assert shape(denial.reason).status == 400


def test_tampered_token_is_refused(gate: Authorizer, signing_key: SigningKey, pki: Pki) -> None:
    token = signing_key.token(pki.client)
    assert refusal(gate, tampered(token, sub="mallory"), pki).reason is Reason.SIGNATURE_INVALID
    signed, _, mac = token.rpartition(".")
    for wrong in ("", mac[:-2], mac + "AA", base64url(bytes(64)), base64url(b"\xff" * 64)):
        assert refusal(gate, f"{signed}.{wrong}", pki).reason is Reason.SIGNATURE_INVALID
