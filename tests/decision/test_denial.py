import pytest

from sidecar.decision.denial import Denial, ErrorCode, Reason, shape

OF_THE_TOKEN = [
    "token_malformed", "token_encrypted", "token_unrecognised", "token_type_refused", "token_expired",
    "token_not_yet_valid", "token_inactive", "header_refused", "algorithm_refused", "key_unknown", "signature_invalid",
    "issuer_unknown", "audience_mismatch", "claim_missing", "claim_malformed", "binding_mismatch", "binding_missing",
    "certificate_missing", "certificate_expired", "confirmation_malformed", "confirmation_unsupported",
    "scheme_mismatch", "proof_key_mismatch",
]  # fmt: skip


OF_THE_PROOF = [
    "proof_missing", "proof_repeated", "proof_malformed", "proof_algorithm_refused", "proof_key_refused",
    "proof_method_mismatch", "proof_target_mismatch", "proof_token_mismatch", "proof_expired", "proof_not_yet_valid",
    "proof_signature_invalid", "proof_replayed",
]  # fmt: skip


@pytest.mark.parametrize("name", OF_THE_PROOF)
def test_proof_that_does_not_hold_is_an_invalid_proof(name: str) -> None:
    assert shape(Reason(name)) == (401, ErrorCode.INVALID_DPOP_PROOF, True, False)


@pytest.mark.parametrize("name", OF_THE_TOKEN)
def test_token_that_does_not_hold_is_an_invalid_token(name: str) -> None:
    assert shape(Reason(name)) == (401, ErrorCode.INVALID_TOKEN, True, False)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("credentials_missing", (401, None, True, False)),
        ("credentials_repeated", (400, ErrorCode.INVALID_REQUEST, True, False)),
        ("credentials_malformed", (400, ErrorCode.INVALID_REQUEST, True, False)),
        ("token_too_large", (400, ErrorCode.INVALID_REQUEST, True, False)),
        ("proof_nonce_required", (401, ErrorCode.USE_DPOP_NONCE, True, False)),
        ("replay_unknown", (503, None, False, False)),
        ("scope_insufficient", (403, ErrorCode.INSUFFICIENT_SCOPE, True, False)),
        ("authentication_insufficient", (401, ErrorCode.INSUFFICIENT_USER_AUTHENTICATION, True, False)),
        ("endpoint_unknown", (404, None, False, False)),
        ("form_malformed", (400, None, False, False)),
        ("parameter_repeated", (400, None, False, False)),
        ("client_id_missing", (400, None, False, False)),
        ("client_id_mismatch", (400, None, False, False)),
        ("client_authentication_repeated", (400, None, False, False)),
        ("client_unknown", (400, None, False, False)),
        ("client_method_mismatch", (400, None, False, False)),
        ("client_certificate_missing", (400, None, False, False)),
        ("client_certificate_unfit", (400, None, False, False)),
        ("client_certificate_expired", (400, None, False, False)),
        ("client_certificate_mismatch", (400, None, False, False)),
        ("client_certificate_untrusted", (400, None, False, False)),
        ("server_credentials_refused", (502, None, False, False)),
        ("issued_token_unbound", (502, None, False, False)),
        ("rule_unmatched", (403, None, False, False)),
        ("condition_failed", (403, None, False, False)),
        ("path_ambiguous", (400, None, False, True)),
        ("request_malformed", (400, None, False, True)),
        ("version_unsupported", (505, None, False, True)),
        ("method_refused", (501, None, False, True)),
        ("grpc_unsupported", (501, None, False, False)),
        ("expectation_failed", (417, None, False, True)),
        ("target_too_long", (414, None, False, True)),
        ("header_too_large", (431, None, False, True)),
        ("body_too_large", (413, None, False, True)),
        ("request_timeout", (408, None, False, True)),
        # On a connection that many clients share: the next request on it is another's.
        ("certificate_header_untrusted", (400, None, False, False)),
        ("certificate_header_malformed", (400, None, False, False)),
        ("certificate_refused", (400, None, False, False)),
        ("issuer_unavailable", (503, None, False, False)),
        ("overloaded", (503, None, False, False)),
        ("rule_busy", (503, None, False, False)),
        ("audit_unavailable", (503, None, False, False)),
        ("upstream_refused", (502, None, False, False)),
        ("upstream_broken", (502, None, False, False)),
        ("upstream_timeout", (504, None, False, False)),
        ("internal_error", (500, None, False, True)),
    ],
)
def test_reason_has_its_answer(name: str, expected: tuple[object, ...]) -> None:
    assert shape(Reason(name)) == expected


def test_nothing_else_is_a_reason() -> None:
    assert len(Reason) == len(OF_THE_TOKEN) + len(OF_THE_PROOF) + 46


def test_token_does_not_show_in_a_denial() -> None:
    assert "token" not in repr(Denial(Reason.RULE_UNMATCHED))
