import pytest

from sidecar.decision.access_token import AccessToken, LastPresented


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


READER = object()
SECRET = AccessToken("secret", b"key", "DPoP")


@pytest.mark.parametrize(
    ("value", "is_same"),
    [
        ("DPoP secret", True),
        ("DPoP secres", False),
        ("DPoP secre", False),
        ("DPoP secrett", False),
        ("dpop secret", False),
        ("Bearer secret", False),
        ("DPoP  secret", False),
        ("", False),
        ("DPoP \u017fecret", False),
    ],
)
def test_value_that_was_presented_last_is_known_by_each_of_its_bytes(value: str, *, is_same: bool) -> None:
    last = LastPresented("DPoP secret", SECRET, READER)
    assert last.token is SECRET
    assert last.is_of(value, READER) is is_same


def test_value_that_comes_as_the_same_object_is_told_at_once() -> None:
    last = LastPresented("DPoP secret", SECRET, READER)
    value = b"DPoP secret".decode()
    assert last._value is not value
    for _ in range(2):
        assert last.is_of(value, READER)
        assert last._value is value


def test_what_one_reader_read_is_nothing_to_another() -> None:
    assert not LastPresented("DPoP secret", SECRET, READER).is_of("DPoP secret", object())


def test_only_a_value_with_nothing_beside_scheme_and_token_is_held() -> None:
    assert LastPresented.may_hold("DPoP secret", SECRET)
    assert LastPresented.may_hold("dpop secret", SECRET)
    assert not LastPresented.may_hold("DPoP" + " " * 9000 + "secret", SECRET)


def test_what_was_presented_last_never_shows_itself() -> None:
    last = LastPresented("DPoP secret", SECRET, READER)
    assert "secret" not in f"{last!r} {last}"
