"""Spellings of an endpoint that some server takes for it (RFC 3986 §6.2.2 says which are equivalent; more are)."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.entry.endpoint_paths import EndpointPaths

PATHS = EndpointPaths(
    {"/oauth2/token": "token", "/connect/v1.0/par": "par"}, hidden=frozenset({"/internal/token"})
)

SPELLINGS = [
    "/oauth2/token", "/OAUTH2/TOKEN", "/oauth2/token/", "//oauth2//token", "/oauth2/token//", "/oauth2/tok%65n",
    "/oauth2/%74oken", "/oauth2%2ftoken", "/oauth2%2Ftoken", "/oauth2%5Ctoken", "/oauth2\\token", "/oauth2/token;a=b",
    "/oauth2;x/token", "/oauth2/token;/more", "/oauth2/token%3Fa", "/oauth2/token%23a", "/oauth2/token?a=b",
    "/oauth2/token?", "/oauth2/token#a", "/oauth2/tok%2565n", "/oauth2/token%00", "/oauth2/token%20", "/oauth2/token.",
    "/oauth2/token.json", "/oauth2/./token", "/a/../oauth2/token", "/oauth2/%2e/token", "/oauth2/token%0a",
    "https://as.example/oauth2/token", "HTTPS://as.example:8443/oauth2/token?x",
    "/oauth2/to\u212aen".encode().decode("latin-1"),
    "/internal/token", "/Internal/Token/", "/connect/v1.0/par", "/connect/v1.0/PAR",
]  # fmt: skip


@pytest.mark.parametrize("target", SPELLINGS)
def test_every_spelling_of_an_endpoint_is_covered(target: str) -> None:
    assert PATHS.covers(target.encode("latin-1"))


@pytest.mark.parametrize(
    "target",
    ["/", "*", "", "/oauth2", "/oauth2/tokens", "/oauth2/token/more", "/token", "/oauth2/authorize",
     "/api?/oauth2/token", "https://as.example", "/oauth2/token/..", "/connect/par", "/userinfo",
     "/.well-known/openid-configuration",
     "/\xff\xfe", "/%", "/%zz"],
)  # fmt: skip
def test_other_paths_are_not_covered(target: str) -> None:
    assert not PATHS.covers(target.encode("latin-1"))


def test_only_the_exact_spelling_at_which_clients_find_it_is_the_endpoint() -> None:
    named = [spelling for spelling in SPELLINGS if PATHS.named(spelling) is not None]
    assert named == ["/oauth2/token", "/connect/v1.0/par"]
    assert PATHS.named("/oauth2/token") == "token"


@given(st.lists(st.sampled_from(["/", "%2f", "//", "/./", "\\"]), min_size=2, max_size=2), st.data())
def test_escapes_and_case_do_not_hide_an_endpoint(separators: list[str], data: st.DataObject) -> None:
    def disguised(text: str) -> str:
        ways: list[Callable[[str], str]] = [
            str,
            str.upper,
            lambda one: f"%{ord(one):02x}",
            lambda one: f"%25{ord(one):02X}",
        ]
        return "".join(data.draw(st.sampled_from(ways))(one) for one in text)

    target = f"/{separators[0]}{disguised('oauth2')}{separators[1]}{disguised('token')}"
    assert PATHS.covers(target.encode())


@given(st.binary(max_size=200))
def test_anything_is_folded_in_one_way(target: bytes) -> None:
    assert PATHS.covers(target) in (True, False)
