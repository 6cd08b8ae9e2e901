"""The order of checks, with the ports in memory."""

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

import pytest

from sidecar.authorizer import Authorizer
from sidecar.decision import profile
from sidecar.decision.claim import Captured, ClaimCondition, Equals
from sidecar.decision.denial import Denial, Denied, Reason
from sidecar.decision.explanation import Trace
from sidecar.decision.path import ALLOWABLE
from sidecar.decision.policy import Binding, IntrospectWhen, Policy, ReportOnly
from sidecar.decision.ports import IssuerUnavailable
from sidecar.decision.token import TokenDigest, ValidatedToken
from tests.support.mint import AUDIENCE, ISSUER, SigningKey, tampered
from tests.support.pki import Pki
from tests.support.world import (
    DIGEST_KEY,
    Introspection,
    Jwks,
    Keys,
    authorizer,
    decide,
    denied,
    head,
    issuer_policy,
    permitted,
    policy,
    presenter,
    registered,
    rule,
    verification_key,
)

OTHER = "https://other.example.com"


@pytest.fixture(scope="session")
def other_key() -> SigningKey:
    return SigningKey.create("ES256", "other")


@pytest.mark.parametrize(
    "algorithm",
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"],
)
def test_bound_token_of_the_rightful_client_is_permitted(
    algorithm: str, signing_keys: Callable[[str], SigningKey], pki: Pki
) -> None:
    key = signing_keys(algorithm)
    gate = authorizer(policy(), Keys.of(key))
    permit = permitted(decide(gate, head(key.token(pki.client)), presenter(pki.client)))
    assert permit.rule.name == "all"
    assert [one.member for one in permit.confirmed] == ["x5t#S256"]
    assert permit.token is not None
    assert permit.token.client_id == "client-1"
    assert permit.valid_until == pytest.approx(time.time() + 330, abs=20)
    assert permit.would_deny is None


def test_token_bound_to_another_certificate_is_refused(signing_key: SigningKey, pki: Pki) -> None:
    gate = authorizer(policy(), Keys.of(signing_key))
    denial = denied(decide(gate, head(signing_key.token(pki.client)), presenter(pki.other_client)))
    assert denial.reason is Reason.BINDING_MISMATCH
    assert denial.token is not None
    assert denial.rule == "all"


# --- rule → preflight and public → credentials ---------------------------------------------------


def test_empty_policy_denies_everything(signing_key: SigningKey, pki: Pki) -> None:
    gate = authorizer(Policy({}, ()), Keys.of(signing_key))
    denial = denied(decide(gate, head(signing_key.token(pki.client)), presenter(pki.client)))
    assert (denial.reason, denial.rule, denial.token) == (Reason.RULE_UNMATCHED, None, None)


def test_public_rule_asks_for_nothing(signing_key: SigningKey) -> None:
    gate = authorizer(policy(rule("health", "/healthz", public=True)), Keys.of(signing_key))
    for request in (head(target="/healthz"), head("nonsense", target="/healthz")):
        permit = permitted(decide(gate, request, presenter()))
        assert (permit.token, permit.confirmed, permit.valid_until) == (None, (), float("inf"))
    assert denied(decide(gate, head(), presenter())).reason is Reason.RULE_UNMATCHED


def test_preflight_passes_where_the_rule_lets_it(signing_key: SigningKey) -> None:
    gate = authorizer(
        policy(rule("cors", "/a", cors_preflight=True), rule("plain", "/**")), Keys.of(signing_key)
    )
    preflight = head(method="OPTIONS", target="/a", preflight=True)
    assert permitted(decide(gate, preflight, presenter())).rule.name == "cors"
    assert denied(decide(gate, head(target="/a"), presenter())).reason is Reason.CREDENTIALS_MISSING
    elsewhere = head(method="OPTIONS", target="/b", preflight=True)
    assert denied(decide(gate, elsewhere, presenter())).reason is Reason.CREDENTIALS_MISSING


def test_ambiguous_path_is_refused_before_any_credentials_are_read(signing_key: SigningKey) -> None:
    gate = authorizer(policy(rule("all", public=True)), Keys.of(signing_key))
    assert denied(decide(gate, head(target="/a/../b"), presenter())).reason is Reason.PATH_AMBIGUOUS


def test_oversized_token_is_refused(signing_key: SigningKey, pki: Pki) -> None:
    gate = authorizer(policy(), Keys.of(signing_key), token_bytes=100)
    denial = denied(decide(gate, head(signing_key.token(pki.client)), presenter(pki.client)))
    assert denial.reason is Reason.TOKEN_TOO_LARGE


# --- issuer --------------------------------------------------------------------------------------


def test_token_chooses_among_configured_issuers_only(
    signing_key: SigningKey, other_key: SigningKey, pki: Pki
) -> None:
    keys = Keys.of(signing_key)
    keys.publish(other_key, issuer=OTHER)
    gate = authorizer(
        policy(rule(issuers=frozenset({ISSUER})), issuers=[issuer_policy(), issuer_policy(OTHER)]), keys
    )
    permitted(decide(gate, head(signing_key.token(pki.client)), presenter(pki.client)))
    for issuer in (OTHER, "https://nobody.example.com"):
        foreign = head(other_key.token(pki.client, iss=issuer))
        assert denied(decide(gate, foreign, presenter(pki.client))).reason is Reason.ISSUER_UNKNOWN


def test_key_of_one_issuer_signs_for_no_other(
    signing_key: SigningKey, other_key: SigningKey, pki: Pki
) -> None:
    keys = Keys.of(signing_key)
    keys.publish(other_key, issuer=OTHER)
    gate = authorizer(policy(issuers=[issuer_policy(), issuer_policy(OTHER)]), keys)
    cross = head(signing_key.token(pki.client, iss=OTHER))
    assert denied(decide(gate, cross, presenter(pki.client))).reason is Reason.KEY_UNKNOWN
    permitted(decide(gate, head(other_key.token(pki.client, iss=OTHER)), presenter(pki.client)))


def test_cached_token_is_held_against_the_issuers_of_each_rule(signing_key: SigningKey, pki: Pki) -> None:
    rules = rule("a", "/a"), rule("b", "/b", issuers=frozenset({OTHER}))
    gate = authorizer(policy(*rules, issuers=[issuer_policy(), issuer_policy(OTHER)]), Keys.of(signing_key))
    token = signing_key.token(pki.client)
    permitted(decide(gate, head(token, target="/a"), presenter(pki.client)))
    assert (
        denied(decide(gate, head(token, target="/b"), presenter(pki.client))).reason is Reason.ISSUER_UNKNOWN
    )


# --- cache: facts, never verdicts ----------------------------------------------------------------


def test_second_request_with_the_same_token_is_decided_from_memory(signing_key: SigningKey, pki: Pki) -> None:
    gate = authorizer(policy(), Keys.of(signing_key))
    token = signing_key.token(pki.client)
    first = permitted(decide(gate, head(token), presenter(pki.client)))
    second = permitted(decide(gate, head(token), presenter(pki.client)))
    assert first.token is second.token
    stolen = denied(decide(gate, head(token), presenter(pki.other_client)))
    assert stolen.reason is Reason.BINDING_MISMATCH


@pytest.mark.parametrize("was_permitted", [True, False])
def test_expired_token_is_verified_once_however_often_it_comes(
    signing_key: SigningKey, pki: Pki, *, was_permitted: bool
) -> None:
    gate, now = authorizer(policy(), Keys.of(signing_key)), int(time.time())
    token = signing_key.token(pki.client, exp=now + 60)
    if was_permitted:
        permitted(decide(gate, head(token), presenter(pki.client), now))
    for _ in range(3):
        denial = denied(decide(gate, head(token), presenter(pki.client), now + 90))
        assert denial.reason is Reason.TOKEN_EXPIRED
        assert denial.token is not None
    assert gate.verified.misses == 1


def test_token_that_one_rule_refuses_stays_remembered_for_the_others(
    signing_key: SigningKey, pki: Pki
) -> None:
    rules = rule("a", "/a", audience=frozenset({"urn:other"})), rule("b")
    gate, token = authorizer(policy(*rules), Keys.of(signing_key)), signing_key.token(pki.client)
    refused = denied(decide(gate, head(token, target="/a"), presenter(pki.client)))
    assert refused.reason is Reason.AUDIENCE_MISMATCH
    assert permitted(decide(gate, head(token), presenter(pki.client))).token is refused.token


def test_cached_token_goes_with_its_key(signing_key: SigningKey, other_key: SigningKey, pki: Pki) -> None:
    keys = Keys.of(signing_key)
    gate, token = authorizer(policy(), keys), signing_key.token(pki.client)
    permitted(decide(gate, head(token), presenter(pki.client)))
    keys.publish(other_key)
    assert denied(decide(gate, head(token), presenter(pki.client))).reason is Reason.KEY_UNKNOWN
    assert len(gate.verified) == 0
    keys.publish(signing_key, other_key)
    permitted(decide(gate, head(token), presenter(pki.client)))


def test_cached_token_waits_with_its_issuers_keys(signing_key: SigningKey, pki: Pki) -> None:
    keys = Keys.of(signing_key)
    gate, token = authorizer(policy(), keys), signing_key.token(pki.client)
    permitted(decide(gate, head(token), presenter(pki.client)))
    keys.outage = IssuerUnavailable(ISSUER, "stale", 7)
    denial = denied(decide(gate, head(token), presenter(pki.client)))
    assert (denial.reason, denial.retry_after, denial.rule) == (Reason.ISSUER_UNAVAILABLE, 7, "all")
    assert denial.failures[0].presented == "stale"


def test_known_token_is_not_read_again_on_its_connection(signing_key: SigningKey, pki: Pki) -> None:
    """And its value is kept from the moment at which it is known, not while it is being verified."""
    gate, one = authorizer(policy(), Keys.of(signing_key)), presenter(pki.client)
    token = signing_key.token(pki.client)
    kept = []
    for _ in range(4):
        permitted(decide(gate, head(token), one))
        kept.append(one.last_presented)
    assert kept[0] is None
    assert kept[1] is not None
    assert kept[1] is kept[2] is kept[3]
    permitted(decide(gate, head(signing_key.token(pki.client, jti="another")), one))
    permitted(decide(gate, head(token), one))
    assert one.last_presented is kept[1]


def test_whatever_time_key_rule_or_query_change_counts_for_a_value_that_is_repeated(
    signing_key: SigningKey, other_key: SigningKey, pki: Pki
) -> None:
    now, keys = int(time.time()), Keys.of(signing_key)
    rules = rule("a", "/a", audience=frozenset({"urn:other"})), rule("b")
    gate, one = authorizer(policy(*rules), keys), presenter(pki.client)
    token = signing_key.token(pki.client, exp=now + 60)

    def reason(target: str = "/b", after: int = 0) -> Reason:
        return denied(decide(gate, head(token, target=target), one, now + after)).reason

    for _ in range(2):
        permitted(decide(gate, head(token), one, now))
        permitted(decide(gate, head(token), one, now))
        assert one.last_presented is not None
        assert reason(after=90) is Reason.TOKEN_EXPIRED
        assert reason("/a") is Reason.AUDIENCE_MISMATCH
        assert reason("/b?access_token=x") is Reason.CREDENTIALS_REPEATED
        keys.publish(other_key)
        assert reason() is Reason.KEY_UNKNOWN
        assert len(gate.verified) == 0
        keys.publish(signing_key)
    hits = gate.verified.hits
    permitted(decide(gate, head(token), one, now))
    permitted(decide(gate, head(token), one, now))
    assert gate.verified.hits == hits + 1, "what is repeated must stay in use"


def test_value_is_read_anew_under_another_policy(signing_key: SigningKey, pki: Pki) -> None:
    keys, one, token = Keys.of(signing_key), presenter(pki.client), signing_key.token(pki.client)
    for _ in range(2):
        permitted(decide(authorizer(policy(), keys), head(token), one))
        gate = authorizer(policy(), keys)
        permitted(decide(gate, head(token), one))
        permitted(decide(gate, head(token), one))
    assert one.last_presented is not None
    strict = authorizer(policy(), keys, token_bytes=64)
    assert denied(decide(strict, head(token), one)).reason is Reason.TOKEN_TOO_LARGE


def test_connection_keeps_no_value_that_was_refused_or_explained(signing_key: SigningKey, pki: Pki) -> None:
    gate, one = authorizer(policy(), Keys.of(signing_key)), presenter(pki.client)
    good = signing_key.token(pki.client)
    for _ in range(3):
        for token in (tampered(good, sub="m"), "opaque", "a.b.c", "x" * 9000, "é"):
            denied(decide(gate, head(token), one))
        gate.authorize(head(good), one, time.time(), Trace())
    assert one.last_presented is None
    permitted(decide(gate, head(good), one))
    permitted(decide(gate, head(good), one))
    kept = one.last_presented
    assert kept is not None
    denied(decide(gate, head("x" * 9000), one))
    assert one.last_presented is kept


def test_key_in_force_is_not_asked_for_and_one_that_is_not_is(
    signing_key: SigningKey, other_key: SigningKey, pki: Pki
) -> None:
    keys, token = Keys.of(signing_key), signing_key.token(pki.client)
    gate = authorizer(policy(), keys, in_force=(in_force := registered(keys)))
    permitted(decide(gate, head(token), presenter(pki.client)))
    keys.outage = IssuerUnavailable(ISSUER, "stale", 7)
    permitted(decide(gate, head(token), presenter(pki.client)))
    in_force.adopt({})
    assert denied(decide(gate, head(token), presenter(pki.client))).reason is Reason.ISSUER_UNAVAILABLE
    keys.outage = None
    permitted(decide(gate, head(token), presenter(pki.client)))
    keys.publish(other_key)
    assert denied(decide(gate, head(token), presenter(pki.client))).reason is Reason.KEY_UNKNOWN


def test_refused_token_is_not_remembered(signing_key: SigningKey, pki: Pki) -> None:
    gate = authorizer(policy(), Keys.of(signing_key))
    for _ in range(3):
        denied(decide(gate, head(tampered(signing_key.token(pki.client), sub="m")), presenter(pki.client)))
        denied(decide(gate, head("opaque"), presenter(pki.client)))
    assert len(gate.verified) == 0


def test_cache_is_bounded(signing_key: SigningKey, pki: Pki) -> None:
    gate = authorizer(policy(), Keys.of(signing_key), cached_tokens=4)
    for number in range(20):
        permitted(decide(gate, head(signing_key.token(pki.client, jti=str(number))), presenter(pki.client)))
    assert len(gate.verified) <= 4


# --- what only the issuer can tell ---------------------------------------------------------------


def test_decision_from_memory_is_no_awaitable(signing_key: SigningKey, pki: Pki) -> None:
    gate = authorizer(policy(), Keys.of(signing_key))
    decision = gate.authorize(head(signing_key.token(pki.client)), presenter(pki.client), time.time())
    assert not inspect.isawaitable(decision)


def test_unknown_key_is_fetched_once(signing_key: SigningKey, other_key: SigningKey, pki: Pki) -> None:
    keys = Keys.of(signing_key)
    keys.after_refresh[ISSUER] = Jwks((verification_key(signing_key), verification_key(other_key)))
    gate = authorizer(policy(), keys)
    permitted(decide(gate, head(other_key.token(pki.client)), presenter(pki.client)))
    assert keys.refreshes == [(ISSUER, "other")]


def test_key_that_the_refresh_did_not_bring_is_unknown(
    signing_key: SigningKey, other_key: SigningKey, pki: Pki
) -> None:
    keys = Keys.of(signing_key)
    keys.after_refresh[ISSUER] = Jwks((verification_key(signing_key),))
    gate = authorizer(policy(), keys)
    assert denied(decide(gate, head(other_key.token()), presenter(pki.client))).reason is Reason.KEY_UNKNOWN
    assert denied(decide(gate, head(other_key.token()), presenter(pki.client))).reason is Reason.KEY_UNKNOWN
    assert keys.refreshes == [(ISSUER, "other")]


def test_new_key_under_an_old_kid_is_fetched_after_a_failed_signature(
    signing_key: SigningKey, pki: Pki
) -> None:
    renewed = SigningKey.create("ES256")
    keys = Keys.of(signing_key)
    keys.after_refresh[ISSUER] = Jwks((verification_key(renewed),))
    gate = authorizer(policy(), keys)
    permitted(decide(gate, head(renewed.token(pki.client)), presenter(pki.client)))
    assert keys.refreshes == [(ISSUER, "es256")]


def test_refresh_that_fails_is_the_issuers_fault(
    signing_key: SigningKey, other_key: SigningKey, pki: Pki
) -> None:
    keys = Keys.of(signing_key)
    keys.after_refresh[ISSUER] = IssuerUnavailable(ISSUER, "connect")
    denial = denied(decide(authorizer(policy(), keys), head(other_key.token()), presenter(pki.client)))
    assert (denial.reason, denial.retry_after) == (Reason.ISSUER_UNAVAILABLE, 5)


@pytest.mark.parametrize(
    ("header", "reason"),
    [({"alg": "none"}, Reason.ALGORITHM_REFUSED), ({"crit": ["x"]}, Reason.HEADER_REFUSED),
     ({"typ": "JWT"}, Reason.TOKEN_TYPE_REFUSED)],
)  # fmt: skip
def test_nothing_is_fetched_for_what_new_keys_cannot_cure(
    header: dict[str, object], reason: Reason, signing_key: SigningKey, pki: Pki
) -> None:
    keys = Keys.of(signing_key)
    keys.after_refresh[ISSUER] = Jwks(())
    decision = decide(
        authorizer(policy(), keys), head(signing_key.token(header=header)), presenter(pki.client)
    )
    assert denied(decision).reason is reason
    assert keys.refreshes == []


def opaque_token(pki: Pki, issuer: str = ISSUER, **response: object) -> ValidatedToken:
    given = {
        "active": True, "aud": AUDIENCE, "exp": int(time.time()) + 300, "scope": "accounts:read",
        "cnf": {"x5t#S256": pki.client.thumbprint}, **response,
    }  # fmt: skip
    return profile.introspected(given, issuer, TokenDigest(b""))


def introspecting(when: IntrospectWhen = IntrospectWhen.OPAQUE, **facts: Any) -> Policy:
    return policy(issuers=[issuer_policy(introspect=when)], **facts)


def test_opaque_token_that_is_too_long_goes_to_no_issuer(signing_key: SigningKey, pki: Pki) -> None:
    long = "o" * 4097
    issuer = Introspection({(ISSUER, long): opaque_token(pki), (ISSUER, long[1:]): opaque_token(pki)})
    gate = authorizer(introspecting(), Keys.of(signing_key), issuer)
    denial = denied(decide(gate, head(long), presenter(pki.client)))
    assert denial.reason is Reason.TOKEN_TOO_LARGE
    assert denial.failures[0].expected == "an opaque token of at most 4096 bytes"
    assert issuer.asked == []
    permitted(decide(gate, head(long[1:]), presenter(pki.client)))


def test_opaque_token_too_long_for_one_issuer_goes_to_the_next(signing_key: SigningKey, pki: Pki) -> None:
    issuer = Introspection({(OTHER, "opaque"): opaque_token(pki, OTHER)})
    narrow = issuer_policy(introspect=IntrospectWhen.OPAQUE, opaque_token_bytes=5)
    wide = issuer_policy(OTHER, introspect=IntrospectWhen.OPAQUE)
    gate = authorizer(policy(issuers=[narrow, wide]), Keys.of(signing_key), issuer)
    permitted(decide(gate, head("opaque"), presenter(pki.client)))
    assert issuer.asked == [(OTHER, "opaque")]


def test_opaque_token_is_asked_about(signing_key: SigningKey, pki: Pki) -> None:
    issuer = Introspection({(ISSUER, "opaque"): opaque_token(pki)}, caches=True)
    gate = authorizer(introspecting(), Keys.of(signing_key), issuer)
    permit = permitted(decide(gate, head("opaque"), presenter(pki.client)))
    assert [one.member for one in permit.confirmed] == ["x5t#S256"]
    permitted(decide(gate, head("opaque"), presenter(pki.client)))
    assert issuer.asked == [(ISSUER, "opaque")]
    stolen = denied(decide(gate, head("opaque"), presenter(pki.other_client)))
    assert stolen.reason is Reason.BINDING_MISMATCH


def test_answer_is_used_though_nobody_caches_it(signing_key: SigningKey, pki: Pki) -> None:
    issuer = Introspection({(ISSUER, "opaque"): opaque_token(pki)})
    gate = authorizer(introspecting(), Keys.of(signing_key), issuer)
    permitted(decide(gate, head("opaque"), presenter(pki.client)))
    assert len(issuer.asked) == 1


@pytest.mark.parametrize("answer", [False, True])
def test_token_that_is_not_called_active_is_refused(
    answer: object, signing_key: SigningKey, pki: Pki
) -> None:
    """`True` is no token: an introspector that says no more than that vouches for nothing."""
    issuer = Introspection({(ISSUER, "opaque"): bool(answer)})
    gate = authorizer(introspecting(), Keys.of(signing_key), issuer)
    assert denied(decide(gate, head("opaque"), presenter(pki.client))).reason is Reason.TOKEN_INACTIVE


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (IssuerUnavailable(ISSUER, "timeout"), Reason.ISSUER_UNAVAILABLE),
        (Denied(Reason.CLAIM_MALFORMED, "exp"), Reason.CLAIM_MALFORMED),
    ],
)
def test_failed_introspection_is_never_a_pass(
    problem: Exception, reason: Reason, signing_key: SigningKey, pki: Pki
) -> None:
    gate = authorizer(introspecting(), Keys.of(signing_key), Introspection({(ISSUER, "opaque"): problem}))
    assert denied(decide(gate, head("opaque"), presenter(pki.client))).reason is reason


def test_introspected_token_is_held_against_time_and_audience(signing_key: SigningKey, pki: Pki) -> None:
    tokens = {
        (ISSUER, "late"): opaque_token(pki, exp=1), (ISSUER, "astray"): opaque_token(pki, aud="urn:other"),
    }  # fmt: skip
    gate = authorizer(introspecting(), Keys.of(signing_key), Introspection({**tokens}))
    assert denied(decide(gate, head("late"), presenter(pki.client))).reason is Reason.TOKEN_EXPIRED
    assert denied(decide(gate, head("astray"), presenter(pki.client))).reason is Reason.AUDIENCE_MISMATCH


def test_opaque_token_goes_to_the_configured_issuers_in_order(signing_key: SigningKey, pki: Pki) -> None:
    third = "https://third.example.com"
    issuers = [
        issuer_policy(), issuer_policy(OTHER, introspect=IntrospectWhen.OPAQUE),
        issuer_policy(third, introspect=IntrospectWhen.OPAQUE),
    ]  # fmt: skip
    issuer = Introspection({(third, "opaque"): opaque_token(pki, third)})
    gate = authorizer(policy(rule("two", "/two", issuers=frozenset({ISSUER, OTHER})), rule(), issuers=issuers),
                      Keys.of(signing_key), issuer)  # fmt: skip
    permit = permitted(decide(gate, head("opaque"), presenter(pki.client)))
    assert permit.token is not None
    assert permit.token.issuer == third
    assert issuer.asked == [(OTHER, "opaque"), (third, "opaque")]
    narrow = denied(decide(gate, head("opaque", target="/two"), presenter(pki.client)))
    assert narrow.reason is Reason.TOKEN_INACTIVE
    assert issuer.asked[2:] == [(OTHER, "opaque")]


def test_issuer_out_of_reach_hides_no_other_and_is_never_taken_for_a_refusal(
    signing_key: SigningKey, pki: Pki
) -> None:
    issuers = [issuer_policy(name, introspect=IntrospectWhen.OPAQUE) for name in (ISSUER, OTHER)]
    outage = IssuerUnavailable(ISSUER, "connect")
    answers: dict[tuple[str, str], ValidatedToken | bool | Exception] = {
        (ISSUER, "of-the-other"): outage, (OTHER, "of-the-other"): opaque_token(pki, OTHER),
        (ISSUER, "of-nobody"): outage, (OTHER, "of-nobody"): False,
    }  # fmt: skip
    gate = authorizer(policy(rule(), issuers=issuers), Keys.of(signing_key), Introspection(answers))
    assert permitted(decide(gate, head("of-the-other"), presenter(pki.client))).token is not None
    refused = denied(decide(gate, head("of-nobody"), presenter(pki.client)))
    assert refused.reason is Reason.ISSUER_UNAVAILABLE


def test_opaque_token_is_not_recognised_where_nobody_is_asked(signing_key: SigningKey, pki: Pki) -> None:
    decision = decide(authorizer(policy(), Keys.of(signing_key)), head("opaque"), presenter(pki.client))
    assert denied(decision).reason is Reason.TOKEN_UNRECOGNISED


def test_policy_that_introspects_without_an_introspector_is_no_policy(signing_key: SigningKey) -> None:
    with pytest.raises(ValueError, match="introspector"):
        Authorizer(introspecting(), Keys.of(signing_key), digest_key=DIGEST_KEY, elapsing=float)


def test_encrypted_token_is_refused_and_never_asked_about(signing_key: SigningKey, pki: Pki) -> None:
    issuer = Introspection({})
    gate = authorizer(introspecting(), Keys.of(signing_key), issuer)
    assert denied(decide(gate, head("a.b.c.d.e"), presenter(pki.client))).reason is Reason.TOKEN_ENCRYPTED
    assert issuer.asked == []


def test_jwt_may_be_asked_about_too(signing_key: SigningKey, pki: Pki) -> None:
    token, revoked = signing_key.token(pki.client), signing_key.token(pki.client)
    issuer = Introspection({(ISSUER, token): opaque_token(pki)}, caches=True)
    gate = authorizer(introspecting(IntrospectWhen.ALWAYS), Keys.of(signing_key), issuer)
    permitted(decide(gate, head(token), presenter(pki.client)))
    permitted(decide(gate, head(token), presenter(pki.client)))
    assert issuer.asked == [(ISSUER, token)]
    denial = denied(decide(gate, head(revoked), presenter(pki.client)))
    assert denial.reason is Reason.TOKEN_INACTIVE
    assert denial.token is not None


def test_permit_ends_with_whichever_ends_first_the_token_or_what_the_issuer_says(
    signing_key: SigningKey, pki: Pki
) -> None:
    now = int(time.time())
    token = signing_key.token(pki.client, exp=now + 100)
    for exp, end in ((now + 50, now + 80), (now + 150, now + 130)):
        issuer = Introspection({(ISSUER, token): opaque_token(pki, exp=exp)})
        gate = authorizer(introspecting(IntrospectWhen.ALWAYS), Keys.of(signing_key), issuer)
        assert permitted(decide(gate, head(token), presenter(pki.client), now)).valid_until == end


def test_jwt_with_a_bad_signature_is_not_even_asked_about(signing_key: SigningKey, pki: Pki) -> None:
    issuer = Introspection({})
    gate = authorizer(introspecting(IntrospectWhen.ALWAYS), Keys.of(signing_key), issuer)
    forged = tampered(signing_key.token(pki.client), sub="m")
    assert denied(decide(gate, head(forged), presenter(pki.client))).reason is Reason.SIGNATURE_INVALID
    assert issuer.asked == []


def test_new_key_and_introspection_can_both_be_needed(
    signing_key: SigningKey, other_key: SigningKey, pki: Pki
) -> None:
    keys, token = Keys.of(signing_key), other_key.token(pki.client)
    keys.after_refresh[ISSUER] = Jwks((verification_key(other_key),))
    issuer = Introspection({(ISSUER, token): opaque_token(pki)})
    gate = authorizer(introspecting(IntrospectWhen.ALWAYS), keys, issuer)
    permitted(decide(gate, head(token), presenter(pki.client)))
    assert (len(keys.refreshes), len(issuer.asked)) == (1, 1)


@pytest.mark.parametrize(
    ("response", "reason"),
    [({"cnf": {"x5t#S256": "A" * 43}}, Reason.CONFIRMATION_MALFORMED),
     ({"cnf": {"jkt": "x"}}, Reason.CONFIRMATION_UNSUPPORTED),
     ({"exp": 1}, Reason.TOKEN_EXPIRED)],
)  # fmt: skip
def test_what_introspection_says_of_a_jwt_counts_too(
    response: dict[str, Any], reason: Reason, signing_key: SigningKey, pki: Pki
) -> None:
    token = signing_key.token(pki.client)
    issuer = Introspection({(ISSUER, token): opaque_token(pki, **response)})
    gate = authorizer(introspecting(IntrospectWhen.ALWAYS), Keys.of(signing_key), issuer)
    assert denied(decide(gate, head(token), presenter(pki.client))).reason is reason


def test_jwt_that_only_introspection_calls_bound_is_recorded_as_bound(
    signing_key: SigningKey, pki: Pki
) -> None:
    token, thumbprint = signing_key.token(), presenter(pki.client).client_certificate
    assert thumbprint is not None
    issuer = Introspection({(ISSUER, token): opaque_token(pki)}, caches=True)
    gate = authorizer(introspecting(IntrospectWhen.ALWAYS), Keys.of(signing_key), issuer)
    for came, reason in ((pki.client, None), (pki.other_client, Reason.BINDING_MISMATCH)):
        decision = decide(gate, head(token), presenter(came))
        recorded = permitted(decision) if reason is None else denied(decision)
        assert recorded.token is not None
        assert recorded.token.confirmation.members == {"x5t#S256": thumbprint.thumbprint}
        assert recorded.token.client_id == "client-1"
        # What was made of the token as it was signed says nothing of what it is bound to.
        assert not recorded.token.lines
        assert not recorded.token.renderings
        recorded.token.lines["x"], recorded.token.renderings["x"] = "y", b"y"


# --- binding and conditions: all failures, and report only ----------------------------------------


def guarded(**facts: Any) -> Policy:
    conditions = ClaimCondition(("tenant",), Equals("acme")), ClaimCondition(("roles",), Equals("x"))
    return policy(rule(scopes=("admin",), conditions=conditions, **facts.pop("rule", {})), **facts)


def test_every_failure_is_in_the_denial(signing_key: SigningKey, pki: Pki) -> None:
    gate = authorizer(guarded(), Keys.of(signing_key))
    denial = denied(
        decide(gate, head(signing_key.token(pki.client, tenant="acme")), presenter(pki.other_client))
    )
    assert denial.reason is Reason.BINDING_MISMATCH
    assert [failure.check for failure in denial.failures] == ["cnf.x5t#S256", "scope", "claims.roles"]


def test_captured_value_is_held_against_a_claim(signing_key: SigningKey, pki: Pki) -> None:
    condition = ClaimCondition(("account",), Equals(Captured("{id}")))
    gate = authorizer(policy(rule("a", "/accounts/{id}/**", conditions=(condition,))), Keys.of(signing_key))
    token = signing_key.token(pki.client, account="7")
    permitted(decide(gate, head(token, target="/accounts/7/x"), presenter(pki.client)))
    other = denied(decide(gate, head(token, target="/accounts/8/x"), presenter(pki.client)))
    assert other.reason is Reason.CONDITION_FAILED


@pytest.mark.parametrize("where", ["rule", "issuer", "policy"])
def test_report_only_lets_binding_and_conditions_pass_until_its_day(
    where: str, signing_key: SigningKey, pki: Pki
) -> None:
    now = int(time.time())
    end: dict[str, Any] = {"report_only": ReportOnly(now + 10)}
    given = guarded(
        rule=end if where == "rule" else {},
        issuers=[issuer_policy(**(end if where == "issuer" else {}))],
        **(end if where == "policy" else {}),
    )
    gate, request = authorizer(given, Keys.of(signing_key)), head(signing_key.token(pki.client))
    permit = permitted(decide(gate, request, presenter(pki.other_client), now + 9))
    assert permit.would_deny is not None
    assert permit.would_deny.reason is Reason.BINDING_MISMATCH
    assert [one.check for one in permit.would_deny.failures] == [
        "cnf.x5t#S256",
        "scope",
        "claims.tenant",
        "claims.roles",
    ]
    assert permit.confirmed == ()
    assert (
        denied(decide(gate, request, presenter(pki.other_client), now + 10)).reason is Reason.BINDING_MISMATCH
    )


@pytest.mark.parametrize(
    "cnf", ["text", {}, {"jkt": "x"}, {"x5t#S256": "0" * 64}, {"x5t#S256": "A" * 43}],
)  # fmt: skip
def test_report_only_reports_every_kind_of_wrong_binding(
    cnf: object, signing_key: SigningKey, pki: Pki
) -> None:
    gate = authorizer(policy(report_only=ReportOnly(1 << 40)), Keys.of(signing_key))
    permit = permitted(decide(gate, head(signing_key.token(cnf=cnf)), presenter(pki.client)))
    assert permit.would_deny is not None
    assert permit.would_deny.failures[0].check.startswith("cnf")


def test_report_only_reports_an_unbound_token(signing_key: SigningKey) -> None:
    gate = authorizer(policy(report_only=ReportOnly(1 << 40)), Keys.of(signing_key))
    permit = permitted(decide(gate, head(signing_key.token()), presenter()))
    assert permit.would_deny is not None
    assert permit.would_deny.reason is Reason.BINDING_MISSING


def test_report_only_never_lets_an_invalid_token_pass(
    signing_key: SigningKey, other_key: SigningKey, pki: Pki
) -> None:
    gate = authorizer(policy(report_only=ReportOnly(1 << 40)), Keys.of(signing_key))
    token = signing_key.token(pki.client)
    for request, reason in (
        (head(), Reason.CREDENTIALS_MISSING),
        (head("opaque"), Reason.TOKEN_UNRECOGNISED),
        (head(tampered(token, sub="m")), Reason.SIGNATURE_INVALID),
        (head(other_key.token(pki.client)), Reason.KEY_UNKNOWN),
        (head(signing_key.token(pki.client, exp=1)), Reason.TOKEN_EXPIRED),
        (head(signing_key.token(pki.client, aud="urn:other")), Reason.AUDIENCE_MISMATCH),
        (head(signing_key.token(pki.client, iss="urn:other")), Reason.ISSUER_UNKNOWN),
        (head(signing_key.token(pki.client, header={"typ": "JWT"})), Reason.TOKEN_TYPE_REFUSED),
    ):
        assert denied(decide(gate, request, presenter(pki.client))).reason is reason


def test_report_only_marks_nothing_that_would_pass(signing_key: SigningKey, pki: Pki) -> None:
    gate = authorizer(policy(report_only=ReportOnly(1 << 40)), Keys.of(signing_key))
    permit = permitted(decide(gate, head(signing_key.token(pki.client)), presenter(pki.client)))
    assert permit.would_deny is None
    assert [one.member for one in permit.confirmed] == ["x5t#S256"]


# --- explanation ---------------------------------------------------------------------------------


def explained(gate: Authorizer, token: str | None, pki: Pki, **facts: Any) -> list[tuple[str, str]]:
    trace = Trace()
    decision = gate.authorize(head(token, **facts), presenter(pki.client), time.time(), trace)
    if inspect.isawaitable(decision):
        asyncio.run(decision)  # type: ignore[arg-type]  # what authorize hands out is a coroutine
    return [(step.check, step.verdict.value) for step in trace.complete()]


def test_explanation_holds_every_check_in_order(signing_key: SigningKey, pki: Pki) -> None:
    condition = ClaimCondition(("tenant",), Equals("acme"))
    gate = authorizer(policy(rule(scopes=("accounts:read",), conditions=(condition,))), Keys.of(signing_key))
    token = signing_key.token(pki.client, tenant="acme")
    for _ in range(2):
        assert [check for check, verdict in explained(gate, token, pki) if verdict == "passed"] == [
            "rule", "credentials", "token", "iss", "signature", "typ", "exp", "aud", "cnf.x5t#S256", "scope",
            "claims.tenant",
        ]  # fmt: skip


def test_explanation_ends_at_the_check_that_failed(signing_key: SigningKey, pki: Pki) -> None:
    gate = authorizer(policy(), Keys.of(signing_key))
    steps = explained(gate, signing_key.token(pki.client, exp=1), pki)
    assert steps[5:] == [
        ("typ", "passed"), ("exp", "failed"), ("aud", "not reached"), ("cnf", "not reached"), ("scope", "not reached"),
    ]  # fmt: skip


def test_explanation_holds_all_that_failed_of_binding_and_conditions(
    signing_key: SigningKey, pki: Pki
) -> None:
    steps = explained(authorizer(guarded(), Keys.of(signing_key)), signing_key.token(pki.other_client), pki)
    assert [check for check, verdict in steps if verdict == "failed"] == [
        "cnf.x5t#S256", "scope", "claims.tenant", "claims.roles",
    ]  # fmt: skip


def test_explanation_shows_what_the_token_says_and_a_denial_does_not(
    signing_key: SigningKey, pki: Pki
) -> None:
    conditions = (ClaimCondition(("tenant",), Equals("acme")),)
    gate = authorizer(policy(rule(scopes=("admin",), conditions=conditions)), Keys.of(signing_key))
    token = signing_key.token(pki.client, tenant="evil-corp", scope="some:scope")
    astray = signing_key.token(pki.client, aud="urn:astray")
    for trace, shown in ((Trace(), True), (None, False)):
        failures = denied_by(gate, token, pki, trace) + denied_by(gate, astray, pki, trace)
        assert ("evil-corp" in failures) is shown
        assert ("some:scope" in failures) is shown
        assert "urn:astray" in failures  # for whom it was issued is no secret to whom it was sent


def denied_by(gate: Authorizer, token: str, pki: Pki, trace: Trace | None) -> str:
    decision = gate.authorize(head(token), presenter(pki.client), time.time(), trace)
    assert isinstance(decision, Denial)
    return " ".join(failure.presented for failure in decision.failures)


def test_explanation_of_an_outage_names_it(signing_key: SigningKey, pki: Pki) -> None:
    keys = Keys.of(signing_key)
    keys.outage = IssuerUnavailable(ISSUER, "never_loaded")
    steps = explained(authorizer(policy(), keys), signing_key.token(pki.client), pki)
    assert ("issuer", "failed") in steps


def test_explanation_of_what_the_issuer_was_asked_holds_each_check_once(
    signing_key: SigningKey, pki: Pki
) -> None:
    issuer = Introspection({(ISSUER, "opaque"): opaque_token(pki)})
    gate = authorizer(introspecting(), Keys.of(signing_key), issuer)
    assert [check for check, _ in explained(gate, "opaque", pki)] == [
        "rule", "credentials", "active", "exp", "aud", "cnf.x5t#S256",
    ]  # fmt: skip


# --- faults of ours ------------------------------------------------------------------------------


def test_fault_of_a_port_is_neither_permit_nor_denial(signing_key: SigningKey, pki: Pki) -> None:
    gate = authorizer(policy(), Keys({}))
    with pytest.raises(KeyError):
        decide(gate, head(signing_key.token(pki.client)), presenter(pki.client))


def test_unbound_token_passes_where_binding_is_not_required(signing_key: SigningKey) -> None:
    gate = authorizer(policy(rule(binding=Binding.IF_BOUND)), Keys.of(signing_key))
    permit = permitted(decide(gate, head(signing_key.token()), presenter()))
    assert permit.confirmed == ()


# --- bounds on what anybody can send ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "check"),
    [
        ("/" * 300, "path"),
        ("/a%252fb%255cc;d//e", "path"),
        ("/?" + "&".join(f"%61{n}" for n in range(65)), "query"),
    ],
)
def test_target_that_takes_more_work_than_it_is_worth_is_too_long(
    target: str, check: str, signing_key: SigningKey, pki: Pki
) -> None:
    gate = authorizer(policy(rule("all", allow_ambiguous_paths=frozenset(ALLOWABLE))), Keys.of(signing_key))
    denial = denied(decide(gate, head(signing_key.token(pki.client), target=target), presenter(pki.client)))
    assert denial.reason is Reason.TARGET_TOO_LONG
    assert denial.failures[0].check == check


def test_claims_set_of_too_many_values_is_not_decoded(signing_key: SigningKey, pki: Pki) -> None:
    gate = authorizer(policy(), Keys.of(signing_key))
    few, many = (signing_key.token(pki.client, roles=[{}] * number) for number in (400, 600))
    permitted(decide(gate, head(few), presenter(pki.client)))
    denial = denied(decide(gate, head(many), presenter(pki.client)))
    assert denial.reason is Reason.TOKEN_MALFORMED
    assert denial.failures[0].presented == "more than 1024 values"
