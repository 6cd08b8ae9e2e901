"""Redirects: which lead back to what the client called, and that all others go on byte for byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.http.redirects import Redirects

LOOPBACK = Redirects("http", "127.0.0.1", 8080)
HOST, ORIGIN = b"api.example.com", b"https://api.example.com"


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        (b"http://localhost:8080/docs/", b"https://api.example.com/docs/"),
        (b"http://127.0.0.1:8080/docs/?a=b#c", b"https://api.example.com/docs/?a=b#c"),
        (b"http://[::1]:8080", b"https://api.example.com"),
        (b"HTTP://LocalHost:8080/a", b"https://api.example.com/a"),
        (
            b"http://localhost:8080?a=http://localhost:8080/",
            b"https://api.example.com?a=http://localhost:8080/",
        ),
        (b"http://api.example.com/docs/", b"https://api.example.com/docs/"),
        (b"http://API.example.com:80/docs/", b"https://api.example.com/docs/"),
        (b"http://localhost:8080/\xc3\xa9 \xff", b"https://api.example.com/\xc3\xa9 \xff"),
    ],
)
def test_own_address_and_cleartext_host_become_what_the_client_called(
    location: bytes, expected: bytes
) -> None:
    assert LOOPBACK.as_called(location, HOST, ORIGIN) == expected


@pytest.mark.parametrize(
    "location",
    [
        b"",
        b"/docs/",
        b"docs/",
        b"?a",
        b"//localhost:8080/docs/",
        b"https://api.example.com/docs/",
        b"https://localhost:8080/docs/",
        b"http://localhost/docs/",
        b"http://localhost:80801/",
        b"http://localhost:8080.evil.example/",
        b"http://localhost:8080@evil.example/",
        b"http://user@localhost:8080/",
        b"http://localhost:8080\\@evil.example/",
        b"http://localhost.evil.example:8080/",
        b"http://evil.example/http://localhost:8080/",
        b"http://api.example.com:8080/",
        b"http://other.example.com/",
        b"http:/localhost:8080/",
        b" http://localhost:8080/",
        b"javascript:alert(1)//http://localhost:8080/",
        b"app://localhost:8080/",
    ],
)
def test_any_other_goes_on_byte_for_byte(location: bytes) -> None:
    assert LOOPBACK.as_called(location, HOST, ORIGIN) == location


@pytest.mark.parametrize(
    ("redirects", "location", "is_own"),
    [
        (Redirects("unix", "", 0), b"http://localhost/a", True),
        (Redirects("unix", "", 0), b"http://localhost:80/a", True),
        (Redirects("unix", "", 0), b"http://localhost:8080/a", False),
        (Redirects("https", "localhost", 443), b"https://localhost/a", True),
        (Redirects("https", "localhost", 443), b"http://localhost/a", False),
        (Redirects("http", "::1", 80), b"http://[::1]/a", True),
        (Redirects("http", "127.8.0.1", 81), b"http://127.8.0.1:81/a", True),
        (Redirects("http", "api.localhost", 81), b"http://api.localhost:81/a", True),
        (Redirects("http", "api.internal", 8080), b"http://api.internal:8080/a", False),
        (Redirects("http", "api.internal", 8080), b"http://localhost:8080/a", False),
    ],
)
def test_own_address_is_one_on_loopback_or_of_a_unix_socket(
    redirects: Redirects, location: bytes, is_own: object
) -> None:
    expected = b"https://api.example.com/a" if is_own else location
    assert redirects.as_called(location, HOST, ORIGIN) == expected


def test_client_without_a_host_is_led_by_the_path_alone() -> None:
    assert LOOPBACK.as_called(b"http://localhost:8080/a?b", b"", b"") == b"/a?b"
    assert LOOPBACK.as_called(b"http://localhost:8080?b", b"", b"") == b"/?b"
    assert LOOPBACK.as_called(b"http:///a", b"", b"") == b"http:///a"


@given(st.binary(max_size=60))
def test_any_bytes_give_the_same_bytes_or_a_url_of_the_origin(tail: bytes) -> None:
    for location in (tail, b"http://" + tail, b"http://localhost:8080" + tail):
        made = LOOPBACK.as_called(location, HOST, ORIGIN)
        assert made in (location, ORIGIN) or made.startswith((ORIGIN + b"/", ORIGIN + b"?", ORIGIN + b"#"))
