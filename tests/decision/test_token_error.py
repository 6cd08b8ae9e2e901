import json

import pytest

from sidecar.decision.denial import Denial, Reason
from sidecar.decision.token_error import BASIC, CODES, TokenErrorCode, body, is_challenged, status

CLIENT = [one for one, code in CODES.items() if code is TokenErrorCode.INVALID_CLIENT]


@pytest.mark.parametrize("reason", CLIENT)
def test_client_is_told_one_sentence_whatever_the_reason_is(reason: Reason) -> None:
    for disclose in (True, False):
        assert json.loads(body(reason, "r", disclose=disclose)) == {
            "error": "invalid_client", "error_description": "Client authentication failed", "request_id": "r",
        }  # fmt: skip


def test_fault_of_a_form_is_described_where_reasons_are_disclosed() -> None:
    assert json.loads(body(Reason.PARAMETER_REPEATED, "r")) == {
        "error": "invalid_request", "error_description": "A parameter occurs more than once", "request_id": "r",
    }  # fmt: skip
    silent = {"error": "invalid_request", "request_id": "r"}
    assert json.loads(body(Reason.PARAMETER_REPEATED, "r", disclose=False)) == silent


def test_status_is_401_only_for_a_client_that_sent_authorization() -> None:
    """RFC 6749 §5.2."""
    assert status(Denial(Reason.CLIENT_UNKNOWN)) == 400
    assert status(Denial(Reason.CLIENT_UNKNOWN, schemes=BASIC)) == 401
    assert status(Denial(Reason.FORM_MALFORMED, schemes=BASIC)) == 400
    assert status(Denial(Reason.ISSUED_TOKEN_UNBOUND)) == 502
    assert not is_challenged(Denial(Reason.TOKEN_EXPIRED, schemes=BASIC))
