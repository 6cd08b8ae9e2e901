"""A JWK set: the usable keys, and a name and a reason for every other."""

import pytest

from sidecar.decision.jwk import Unusable
from sidecar.issuer.keys import NO_KEYS, NotAKeySet, load_key_set
from tests.support.mint import SigningKey, jwks


def reasons(document: object, maximum: int = 100) -> list[tuple[str, Unusable]]:
    return [(entry.name, entry.reason) for entry in load_key_set(document, maximum).skipped]


def test_key_is_found_by_kid_and_algorithm(signing_key: SigningKey) -> None:
    keys = load_key_set(jwks(signing_key), 100)
    found = keys.find("es256", "ES256")
    assert found is not None
    assert keys.is_current(found)
    assert keys.find("es256", "ES384") is None
    assert keys.find("other", "ES256") is None


def test_a_token_without_kid_may_be_of_each_key_that_fits(signing_key: SigningKey) -> None:
    keys = load_key_set(
        jwks(signing_key, SigningKey.create("ES384", "b"), SigningKey.create("ES256", "c")), 100
    )
    assert [key.kid for key in keys.fitting(None, "ES256")] == ["es256", "c"]
    assert [key.kid for key in keys.fitting(None, "ES384")] == ["b"]
    assert keys.fitting(None, "RS256") == []


def test_key_without_kid_is_used_for_tokens_without_kid(signing_key: SigningKey) -> None:
    jwk = {name: value for name, value in signing_key.jwk.items() if name != "kid"}
    keys = load_key_set({"keys": [jwk]}, 100)
    assert len(keys.fitting(None, "ES256")) == 1
    assert keys.find("es256", "ES256") is None


def test_two_keys_under_one_kid_are_both_skipped(signing_key: SigningKey) -> None:
    rival, bystander = SigningKey.create("ES256", "es256"), SigningKey.create("ES256", "b")
    document = jwks(signing_key, rival, bystander)
    assert reasons(document) == [("es256", Unusable.DUPLICATE_KID)] * 2
    keys = load_key_set(document, 100)
    assert keys.find("es256", "ES256") is None
    assert keys.find("b", "ES256") is not None


def test_same_key_listed_twice_is_one_key(signing_key: SigningKey) -> None:
    document = jwks(signing_key, {**signing_key.jwk, "x5t": "ignored"})
    assert reasons(document) == []
    assert len(load_key_set(document, 100)) == 1


def test_key_listed_once_an_algorithm_verifies_each_of_them_and_no_other() -> None:
    key = SigningKey.create("RS256", "rsa")
    document = jwks(*({**key.jwk, "alg": name} for name in ("RS256", "PS256")))
    keys = load_key_set(document, 100)
    assert reasons(document) == []
    assert keys.find("rsa", "RS256") is keys.find("rsa", "PS256") is not None
    assert keys.find("rsa", "PS512") is None
    again = load_key_set(keys.document(), 100, keys)  # what is kept on disk says the same
    assert again.identities() == keys.identities()


def test_encryption_key_that_shares_its_kid_takes_nothing_away(signing_key: SigningKey) -> None:
    document = jwks(signing_key, {**SigningKey.create("ES256", "es256").jwk, "use": "enc"})
    assert reasons(document) == [("es256", Unusable.WRONG_USE)]
    assert load_key_set(document, 100).find("es256", "ES256") is not None


def test_set_of_5000_keys_is_cut_at_the_cap(signing_key: SigningKey) -> None:
    document = {"keys": [signing_key.with_kid(f"k{number}").jwk for number in range(5000)]}
    keys = load_key_set(document, 100)
    assert len(keys) == 100
    assert keys.skipped_by_reason() == {"over_the_cap": 4900}
    assert keys.find("k99", "ES256") is not None
    assert keys.find("k100", "ES256") is None


def test_bad_entry_spoils_no_other(signing_key: SigningKey) -> None:
    document = {"keys": [None, {"kty": "oct", "kid": "mac"}, signing_key.jwk, {"kid": "x"}]}
    keys = load_key_set(document, 100)
    assert len(keys) == 1
    assert keys.skipped_by_reason() == {"malformed": 1, "symmetric": 1, "unsupported": 1}
    assert [entry.name for entry in keys.skipped] == ["#0", "mac", "x"]


def test_name_of_a_skipped_key_is_safe_in_a_log() -> None:
    (entry,) = load_key_set(
        {"keys": [{"kty": "oct", "kid": "a\r\nlevel=error \x1b[31mé" + "x" * 900}]}, 9
    ).skipped
    assert entry.name.isprintable()
    assert entry.name.isascii()
    assert len(entry.name) <= 64


@pytest.mark.parametrize("document", [None, [], {}, {"keys": None}, {"keys": {}}, {"keys": "a"}, "keys", 7])
def test_document_that_is_no_key_set_is_refused_whole(document: object) -> None:
    with pytest.raises(NotAKeySet):
        load_key_set(document, 100)


def test_key_that_stays_keeps_its_identity(signing_key: SigningKey) -> None:
    before = load_key_set(jwks(signing_key, SigningKey.create("ES256", "old")), 100)
    after = load_key_set(jwks(SigningKey.create("ES256", "new"), signing_key), 100, before)
    assert after.find("es256", "ES256") is before.find("es256", "ES256")
    assert not after.is_current(before.find("old", "ES256"))


def test_new_key_material_under_an_old_kid_is_another_key(signing_key: SigningKey) -> None:
    before = load_key_set(jwks(signing_key), 100)
    after = load_key_set(jwks(SigningKey.create("ES256", "es256")), 100, before)
    assert not after.is_current(before.find("es256", "ES256"))
    assert after.find("es256", "ES256") is not None


def test_saved_document_holds_public_members_of_usable_keys_only(signing_key: SigningKey) -> None:
    private = {**SigningKey.create("ES256", "leak").jwk, "d": "AQ"}
    keys = load_key_set(jwks({**signing_key.jwk, "extra": "x"}, private), 100)
    assert keys.document() == jwks(
        {name: value for name, value in signing_key.jwk.items() if name not in {"use", "alg"}}
    )
    again = load_key_set(keys.document(), 100, keys)
    assert again.find("es256", "ES256") is keys.find("es256", "ES256")


def test_no_keys_holds_no_key() -> None:
    assert NO_KEYS.fitting(None, "ES256") == []
    assert not NO_KEYS.is_current(None)
