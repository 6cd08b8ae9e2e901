import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.decision.access_token import AccessToken
from sidecar.decision.credentials import access_token
from sidecar.decision.denial import Denied, Reason
from sidecar.decision.request import RequestHead
from tests.support.world import head

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
