import pytest

from sidecar.decision import confirmation
from sidecar.decision.confirmation import UNBOUND, confirm, joined, parse
from sidecar.decision.denial import Denied, Reason
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
    assert set(confirmation.METHODS) == {"x5t#S256"}
    assert all(method.member == name for name, method in confirmation.METHODS.items())
