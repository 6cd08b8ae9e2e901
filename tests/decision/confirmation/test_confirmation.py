import pytest

from sidecar.decision import confirmation
from sidecar.decision.confirmable import Confirmable
from sidecar.decision.confirmation import (
    UNBOUND,
    Confirmed,
    Held,
    check_scheme,
    confirm,
    held,
    held_in,
    joined,
    parse,
)
from sidecar.decision.failure import Denied, Failure
from sidecar.decision.reason import Reason
from sidecar.decision.token import Confirmation
from tests.support.pki import Pki
from tests.support.world import presentation

ZEROS = {"x5t#S256": "A" * 43}


def refusal(given: Confirmation, pki: Pki) -> Reason:
    with pytest.raises(Denied) as caught:
        confirm(given, presentation(pki.client))
    assert caught.value.failure == (given.refusal or caught.value.failure)
    return caught.value.reason


def test_member_that_the_connection_confirms_is_the_evidence(pki: Pki) -> None:
    bound = parse({"x5t#S256": pki.client.thumbprint})
    assert bound.is_bound
    assert [one.member for one in confirm(bound, presentation(pki.client))] == ["x5t#S256"]


def test_unbound_token_has_nothing_to_confirm(pki: Pki) -> None:
    assert not UNBOUND.is_bound
    assert confirm(UNBOUND, presentation(None)) == ()


def test_other_certificate_confirms_nothing(pki: Pki) -> None:
    assert refusal(parse(ZEROS), pki) is Reason.BINDING_MISMATCH


@pytest.mark.parametrize("cnf", [None, "x", [], {}, 1, True, [ZEROS]])
def test_confirmation_that_is_no_object_with_members_is_malformed(cnf: object, pki: Pki) -> None:
    given = parse(cnf)
    assert given.is_bound
    assert given.refusal is not None
    assert given.refusal.presented == ("an empty object" if cnf == {} else type(cnf).__name__)
    assert refusal(parse(cnf), pki) is Reason.CONFIRMATION_MALFORMED


@pytest.mark.parametrize(
    "cnf", [{"jkt": "x"}, {"jwk": {}}, {"kid": "1"}, {"x5t": "x"}, ZEROS | {"jkt": "x"}, {"": 1}]
)
def test_confirmation_with_a_member_that_is_not_verified_is_unsupported(cnf: object, pki: Pki) -> None:
    assert refusal(parse(cnf), pki) is Reason.CONFIRMATION_UNSUPPORTED


@pytest.mark.parametrize("value", [1, None, [], "A" * 42, "A" * 43 + "=", "0" * 64])
def test_thumbprint_of_the_wrong_shape_is_malformed(value: object, pki: Pki) -> None:
    given = parse({"x5t#S256": value})
    assert refusal(given, pki) is Reason.CONFIRMATION_MALFORMED
    assert given.refusal is not None
    assert given.refusal.check == "cnf.x5t#S256"


def test_introspection_and_token_must_ask_for_the_same() -> None:
    zeros, ones = parse(ZEROS), parse({"x5t#S256": "B" * 42 + "A"})
    assert joined(zeros, UNBOUND) is zeros
    assert joined(zeros, parse(ZEROS)) is zeros
    assert joined(UNBOUND, zeros) is zeros
    differing = joined(zeros, ones).refusal
    assert differing is not None
    assert differing.reason is Reason.CONFIRMATION_MALFORMED


def test_unconfirmable_answer_of_introspection_is_not_dropped() -> None:
    assert joined(UNBOUND, parse("x")).refusal is not None
    assert joined(parse(ZEROS), parse("x")).refusal is not None
    assert joined(parse("x"), UNBOUND).refusal is not None
    assert joined(parse("x"), parse(ZEROS)).refusal is not None


def test_table_names_each_method_by_its_member() -> None:
    assert set(confirmation.METHODS) == {"x5t#S256", "jkt"}
    assert all(method.member == name for name, method in confirmation.METHODS.items())


BOTH = Confirmable(("Bearer", "DPoP"), frozenset({"note"}))


def test_informative_member_is_left_out_and_binds_nothing() -> None:
    assert parse({"jkt": "A" * 43, "note": 1}, BOTH).members == {"jkt": bytes(32)}
    alone = parse({"note": 1}, BOTH).refusal
    assert alone is not None
    assert alone.presented == "only informative members"


@pytest.mark.parametrize(
    ("scheme", "accepted", "members", "is_good"),
    [
        ("Bearer", ("Bearer",), (), True), ("Bearer", ("DPoP",), ("x5t#S256",), False),
        ("DPoP", ("DPoP",), ("jkt",), True), ("DPoP", ("DPoP",), ("x5t#S256",), False),
        ("DPoP", ("Bearer",), ("jkt",), False), ("DPoP", ("DPoP",), ("x5t#S256", "jkt"), True),
        ("MTLS_POP", ("Bearer",), ("x5t#S256",), True), ("MTLS_POP", ("Bearer",), (), False),
    ],
)  # fmt: skip
def test_token_comes_with_a_scheme_of_what_confirmed_it(
    scheme: str, accepted: tuple[str, ...], members: tuple[str, ...], *, is_good: bool
) -> None:
    evidence = tuple(map(Confirmed, members))
    if is_good:
        check_scheme(scheme, accepted, evidence)
    else:
        with pytest.raises(Denied) as caught:
            check_scheme(scheme, accepted, evidence)
        assert caught.value.reason is Reason.SCHEME_MISMATCH


def test_request_is_held_by_every_member_or_by_none(pki: Pki) -> None:
    holder = presentation(pki.client).presenter
    ours = {"x5t#S256": pki.client.thumbprint}
    mismatch = [Failure("dpop.jkt", Reason.PROOF_KEY_MISMATCH)]
    assert held(UNBOUND, holder, ()) is Held.UNBOUND
    assert held(parse(ours), holder, ()) is Held.BOUND
    assert held(parse({**ours, "jkt": "A" * 43}, BOTH), holder, mismatch) is Held.MISMATCHED
    line = {"expected_thumbprint": "a", "presented_thumbprint": "a"}
    assert held_in({}, ()) is Held.UNBOUND
    assert held_in(line, ()) is Held.BOUND
    assert held_in({**line, "expected_key_thumbprint": "x"}, ["proof_expired"]) is Held.MISMATCHED
