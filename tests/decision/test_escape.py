"""Escapes are decoded as the standard library decodes them."""

from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.decision.escape import unescaped

TEXTS = st.text(max_size=20) | st.text("%09aAfFxXuU\\\x00 é/", max_size=20) | st.text(max_size=20).map(quote)


@given(TEXTS.filter(lambda text: text.encode("utf-8", "replace").decode() == text))
def test_any_text_is_decoded_as_by_the_standard_library(text: str) -> None:
    assert unescaped(text, "replace") == unquote_to_bytes(text).decode("utf-8", "replace")


@pytest.mark.parametrize("text", ["%ff", "a%C3", "%ed%a0%80", "\ud800"])
def test_what_is_no_utf8_is_an_error(text: str) -> None:
    with pytest.raises(UnicodeError):
        unescaped(text)
