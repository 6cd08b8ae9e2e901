from sidecar.decision.denial import Failure, Reason
from sidecar.decision.token import UNBOUND, AccessToken, Confirmation


def test_access_token_is_opaque_but_for_its_digest() -> None:
    token = AccessToken("secret", b"key")
    assert token.reveal() == "secret"
    assert len(token) == 6
    assert len(token.digest) == 16
    assert repr(token) == str(token) == f"AccessToken({token.digest.hex()[:8]}…)"


def test_digest_depends_on_the_key() -> None:
    assert AccessToken("a", b"1").digest == AccessToken("a", b"1").digest
    assert AccessToken("a", b"1").digest != AccessToken("a", b"2").digest
    assert AccessToken("a", b"1").digest != AccessToken("b", b"1").digest


def test_confirmation_is_bound_by_a_member_or_by_what_cannot_be_confirmed() -> None:
    assert not UNBOUND.is_bound
    assert Confirmation({"x5t#S256": bytes(32)}).is_bound
    assert Confirmation({}, Failure("cnf", Reason.CONFIRMATION_MALFORMED)).is_bound
