import pytest

from sidecar.decision.claim_names import ClaimNames, found, told


@pytest.mark.parametrize(
    ("claims", "value"),
    [({"a": 1, "b": 2}, 1), ({"a": None, "b": 2}, 2), ({"b": ""}, ""), ({}, None), ({"a": None}, None)],
)
def test_the_first_that_is_present_is_found(claims: dict[str, object], value: object) -> None:
    assert found(claims, ("a", "b")) == value


def test_claims_are_told_under_the_names_that_policies_know() -> None:
    names = ClaimNames(scope=("scp",), client_id=("azp",))
    claims = {"scp": "a", "azp": "c", "client_id": "other"}
    assert told(claims, names, "c") == {**claims, "scope": "a", "client_id": "c"}
    same = {"scp": "a", "scope": "a", "azp": "c", "client_id": "c"}
    assert told(same, names, "c") is same
    assert told(claims, ClaimNames(), "other") is claims
