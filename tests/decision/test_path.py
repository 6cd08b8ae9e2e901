from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.decision import path as path_module
from sidecar.decision.path import ALLOWABLE, ASTERISK, NEVER, SEGMENTS, TooLong, readings, segments


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", [""]),
        ("/a", ["a"]),
        ("/a/", ["a", ""]),
        ("/a/b.c/d", ["a", "b.c", "d"]),
        ("/.well-known/jwks.json", [".well-known", "jwks.json"]),
        ("/a/...", ["a", "..."]),
        ("/a/..b/.c", ["a", "..b", ".c"]),
        ("/~a/b-c_d/e,f=g:h@i", ["~a", "b-c_d", "e,f=g:h@i"]),
        ("/users/alice%40example.com", ["users", "alice@example.com"]),
        ("/caf%C3%A9/caf%c3%a9", ["café", "café"]),
        ("/a%20b", ["a b"]),
        ("/100%25", ["100%"]),
        ("/a+b", ["a+b"]),
    ],
)
def test_path_with_one_reading_is_read(path: str, expected: list[str]) -> None:
    assert segments(path) == (expected, frozenset())


def test_asterisk_form_is_like_no_path() -> None:
    assert segments("*") == ([ASTERISK], frozenset())
    assert segments("/*")[0] != [ASTERISK]
    assert segments("/%00*")[1]


@pytest.mark.parametrize(
    ("path", "kinds"),
    [
        ("/a/../b", {"dot_segment"}),
        ("/a/./b", {"dot_segment"}),
        ("/..", {"dot_segment"}),
        ("/a/.", {"dot_segment"}),
        ("/a/%2e%2e/b", {"dot_segment", "encoded_unreserved"}),
        ("/a/.%2E/b", {"dot_segment", "encoded_unreserved"}),
        ("/a/..;/b", {"dot_segment", "semicolon"}),
        ("/a/..;x=y/b", {"dot_segment", "semicolon"}),
        ("/a/..%3Bx/b", {"dot_segment", "semicolon"}),
        ("/a/..%2fb", {"dot_segment", "encoded_slash"}),
        ("/a\\..\\b", {"dot_segment", "backslash"}),
        ("/a/..%5cb", {"dot_segment", "backslash"}),
        ("/a/..%3Fb", {"dot_segment", "encoded_delimiter"}),
        ("/a/.%23b", {"dot_segment", "encoded_delimiter"}),
        ("/a/%252e%252e/b", {"dot_segment", "double_encoding"}),
        ("/a/%25252e/b", {"double_encoding"}),
        ("/a%2fb", {"encoded_slash"}),
        ("/a%2Fb", {"encoded_slash"}),
        ("/a\\b", {"backslash"}),
        ("/a%5Cb", {"backslash"}),
        ("//a", {"double_slash"}),
        ("/a//b", {"double_slash"}),
        ("/a//", {"double_slash"}),
        ("/a;x=y/b", {"semicolon"}),
        ("/a%3bx", {"semicolon"}),
        ("/a%3fb", {"encoded_delimiter"}),
        ("/a%23b", {"encoded_delimiter"}),
        ("/%61dmin", {"encoded_unreserved"}),
        ("/a%2Db%5f%7E%30%5a%4A%6a%7a", {"encoded_unreserved"}),
        ("/a%2541", {"double_encoding"}),
        ('/a"b', {"invalid_character"}),
        ("/a b", {"invalid_character"}),
        ("/a|b", {"invalid_character"}),
        ("/caf\u00e9", {"unescaped_text"}),
        ("/a\udc80", {"unescaped_text", "invalid_utf8"}),
        ("/a\x00", {"control_character", "invalid_character"}),
        ("/a%00b", {"control_character"}),
        ("/a%0d%0ab", {"control_character"}),
        ("/a%7f", {"control_character"}),
        ("/a%", {"invalid_escape"}),
        ("/a%zz", {"invalid_escape"}),
        ("/a%4", {"invalid_escape"}),
        ("/%c0%af", {"invalid_utf8"}),
        ("/%ff", {"invalid_utf8"}),
        ("/%ed%a0%80", {"invalid_utf8"}),
        ("/a#b", {"fragment", "invalid_character"}),
        ("", {"not_absolute"}),
        ("a", {"not_absolute"}),
        ("http://api.example.com/a", {"double_slash", "not_absolute"}),
        ("**", {"not_absolute"}),
    ],
)
def test_path_with_several_readings_names_each_kind(path: str, kinds: set[str]) -> None:
    assert segments(path)[1] == kinds


def test_path_that_came_before_is_read_as_it_was_and_few_are_kept() -> None:
    asked = [f"/a/{number}" for number in range(path_module._MOST_KNOWN + 5)]
    for path in [*asked, *asked, "/" + "a" * 1000, *asked[-1:] * 3]:
        assert segments(path) == (path[1:].split("/"), frozenset())
    for path in ("/a//b", "/a/../b", "*", "/%2e"):
        assert segments(path) == segments(path)
    assert 0 < len(path_module._KNOWN) <= path_module._MOST_KNOWN
    assert max(map(len, path_module._KNOWN)) <= path_module._LONGEST_KNOWN


def test_no_kind_is_both_allowable_and_not() -> None:
    assert not ALLOWABLE.keys() & NEVER.keys()
    assert all([*ALLOWABLE.values(), *NEVER.values()])


@given(st.text(max_size=40))
def test_any_text_is_read_or_named(text: str) -> None:
    parts, kinds = segments("/" + text)
    assert kinds <= ALLOWABLE.keys() | NEVER.keys()
    if not kinds:
        assert not {".", ".."} & set(parts)
        assert "" not in parts[:-1]
        assert not any(mark in part for part in parts for mark in "/\\;?#\x00")


@given(st.text("a-./", max_size=12))
def test_dots_and_slashes_are_read_the_quick_way_as_the_long_one(text: str) -> None:
    """The long way is asked by the same path behind an escape, which changes no segment that follows."""
    parts, kinds = segments("/x/" + text)
    longer, same = segments("/%20/" + text)
    assert (longer[1:], same) == (parts[1:], kinds)
    assert parts[1:] == text.split("/")


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8),
        min_size=1,
        max_size=5,
    )
)
def test_properly_encoded_segments_come_back_or_are_named(names: list[str]) -> None:
    parts, kinds = segments("/" + "/".join(quote(name, safe="") for name in names))
    assert parts == names
    assert kinds <= {
        "dot_segment", "encoded_slash", "backslash", "semicolon", "encoded_delimiter", "double_encoding",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "others"),
    [
        ("/a%2Fb", [["a/b"], ["a", "b"]]),
        ("/a\\b", [["a\\b"], ["a", "b"]]),
        ("/a;x/b", [["a;x", "b"], ["a", "b"]]),
        ("//a//b", [["", "a", "", "b"], ["a", "b"]]),
        ("/a%3Fb/c", [["a?b", "c"], ["a"]]),
        ("/a%252Fb", [["a%2Fb"], ["a/b"], ["a", "b"]]),
        ("/a%2F;b//c", [["a/;b", "", "c"], ["a", "c"], ["a", ";b", "c"], ["a/", "c"]]),
        ("/%61", [["a"]]),
    ],
)
def test_other_readers_see_other_segments(path: str, others: list[list[str]]) -> None:
    _, kinds = segments(path)
    seen = list(readings(path, kinds))
    for reading in others:
        assert reading in seen


def test_path_has_no_more_segments_than_it_may() -> None:
    assert len(segments("/a" * SEGMENTS)[0]) == SEGMENTS
    assert len(segments("/%C3%A9" * SEGMENTS)[0]) == SEGMENTS
    for path in ("/a" * (SEGMENTS + 1), "/%C3%A9" * (SEGMENTS + 1), "/" * 8000):
        with pytest.raises(TooLong, match="at most 256 segments"):
            segments(path)


@pytest.mark.parametrize("path", ["/a%252fb%255cc;d//e", "/" + "%2Fa" * 2100])
def test_more_readings_than_are_compared_are_too_many(path: str) -> None:
    kinds = segments(path)[1]
    with pytest.raises(TooLong, match="at most 8 readings, of 16384 bytes together"):
        readings(path, kinds)


def test_of_readings_only_so_many_segments_are_looked_at() -> None:
    path = "/a%2Fb/c/d%2Fe/" + "x/" * 100
    assert sorted(readings(path, segments(path)[1], 3)) == [["a", "b", "c"], ["a/b", "c", "d/e"]]


def test_segments_that_are_no_utf8_stay_as_they_are_in_a_reading() -> None:
    # An escape may hide what is none: `%25ff` is `%ff` to the next reader.
    assert sorted(readings("/a%25ff", {"double_encoding"})) == [["a%ff"], ["a%ff"]]
