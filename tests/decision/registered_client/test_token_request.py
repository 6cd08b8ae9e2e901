from sidecar.decision.registered_client.token_request import ClaimedMethod, TokenRequest


def test_any_authorization_is_answered_by_a_challenge() -> None:
    request = TokenRequest("a", ClaimedMethod.AUTHORIZATION, {}, b"")
    assert request.has_authorization
    assert not TokenRequest("a", ClaimedMethod.SECRET, {}, b"").has_authorization


def test_secrets_are_in_no_trace() -> None:
    request = TokenRequest("a", ClaimedMethod.SECRET, {"client_secret": ("s3cret",)}, b"client_secret=s3cret")
    assert repr(request) == "TokenRequest('a', client_secret)"
