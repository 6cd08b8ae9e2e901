"""`htu` and the URI of a request are one URI, or they are not (RFC 3986 §6.2, RFC 9449 §4.3)."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.decision.origin import Origin, normalised, normalised_path
from sidecar.decision.strict import Malformed

HERE = Origin.parse("https://api.example.com")


def is_same(htu: str, path: str = "/a/b", origin: Origin = HERE) -> bool:
    return origin.is_target(normalised(htu), normalised_path(path))


@pytest.mark.parametrize(
    "htu",
    [
        "https://api.example.com/a/b", "HTTPS://API.example.COM/a/b", "https://api.example.com:443/a/b",
        "https://api.example.com:/a/b", "https://api.example.com/a/b?query=1", "https://api.example.com/a/b#fragment",
        "https://api.example.com/%61/b", "https://api.example.com/a%2Fb/../b".replace("%2Fb/../b", "/b"),
    ],
)  # fmt: skip
def test_uris_that_normalisation_makes_one_are_one(htu: str) -> None:
    assert is_same(htu)


@pytest.mark.parametrize(
    "htu",
    [
        "http://api.example.com/a/b", "https://api.example.com:8443/a/b", "https://api.example.com/a/B",
        "https://other.example.com/a/b", "https://api.example.com/a/b/", "https://api.example.com/a%2Fb",
        "https://api.example.com/a%2fb", "https://api.example.com//a/b", "https://api.example.com/a/./b",
        "https://api.example.com/c/../a/b", "https://api.example.com./a/b", "https://api.example.com",
    ],
)  # fmt: skip
def test_other_uris_are_others(htu: str) -> None:
    assert not is_same(htu)


@pytest.mark.parametrize(
    "htu",
    [
        "", "/a/b", "api.example.com/a/b", "https:///a/b", "ftp://api.example.com/a", "https://user@api.example.com/a",
        "https://api.example.com/a b", "https://api.example.com/a\tb", "https://api.example.com/ä",
        "https://api.example.com\\@evil.example/a", "https://api.example.com/a%2", "https://api.example.com/%zz",
        "https://[::1/a", "https://api.example.com:port/a", "https://api.example.com:123456/a", "wss://a.example/",
    ],
)  # fmt: skip
def test_what_is_no_http_uri_is_malformed(htu: str) -> None:
    with pytest.raises(Malformed):
        normalised(htu)


def test_path_of_a_request_is_normalised_alike() -> None:
    assert normalised_path("/%7ea/%2f%c3%a4") == "/~a/%2F%C3%A4"
    assert normalised_path("") == "/"
    for path in ("*", "a", "/a b", "/%"):
        with pytest.raises(Malformed):
            normalised_path(path)


def test_no_path_is_the_root() -> None:
    assert is_same("https://api.example.com", "/")
    assert normalised("https://[::1]:8443") == ("https://[::1]:8443", "/")
    assert normalised("http://a:80/") == ("http://a", "/")


def test_prefix_that_a_proxy_takes_off_is_put_back() -> None:
    public = Origin.parse("https://api.example.com", "/v%31")
    assert public.prefix == "/v1"
    assert is_same("https://api.example.com/v1/a/b", origin=public)
    assert not is_same("https://api.example.com/a/b", origin=public)


@pytest.mark.parametrize(
    ("origin", "prefix"),
    [
        ("https://a.example/", ""), ("https://a.example/x", ""), ("https://a.example?x", ""), ("a.example", ""),
        ("https://a.example#x", ""), ("ftp://a.example", ""), ("https://a.example", "v1"),
        ("https://a.example", "/v1/"),
        ("https://a.example", "/v 1"),
    ],
)  # fmt: skip
def test_what_is_no_origin_is_refused_in_words(origin: str, prefix: str) -> None:
    with pytest.raises(ValueError, match=r"is no origin|prefix"):
        Origin.parse(origin, prefix)


@given(st.text(alphabet="abAB%2F7e/.~", max_size=12))
def test_normalising_twice_changes_nothing(text: str) -> None:
    try:
        once = normalised_path(f"/{text}")
    except Malformed:
        return
    assert normalised_path(once) == once


def test_long_uris_of_a_client_with_one_token_take_a_bounded_part_of_the_memory() -> None:
    """As long as a proof and a request target may be; those of proofs that are refused are remembered too."""
    tracemalloc.start()
    for at in range(1500):
        assert normalised(f"https://api.example.com/{at}{'x' * 5000}")[0] == "https://api.example.com"
        assert normalised_path(f"/{at}{'x' * 8000}%7e").endswith("~")
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert held <= 12 << 20
