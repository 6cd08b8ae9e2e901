from sidecar.decision.access_token import AccessToken


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
