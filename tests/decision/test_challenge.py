import json
import re
from typing import Any

import pytest

from sidecar.decision.challenge import DESCRIPTIONS, TITLES, challenges, problem, quoted
from sidecar.decision.denial import Denial, Reason, shape


def challenge(denial: Denial, *wording: str | None, disclose: bool = True) -> str | None:
    """All of them as one list."""
    return ", ".join(challenges(denial, *wording, disclose=disclose)) or None


def test_request_without_credentials_is_challenged_without_an_error() -> None:
    assert challenge(Denial(Reason.CREDENTIALS_MISSING)) == "Bearer"
    assert challenge(Denial(Reason.CREDENTIALS_MISSING), "example") == 'Bearer realm="example"'


def test_expired_token_is_challenged_as_rfc_6750_prints_it() -> None:
    assert challenge(Denial(Reason.TOKEN_EXPIRED), "example") == (
        'Bearer realm="example", error="invalid_token", error_description="The access token expired"'
    )


def test_undisclosed_reason_leaves_the_code_alone() -> None:
    assert challenge(Denial(Reason.TOKEN_EXPIRED), disclose=False) == 'Bearer error="invalid_token"'


def test_missing_scope_is_named() -> None:
    denial = Denial(Reason.SCOPE_INSUFFICIENT, scope=("accounts:read", 'odd"one\\'))
    assert challenge(denial) == (
        'Bearer error="insufficient_scope", error_description="The access token lacks a required scope", '
        'scope="accounts:read oddone"'
    )
    assert challenge(Denial(Reason.SCOPE_INSUFFICIENT), disclose=False) == 'Bearer error="insufficient_scope"'


def test_scope_is_named_for_a_missing_scope_only() -> None:
    assert "scope=" not in str(challenge(Denial(Reason.TOKEN_EXPIRED, scope=("a",))))


def test_weak_authentication_is_challenged_as_rfc_9470_prints_it() -> None:
    denial = Denial(Reason.AUTHENTICATION_INSUFFICIENT, acr_values=("mfa", "phr"), max_age=60)
    assert challenge(denial, disclose=False) == (
        'Bearer error="insufficient_user_authentication", acr_values="mfa phr", max_age="60"'
    )
    assert challenge(Denial(Reason.AUTHENTICATION_INSUFFICIENT, max_age=0), disclose=False) == (
        'Bearer error="insufficient_user_authentication", max_age="0"'
    )
    assert "acr" not in str(challenge(Denial(Reason.TOKEN_EXPIRED, acr_values=("mfa",))))


def test_resource_metadata_is_pointed_to() -> None:
    url = "https://api.example.com/.well-known/oauth-protected-resource"
    assert challenge(Denial(Reason.CREDENTIALS_MISSING), None, url) == f'Bearer resource_metadata="{url}"'


@pytest.mark.parametrize(
    ("text", "value"),
    [("a", '"a"'), ('a"b\\c', '"a\\"b\\\\c"'), ("a\r\nSet-Cookie: x", '"aSet-Cookie: x"'), ("é\x00", '""')],
)
def test_quoted_string_is_escaped_and_printable(text: str, value: str) -> None:
    assert quoted(text) == value


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_an_answer_that_can_be_said(reason: Reason) -> None:
    row = shape(reason)
    value = challenge(Denial(reason), "realm")
    assert (value is not None) is row.challenge
    assert row.challenge is (row.error is not None or reason is Reason.CREDENTIALS_MISSING)
    # RFC 6750 §3: error_description "MUST NOT include characters outside the set %x20-21 / %x23-5B / %x5D-7E".
    assert re.fullmatch(r"[\x20-\x21\x23-\x5B\x5D-\x7E]+", DESCRIPTIONS[reason])
    body = json.loads(problem(reason, "r-1"))
    assert body == {
        "type": "about:blank", "title": TITLES[row.status], "status": row.status,
        "detail": DESCRIPTIONS[reason], "reason": reason.value, "request_id": "r-1",
    }  # fmt: skip


def test_undisclosed_problem_says_no_reason() -> None:
    body: dict[str, Any] = json.loads(problem(Reason.BINDING_MISMATCH, "r-1", disclose=False))
    assert body == {"type": "about:blank", "title": "Unauthorized", "status": 401, "request_id": "r-1"}


def test_a_problem_has_a_type_of_its_own_where_there_is_a_page_about_it() -> None:
    types = "https://docs.example.com/troubleshooting?v=100%25#"
    body = json.loads(problem(Reason.BINDING_MISMATCH, "r-1", types=types))
    assert body["type"] == f"{types}binding_mismatch"
    assert body["title"] == DESCRIPTIONS[Reason.BINDING_MISMATCH]
    assert body["reason"] == "binding_mismatch"


def test_a_type_names_no_reason_that_is_not_to_be_disclosed() -> None:
    body = json.loads(
        problem(Reason.BINDING_MISMATCH, "r-1", disclose=False, types="https://docs.example.com/#")
    )
    assert body["type"] == "about:blank"


def test_tables_have_no_row_too_many() -> None:
    assert set(DESCRIPTIONS) == set(Reason)
    assert set(TITLES) == {shape(reason).status for reason in Reason}


def test_each_scheme_has_its_challenge_and_the_error_stands_in_the_first() -> None:
    """RFC 9449 §7.1, figure 17."""
    denial = Denial(Reason.PROOF_EXPIRED, schemes=(("DPoP", "ES256 PS256"), ("Bearer", "")))
    assert challenges(denial, "api", disclose=False) == [
        'DPoP realm="api", error="invalid_dpop_proof", algs="ES256 PS256"', 'Bearer realm="api"',
    ]  # fmt: skip
    assert challenge(denial, disclose=False) == 'DPoP error="invalid_dpop_proof", algs="ES256 PS256", Bearer'
    assert challenges(Denial(Reason.RULE_UNMATCHED)) == []
