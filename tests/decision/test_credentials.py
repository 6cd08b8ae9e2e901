import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.decision.access_token import AccessToken
from sidecar.decision.credentials import TokenReader, access_token
from sidecar.decision.denial import Denied, Reason
from sidecar.decision.request import Presenter, RequestHead
from tests.support.world import head, presenter

LIMIT = 64


def with_fields(*fields: str, **facts: Any) -> RequestHead:
    return head(authorization=fields, **facts)


def refusal(request: RequestHead) -> Denied:
    with pytest.raises(Denied) as caught:
        access_token(request, b"key", LIMIT)
    return caught.value


@pytest.mark.parametrize("field", ["Bearer abc", "bearer abc", "BEARER abc", "bEaReR   abc"])
def test_scheme_is_case_insensitive_and_spaces_may_repeat(field: str) -> None:
    assert access_token(with_fields(field), b"key", LIMIT).reveal() == "abc"


@pytest.mark.parametrize("token", ["a.b.c", "mF_9.B5f-4.1JqM", "a+/~b==", "x" * LIMIT])
def test_every_b64token_up_to_the_limit_is_a_token(token: str) -> None:
    assert access_token(with_fields(f"Bearer {token}"), b"key", LIMIT).reveal() == token


def test_no_authorization_means_no_credentials() -> None:
    assert refusal(with_fields()).reason is Reason.CREDENTIALS_MISSING


def test_two_authorization_fields_are_refused_even_when_equal() -> None:
    assert refusal(with_fields("Bearer a", "Bearer a")).reason is Reason.CREDENTIALS_REPEATED


@pytest.mark.parametrize(
    ("field", "shown"),
    [
        ("Basic dXNlcjpwYXNz", "basic"),
        ("DPoP abc", "dpop"),
        ("DPoP", "dpop"),
        ("Bearerabc", "another scheme"),
        ("eyJhbGciOiJFUzI1NiJ9.e30.c2ln", "another scheme"),
        ("", "another scheme"),
        ("MTLS_POP abc", "mtls_pop"),
    ],
)
def test_another_scheme_counts_as_no_credentials_and_is_never_quoted(field: str, shown: str) -> None:
    denied = refusal(with_fields(field))
    assert denied.reason is Reason.CREDENTIALS_MISSING
    assert denied.failure.presented == shown


@pytest.mark.parametrize(
    "field",
    [
        "Bearer", "Bearer ", "bearer  ", "Bearer a b", "Bearer a, Bearer b", "Bearer a,b", "Bearer a=b", "Bearer =",
        "Bearer \ta", "Bearer a\n", "Bearer a\x00", "Bearer \u00e9", 'Bearer token="a"', "Bearer a ", "Bearer a%20",
    ],
)  # fmt: skip
def test_what_is_no_b64token_is_malformed(field: str) -> None:
    assert refusal(with_fields(field)).reason is Reason.CREDENTIALS_MALFORMED


def test_token_over_the_limit_is_refused_before_it_is_read() -> None:
    denied = refusal(with_fields(f"Bearer {'x' * (LIMIT + 1)}"))
    assert denied.reason is Reason.TOKEN_TOO_LARGE
    assert denied.failure.presented == "65 bytes"


@pytest.mark.parametrize(
    "query", ["access_token=a", "x=1&access_token=a", "%61ccess_token=a", "x=1;access_token=a"]
)
def test_token_in_the_query_beside_the_header_is_a_second_method(query: str) -> None:
    denied = refusal(with_fields("Bearer a", target=f"/accounts?{query}"))
    assert denied.reason is Reason.CREDENTIALS_REPEATED


def test_token_in_the_query_alone_is_no_credentials() -> None:
    assert refusal(with_fields(target="/accounts?access_token=a")).reason is Reason.CREDENTIALS_MISSING


@pytest.mark.parametrize("query", ["", "a=1", "access_tokens=1", "a=access_token", "Access_Token=1"])
def test_other_queries_are_nobodys_business(query: str) -> None:
    assert len(access_token(with_fields("Bearer abc", target=f"/a?{query}"), b"key", LIMIT)) == 3


def test_token_never_shows_itself() -> None:
    token = access_token(with_fields("Bearer secret"), b"key", LIMIT)
    assert "secret" not in f"{token!r} {token}"
    assert token.digest == access_token(with_fields("bearer secret"), b"key", LIMIT).digest
    assert token.digest != access_token(with_fields("Bearer secret"), b"other key", LIMIT).digest


WELL_FORMED = ["abc", "a.b.c", "a+/~b==", "x" * LIMIT, "x" * (LIMIT + 1), "-", "a="]
VERIFIED = frozenset(AccessToken(token, b"key").digest for token in WELL_FORMED)
VALUES = (
    st.sampled_from(WELL_FORMED) | st.text('aB1-._~+/= \t,"\x00\x7f\xe9', max_size=8) | st.text(max_size=5)
)
SCHEMES = st.sampled_from(
    ["Bearer", "bearer", "bEARER", "Basic", "Bearer\t", " Bearer", "", "\u212a", "Bearer\xa0"]
)
_BEARER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9\-._~+/]+=*)")


@given(SCHEMES, st.sampled_from(["", " ", "  ", "\t", "\xa0"]), VALUES, st.booleans())
def test_what_was_verified_before_changes_nothing_about_what_is_accepted(
    scheme: str, space: str, value: str, in_query: bool
) -> None:
    field = scheme + space + value
    request = with_fields(field, target="/a?access_token=a" if in_query else "/a")
    found: list[str | Reason] = []
    for verified in ((), VERIFIED):
        try:
            found.append(access_token(request, b"key", LIMIT, verified).reveal())
        except Denied as denied:
            found.append(denied.reason)
    assert found[0] == found[1]
    # RFC 6750 §2.1, written as one expression.
    expected = _BEARER.fullmatch(field)
    is_good = expected is not None and not in_query and len(expected[1]) <= LIMIT
    assert (found[0] == expected[1]) if expected and is_good else isinstance(found[0], Reason)


SCHEMES_OF_BOTH = {"bearer": "Bearer", "dpop": "DPoP"}


def reader(limit: int = LIMIT, key: bytes = b"key", schemes: dict[str, str] = SCHEMES_OF_BOTH) -> TokenReader:
    return TokenReader(key, limit, VERIFIED, schemes)


def read(by: TokenReader, field: str, of: Presenter, target: str = "/a") -> AccessToken:
    """As the authorizer does with a token that is known."""
    request = with_fields(field, target=target)
    token = by.read(request, of)
    by.remember(request, of, token)
    return token


def test_value_that_is_repeated_is_read_once() -> None:
    one, by = presenter(), reader()
    first = read(by, "Bearer abc", one)
    assert read(by, "Bearer abc", one) is first
    assert read(by, "Bearer abc", one, "/b?c=d") is first


@pytest.mark.parametrize("field", ["DPoP abc", "bearer abc", "Bearer abd", "Bearer ab", "Bearer  abc"])
def test_another_value_is_read_anew_and_takes_the_place_of_the_first(field: str) -> None:
    one, by = presenter(), reader()
    first, second = read(by, "Bearer abc", one), read(by, field, one)
    assert second is not first
    assert second.reveal() == field.split()[1]
    assert second.scheme == ("DPoP" if field[0] == "D" else "Bearer")
    # Only one with spaces of its own choice takes nobody's place.
    assert (read(by, field, one) is second) is (field != "Bearer  abc")
    assert (read(by, "Bearer abc", one) is first) is (field == "Bearer  abc")


def test_what_one_presenter_presented_is_nothing_to_another() -> None:
    by = reader()
    assert read(by, "Bearer abc", presenter()) is not read(by, "Bearer abc", presenter())


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (reader(limit=2), Reason.TOKEN_TOO_LARGE),
        (reader(schemes={"bearer": "Bearer"}), Reason.CREDENTIALS_MISSING),
    ],
)
def test_what_was_read_under_one_policy_may_be_refused_under_another(
    second: TokenReader, reason: Reason
) -> None:
    one = presenter()
    read(reader(), "DPoP abc", one)
    with pytest.raises(Denied) as caught:
        second.read(with_fields("DPoP abc"), one)
    assert caught.value.reason is reason


def test_digest_is_that_of_whoever_reads() -> None:
    one = presenter()
    first = read(reader(), "DPoP abc", one)
    second = reader(key=b"other").read(with_fields("DPoP abc"), one)
    assert second.digest == AccessToken("abc", b"other").digest != first.digest


def test_what_changes_from_one_request_to_the_next_is_looked_at_each_time() -> None:
    one, by = presenter(), reader()
    read(by, "Bearer abc", one)
    for fields, target in (
        (("Bearer abc",), "/a?access_token=abc"),
        (("Bearer abc", "Bearer abc"), "/a"),
        ((), "/a"),
    ):
        with pytest.raises(Denied) as caught:
            by.read(with_fields(*fields, target=target), one)
        assert caught.value.reason in {Reason.CREDENTIALS_REPEATED, Reason.CREDENTIALS_MISSING}


def test_value_that_was_not_remembered_is_not_kept() -> None:
    one, by = presenter(), reader()
    by.read(with_fields("Bearer abc"), one)
    assert one.last_presented is None


@given(st.lists(st.tuples(SCHEMES, st.sampled_from([" ", "  ", "\t"]), VALUES), max_size=6))
def test_what_was_presented_before_changes_nothing_about_what_is_read(
    fields: list[tuple[str, str, str]],
) -> None:
    one, by = presenter(), reader()
    for parts in fields * 2:
        request = with_fields("".join(parts))
        outcomes: list[tuple[str, str, bytes] | Reason] = []
        for of in (one, presenter()):
            try:
                token = by.read(request, of)
                by.remember(request, of, token)
                outcomes.append((token.reveal(), token.scheme, token.digest))
            except Denied as denied:
                outcomes.append(denied.reason)
        assert outcomes[0] == outcomes[1]
