"""A token bound to a key, from the request to the permit (RFC 9449 §7)."""

import asyncio
import time
from collections.abc import Awaitable
from typing import Any

import pytest

from sidecar.authorizer import Authorizer
from sidecar.decision.confirmable import Confirmable
from sidecar.decision.confirmation import confirm, parse
from sidecar.decision.denial import Denial
from sidecar.decision.explanation import Trace
from sidecar.decision.failure import Denied
from sidecar.decision.nonce import BUCKET, Nonces
from sidecar.decision.permit import Permit
from sidecar.decision.policy import Binding, ReportOnly
from sidecar.decision.proof import Claim
from sidecar.decision.proof_header import CHECKS
from sidecar.decision.proof_policy import ProofPolicy
from sidecar.decision.reason import Reason
from sidecar.decision.replay import ReplayGuard, ReplayMemory, ReplayUnknown
from sidecar.http.answer import Answers, Wording
from tests.support.mint import SigningKey
from tests.support.pki import Pki
from tests.support.proofs import URL, Prover
from tests.support.world import (
    BOTH,
    Jwks,
    Keys,
    authorizer,
    decide,
    head,
    permitted,
    policy,
    presentation,
    presenter,
    proving,
    rule,
)

PROVER = Prover.create()


class Remote(ReplayGuard):
    """A store in another process."""

    def __init__(self, answer: bool | Exception = True) -> None:
        self.answer = answer
        self.claims: list[Claim] = []

    def claim(self, claim: Claim) -> Awaitable[bool]:
        self.claims.append(claim)
        return self._answered()

    async def _answered(self) -> bool:
        await asyncio.sleep(0)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def memory(entries: int = 1000) -> ReplayMemory:
    return ReplayMemory(b"digest", time.monotonic, entries)


@pytest.fixture
def token(signing_key: SigningKey) -> str:
    return signing_key.token(cnf=PROVER.cnf)


def gate(
    key: SigningKey, replay: ReplayGuard | None = None, nonces: Nonces | None = None, **facts: Any
) -> Authorizer:
    rules = facts.pop("rules", [rule()])
    return authorizer(
        proving(*rules, **facts), Keys.of(key), None, memory() if replay is None else replay, nonces
    )


def request(token: str, *proofs: str, scheme: str = "DPoP", **facts: Any) -> Any:
    return head(authorization=(f"{scheme} {token}",), proofs=proofs, **facts)


def refused(decision: object) -> Denial:
    assert isinstance(decision, Denial), decision
    return decision


def challenges(denial: Denial) -> list[str]:
    answer = Answers(Wording(disclose=False)).to(denial)
    return [value.decode() for name, value in answer.fields if name == b"WWW-Authenticate"]


def test_request_with_a_good_proof_is_permitted_and_its_method_named(
    signing_key: SigningKey, token: str
) -> None:
    permit = permitted(decide(gate(signing_key), request(token, PROVER.proof(token)), presenter()))
    assert [one.member for one in permit.confirmed] == ["jkt"]


@pytest.mark.parametrize("scheme", ["DPoP", "dpop", "DPOP"])
def test_scheme_is_case_insensitive(scheme: str, signing_key: SigningKey, token: str) -> None:
    permitted(decide(gate(signing_key), request(token, PROVER.proof(token), scheme=scheme), presenter()))


def test_proof_is_good_once(signing_key: SigningKey, token: str) -> None:
    given, proof = gate(signing_key), PROVER.proof(token)
    permitted(decide(given, request(token, proof), presenter()))
    denial = refused(decide(given, request(token, proof), presenter()))
    assert denial.reason is Reason.PROOF_REPLAYED
    assert challenges(denial) == ['DPoP error="invalid_dpop_proof", algs="ES256 EdDSA PS256"', "Bearer"]
    permitted(decide(given, request(token, PROVER.proof(token)), presenter()))


def test_bearer_downgrade_is_refused(signing_key: SigningKey, token: str) -> None:
    """RFC 9449 §7.2."""
    for proofs in ((), (PROVER.proof(token),)):
        denial = refused(decide(gate(signing_key), request(token, *proofs, scheme="Bearer"), presenter()))
        assert denial.reason is Reason.SCHEME_MISMATCH
        assert challenges(denial)[0] == 'Bearer error="invalid_token"'


def test_unbound_and_certificate_bound_tokens_are_no_dpop_tokens(signing_key: SigningKey, pki: Pki) -> None:
    given = gate(signing_key, binding=Binding.IF_BOUND)
    for other in (signing_key.token(), signing_key.token(pki.client)):
        denial = refused(decide(given, request(other, PROVER.proof(other)), presenter(pki.client)))
        assert denial.reason is Reason.SCHEME_MISMATCH
        assert challenges(denial)[0].startswith('DPoP error="invalid_token"')


def test_without_credentials_both_schemes_are_offered_and_no_error_is_said(signing_key: SigningKey) -> None:
    """RFC 9449 §7.1."""
    denial = refused(decide(gate(signing_key), head(), presenter()))
    assert challenges(denial) == ["Bearer", 'DPoP algs="ES256 EdDSA PS256"']
    only = gate(signing_key, confirmable=Confirmable(("DPoP",)))
    assert challenges(refused(decide(only, head(), presenter()))) == ['DPoP algs="ES256 EdDSA PS256"']
    bearer = refused(decide(only, request("a.b.c", scheme="Bearer"), presenter()))
    assert bearer.reason is Reason.CREDENTIALS_MISSING


def test_two_methods_are_a_bad_request(signing_key: SigningKey, token: str) -> None:
    """RFC 9449 §7.2, figure 19."""
    both = head(authorization=(f"Bearer {token}", f"DPoP {token}"), proofs=(PROVER.proof(token),))
    assert refused(decide(gate(signing_key), both, presenter())).reason is Reason.CREDENTIALS_REPEATED


def test_every_member_of_cnf_must_confirm(signing_key: SigningKey, pki: Pki) -> None:
    both = signing_key.token(cnf={**PROVER.cnf, "x5t#S256": pki.client.thumbprint})
    given = gate(signing_key)
    permit = permitted(decide(given, request(both, PROVER.proof(both)), presenter(pki.client)))
    assert {one.member for one in permit.confirmed} == {"jkt", "x5t#S256"}
    for connection, proofs in (
        (presenter(pki.other_client), (PROVER.proof(both),)),
        (presenter(), (PROVER.proof(both),)),
        (presenter(pki.client), (Prover.create().proof(both),)),
        (presenter(pki.client), ()),
    ):
        refused(decide(given, request(both, *proofs), connection))


def test_proof_is_claimed_after_everything_else(signing_key: SigningKey, token: str, pki: Pki) -> None:
    """A stranger's proof, or a request that the rule refuses, burns nobody's `jti`."""
    store = memory()
    given = gate(signing_key, store, rules=[rule(scopes=("write",))])
    proof = PROVER.proof(token)
    assert refused(decide(given, request(token, proof), presenter())).reason is Reason.SCOPE_INSUFFICIENT
    assert len(store) == 0
    lax = gate(signing_key, store)
    for spoiled in (
        Prover.create().proof(token),
        PROVER.proof("other"),
        proof[:-4] + "AAAA",
        PROVER.proof(token, "POST"),
    ):
        refused(decide(lax, request(token, spoiled), presenter()))
    assert len(store) == 0
    permitted(decide(lax, request(token, proof), presenter()))


def test_explanation_claims_nothing_and_shows_the_twelve(signing_key: SigningKey, token: str) -> None:
    store = memory()
    given, trace = gate(signing_key, store), Trace()
    decision = given.authorize(request(token, PROVER.proof(token)), presenter(), time.time(), trace)
    assert isinstance(decision, Permit)
    assert len(store) == 0
    names = [name for name, _, _ in CHECKS]
    shown = [step for step in trace.steps if step.check.startswith("dpop.")]
    assert [step.check for step in shown] == names
    assert all(step.clause.startswith("RFC 9449 §4.3") for step in shown)
    trace = Trace()
    given.authorize(request(token, PROVER.proof(token, "POST")), presenter(), time.time(), trace)
    shown = [step for step in trace.steps if step.check.startswith("dpop.")]
    assert [step.check for step in shown] == names[: names.index("dpop.htm") + 1]
    assert shown[-1].verdict.value == "failed"


def test_report_only_passes_what_is_not_bound_and_no_broken_or_replayed_proof(
    signing_key: SigningKey, token: str
) -> None:
    given = gate(signing_key, report_only=ReportOnly(2**40))
    for asked, reason in (
        (request(token), Reason.PROOF_MISSING),
        (request(token, Prover.create().proof(token)), Reason.PROOF_KEY_MISMATCH),
        (request(token, PROVER.proof(token), scheme="Bearer"), Reason.SCHEME_MISMATCH),
    ):
        reported = permitted(decide(given, asked, presenter())).would_deny
        assert reported is not None
        assert reported.reason is reason
    assert (
        refused(decide(given, request(token, PROVER.proof(token, "POST")), presenter())).reason
        is Reason.PROOF_METHOD_MISMATCH
    )
    proof = PROVER.proof(token)
    permitted(decide(given, request(token, proof), presenter()))
    assert refused(decide(given, request(token, proof), presenter())).reason is Reason.PROOF_REPLAYED


def test_full_memory_is_503(signing_key: SigningKey, token: str) -> None:
    given = gate(signing_key, memory(entries=0))
    denial = refused(decide(given, request(token, PROVER.proof(token)), presenter()))
    assert denial.reason is Reason.REPLAY_UNKNOWN
    assert Answers(Wording()).to(denial).status == 503
    assert challenges(denial) == []


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(True, None), (False, Reason.PROOF_REPLAYED), (ReplayUnknown("out of reach"), Reason.REPLAY_UNKNOWN)],
)
def test_store_in_another_process_is_asked_last(
    answer: bool | Exception, reason: Reason | None, signing_key: SigningKey, token: str
) -> None:
    store = Remote(answer)
    decision = decide(gate(signing_key, store), request(token, PROVER.proof(token)), presenter())
    assert len(store.claims) == 1
    if reason is None:
        permitted(decision)
    else:
        assert refused(decision).reason is reason


def test_store_is_asked_once_after_the_issuer_was(signing_key: SigningKey, token: str) -> None:
    store = Remote()
    keys = Keys.of(SigningKey.create(kid="old"))
    keys.after_refresh = dict(Keys.of(signing_key).published)
    given = authorizer(proving(), keys, None, store)
    permitted(decide(given, request(token, PROVER.proof(token)), presenter()))
    assert len(store.claims) == 1


class Slow(Keys):
    """An issuer that takes so many seconds to publish its keys, by a clock of its own."""

    takes, time = 0.0, 1000.0

    def clock(self) -> float:
        return self.time

    async def refreshed(self, issuer: str, kid: str | None, source: str = "") -> Jwks:
        self.time += self.takes
        return await super().refreshed(issuer, kid, source)


@pytest.mark.parametrize(("takes", "reason"), [(1.0, None), (3.0, Reason.PROOF_EXPIRED)])
def test_proof_that_ends_while_the_issuer_is_asked_is_not_claimed(
    takes: float, reason: Reason | None, signing_key: SigningKey, token: str
) -> None:
    store, made_at = Remote(), int(time.time())
    keys = Slow(Keys.of(SigningKey.create(kid="old")).published, dict(Keys.of(signing_key).published))
    keys.takes = takes
    terms = proving(proof=ProofPolicy(window=60, future=0))
    given = authorizer(terms, keys, None, store, elapsing=keys.clock)
    asked = request(token, PROVER.proof(token, iat=made_at))
    decision = decide(given, asked, presenter(), made_at + 58.0)
    if reason is None:
        permitted(decision)
    else:
        assert refused(decision).reason is reason
    assert len(store.claims) == (reason is None)


KEY = b"k" * 32
REQUIRED = ProofPolicy(requires_nonce=True)


def test_proof_without_the_nonce_is_told_which(signing_key: SigningKey, token: str) -> None:
    """RFC 9449 §9."""
    nonces = Nonces(KEY)
    given = gate(signing_key, nonces=nonces, proof=REQUIRED)
    denial = refused(decide(given, request(token, PROVER.proof(token)), presenter()))
    answer = Answers(Wording()).to(denial)
    assert answer.status == 401
    assert challenges(denial)[0].startswith('DPoP error="use_dpop_nonce"')
    fresh = answer.field(b"DPoP-Nonce")
    assert fresh == nonces.fresh(time.time())
    permitted(decide(given, request(token, PROVER.proof(token, nonce=fresh)), presenter()))
    for wrong in ("v1.1.x", 7):
        refused(decide(given, request(token, PROVER.proof(token, nonce=wrong)), presenter()))


def test_permit_holds_a_fresh_nonce_only_when_the_one_in_the_proof_ages(
    signing_key: SigningKey, token: str
) -> None:
    """RFC 9449 §8.2."""
    nonces, now = Nonces(KEY), time.time()
    given = gate(signing_key, nonces=nonces, proof=REQUIRED)
    aged, fresh = nonces.fresh(now - BUCKET), nonces.fresh(now)
    for used, told in ((aged, fresh), (fresh, None)):
        asked = request(token, PROVER.proof(token, nonce=used))
        permit = given.authorize(asked, presenter(), now)
        assert isinstance(permit, Permit)
        assert permit.nonce == told
    lax = gate(signing_key, nonces=nonces)
    assert permitted(decide(lax, request(token, PROVER.proof(token, nonce=aged)), presenter())).nonce is None


def test_policy_without_a_store_takes_no_proofs(signing_key: SigningKey) -> None:
    with pytest.raises(ValueError, match="replay"):
        authorizer(proving(), Keys.of(signing_key))
    assert authorizer(policy(), Keys.of(signing_key)).policy.schemes == {
        "bearer": "Bearer",
        "mtls_pop": "MTLS_POP",
    }


def test_jkt_is_unsupported_where_the_scheme_is_not_accepted(signing_key: SigningKey, token: str) -> None:
    given = authorizer(policy(), Keys.of(signing_key))
    denial = refused(decide(given, request(token, PROVER.proof(token)), presenter()))
    assert denial.reason is Reason.CREDENTIALS_MISSING
    denial = refused(decide(given, request(token, scheme="Bearer"), presenter()))
    assert denial.reason is Reason.CONFIRMATION_UNSUPPORTED


INFORMED = Confirmable(("Bearer", "DPoP"), frozenset({"kc-jkt-type"}))


@pytest.mark.field_cases
def test_informative_member_binds_nothing_and_hides_nothing(signing_key: SigningKey) -> None:
    given = gate(signing_key, confirmable=INFORMED)
    told = signing_key.token(cnf={**PROVER.cnf, "kc-jkt-type": "x"})
    permitted(decide(given, request(told, PROVER.proof(told)), presenter()))
    for cnf in ({"kc-jkt-type": "x"}, {}, None):
        alone = signing_key.token(cnf=cnf)
        for binding in Binding:
            lax = gate(signing_key, confirmable=INFORMED, rules=[rule(binding=binding)])
            denial = refused(decide(lax, request(alone, scheme="Bearer"), presenter()))
            assert denial.reason is Reason.CONFIRMATION_MALFORMED
    with pytest.raises(Denied):
        confirm(parse({**PROVER.cnf, "other": "x"}, BOTH), presentation())


def test_mtls_pop_is_bearer_for_a_token_bound_to_a_certificate(signing_key: SigningKey, pki: Pki) -> None:
    given = authorizer(policy(rule(binding=Binding.IF_BOUND)), Keys.of(signing_key))
    bound, unbound = signing_key.token(pki.client), signing_key.token()
    permitted(decide(given, request(bound, scheme="mtls_pop"), presenter(pki.client)))
    assert (
        refused(decide(given, request(unbound, scheme="MTLS_POP"), presenter())).reason
        is Reason.SCHEME_MISMATCH
    )


def test_target_is_held_against_the_origin_and_not_against_host(signing_key: SigningKey, token: str) -> None:
    given = gate(signing_key)
    forged = PROVER.proof(token, url="https://evil.example/accounts/7")
    denial = refused(decide(given, request(token, forged, host="evil.example"), presenter()))
    assert denial.reason is Reason.PROOF_TARGET_MISMATCH
    permitted(decide(given, request(token, PROVER.proof(token, url=URL), host="evil.example"), presenter()))
