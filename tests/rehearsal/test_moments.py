import pytest

from sidecar.decision.denial import Denial, Failure, Reason
from sidecar.rehearsal.moments import span, untimely


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 seconds"), (1, "1 second"), (59, "59 seconds"), (119, "119 seconds"), (120, "2 minutes"),
        (3480, "58 minutes"), (7199, "119 minutes"), (7200, "2 hours"), (86400, "24 hours"), (172800, "2 days"),
        (-5, "0 seconds"),
    ],
)  # fmt: skip
def test_a_length_of_time_has_the_largest_unit_that_tells_it(seconds: float, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("check", "presented", "sentence"),
    [
        ("exp", "996520", "The token expired 58 minutes ago"),
        ("nbf", "1000300", "The token is not valid for another 5 minutes"),
        ("iat", "1007200", "The token was issued 2 hours in the future"),
        ("certificate.not_after", "827200", "The client certificate expired 2 days ago"),
    ],
)
def test_field_cases_a_time_that_is_wrong_is_told_in_words(check: str, presented: str, sentence: str) -> None:
    denial = Denial(Reason.TOKEN_EXPIRED, (Failure(check, Reason.TOKEN_EXPIRED, "after 1000000", presented),))
    found = untimely(denial, 1_000_000)
    assert found is not None
    assert (found.mistake, found.sentence) == ("time", f"{sentence}; if that cannot be, the clocks differ.")


@pytest.mark.parametrize(("check", "presented"), [("exp", "-inf"), ("exp", "soon"), ("aud", "1")])
def test_what_is_no_time_is_left_alone(check: str, presented: str) -> None:
    denial = Denial(Reason.TOKEN_EXPIRED, (Failure(check, Reason.TOKEN_EXPIRED, "x", presented),))
    assert untimely(denial, 0) is None
    assert untimely(None, 0) is None
