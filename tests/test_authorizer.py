"""The order of checks, with the ports in memory."""

import time
from collections.abc import Callable

import pytest

from sidecar.decision.denial import Reason
from tests.support.mint import SigningKey
from tests.support.pki import Pki
from tests.support.world import (
    Keys,
    authorizer,
    decide,
    denied,
    head,
    permitted,
    policy,
    presenter,
)


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
    assert permit.confirmed == ("x5t#S256",)
    assert permit.token is not None
    assert permit.token.client_id == "client-1"
    assert permit.valid_until == pytest.approx(time.time() + 330, abs=5)
    assert permit.would_deny is None


def test_token_bound_to_another_certificate_is_refused(signing_key: SigningKey, pki: Pki) -> None:
    gate = authorizer(policy(), Keys.of(signing_key))
    denial = denied(decide(gate, head(signing_key.token(pki.client)), presenter(pki.other_client)))
    assert denial.reason is Reason.BINDING_MISMATCH
    assert denial.token is not None


def test_second_request_with_the_same_token_is_decided_from_memory(signing_key: SigningKey, pki: Pki) -> None:
    gate = authorizer(policy(), Keys.of(signing_key))
    token = signing_key.token(pki.client)
    first = permitted(decide(gate, head(token), presenter(pki.client)))
    second = permitted(decide(gate, head(token), presenter(pki.client)))
    assert first.token is second.token
    stolen = denied(decide(gate, head(token), presenter(pki.other_client)))
    assert stolen.reason is Reason.BINDING_MISMATCH
