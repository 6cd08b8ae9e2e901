import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.decision.strict import DEPTH, LATEST, Malformed, base64url, json_object, numeric_date


@given(st.binary(max_size=64))
def test_base64url_without_padding_is_read(data: bytes) -> None:
    assert base64url(base64.urlsafe_b64encode(data).rstrip(b"=").decode()) == data


@pytest.mark.parametrize(
    "text",
    [
        "QQ==",  # padded
        "QQ=",
        "QR",  # trailing bits that are not zero
        "QUF",
        "A",  # no number of bytes has this length
        "-_+/",  # the alphabet of plain base64
        "QUJD ",
        " QUJD",
        "QU\nJD",
        "QU.JD",
        "QUJ\u00c3",
        "QUJ\u0130",
        "\ud800",
    ],
)
def test_anything_but_canonical_base64url_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        base64url(text)


@given(st.text("AQRgwfz90-_+/=*. \n\u00e9", max_size=24))
def test_only_the_encoding_of_the_result_is_read(text: str) -> None:
    """As a comparison of all of it would say."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), b"-_")
    except ValueError:
        data = b""
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode() == text:
        assert base64url(text) == data
    else:
        with pytest.raises(Malformed):
            base64url(text)


def test_empty_text_is_no_bytes() -> None:
    assert base64url("") == b""


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{}", {}),
        (' {"a" : [1, -2.5e3, true, null, "\u00e9\\u00e9"]} \n', {"a": [1, -2500.0, True, None, "éé"]}),
        ('{"a": "\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        ('{"a": "\\\\ud800"}', {"a": "\\ud800"}),
        ('{"a": {"b": 1}, "b": {"b": 1}}', {"a": {"b": 1}, "b": {"b": 1}}),
        ('{"a": 18446744073709551615}', {"a": 18446744073709551615}),
    ],
)
def test_json_object_is_read(text: str, value: object) -> None:
    assert json_object(text.encode()) == value


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b'{"iss": 1, "iss": 2}', "twice"),
        (b'{"a": {"b": 1, "\\u0062": 2}}', "twice"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "infinity"),
        (b'{"a": 1e999}', "past a double"),
        (b'{"a": 123456789012345678901}', "too many digits"),
        (b"[]", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"{} {}", "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b'{"a": 01}', "not JSON"),
        (b'{"a": "\n"}', "not JSON"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b'{"\\uDFFF": 1}', "surrogate"),
        (b'{"a": ["\\udc00\\ud800"]}', "surrogate"),
        (b'\xef\xbb\xbf{"a": 1}', "not JSON"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'{"a": "\xed\xa0\x80"}', "not UTF-8"),
        (b'{"a": "\xc0\xaf"}', "not UTF-8"),
        (b"[" * 10_000, "too deep"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "too deep"),
        (b'{"a":' + b"[" * DEPTH + b"]" * DEPTH + b"}", "too deep"),
    ],
)
def test_json_that_two_readers_could_read_differently_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        json_object(data)


def test_many_brackets_that_do_not_nest_are_read() -> None:
    wide = b'{"a": [' + b"[]," * 100 + b'"[[[{{{\\"[["]}'
    assert len(json_object(wide)["a"]) == 101


def test_nesting_up_to_the_limit_is_read() -> None:
    deepest = DEPTH - 1
    assert "a" in json_object(b'{"a":' + b"[" * deepest + b"]" * deepest + b"}")


def test_limits_are_what_they_say() -> None:
    """32 levels among many brackets; the second after which the year 10000 begins; 20 digits."""
    wide = b'{"a": [' + b"[]," * 100 + b"[" * 30 + b"]" * 30 + b"]}"
    assert len(json_object(wide)["a"]) == 101
    with pytest.raises(Malformed, match="too deep"):
        json_object(wide.replace(b"[" * 30 + b"]" * 30, b"[" * 31 + b"]" * 31))
    assert numeric_date(253_402_300_799) == 253_402_300_799
    with pytest.raises(Malformed):
        numeric_date(253_402_300_800)
    assert json_object(b'{"a": 99999999999999999999}')["a"] == 10**20 - 1
    with pytest.raises(Malformed):
        json_object(b'{"a": 100000000000000000000}')


def test_message_never_quotes_the_input() -> None:
    with pytest.raises(Malformed) as caught:
        json_object(b'{"secret": "value", "secret": NaN}')
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("value", [0, 1, 1_767_225_600, 1_767_225_600.5, 1e9, LATEST])
def test_number_between_1970_and_9999_is_a_time(value: float) -> None:
    assert numeric_date(value) == value


@pytest.mark.parametrize(
    "value",
    [True, False, None, "1", "1767225600", [], {}, -1, -0.5, LATEST + 1, 1e308, 1_767_225_600_000,
     float("inf"), float("nan"), 10**19],
)  # fmt: skip
def test_anything_else_is_no_time(value: object) -> None:
    with pytest.raises(Malformed):
        numeric_date(value)


def test_more_values_than_are_asked_for_are_refused_before_they_are_decoded() -> None:
    assert json_object(b'{"a":[{},{}]}', 6) == {"a": [{}, {}]}
    for text in (b'{"a":[{},{},{}]}', b"{[[[[[[", b'{"a":",,,,,"}'):
        with pytest.raises(Malformed, match="more than 5 values"):
            json_object(text, 5)
