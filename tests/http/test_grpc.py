"""A refusal in gRPC's words: every reason has its code, and nothing that HTTP would have said is lost."""

from urllib.parse import unquote

import pytest

from sidecar.decision.denial import Denial, Reason, shape
from sidecar.http import grpc
from sidecar.http.answer import Answers, Wording

ID = "0123456789abcdef00000001"

CODES = {
    Reason.CREDENTIALS_MISSING: 16,
    Reason.CREDENTIALS_REPEATED: 16,
    Reason.TOKEN_EXPIRED: 16,
    Reason.BINDING_MISMATCH: 16,
    Reason.SCOPE_INSUFFICIENT: 7,
    Reason.RULE_UNMATCHED: 7,
    Reason.REQUEST_MALFORMED: 3,
    Reason.PATH_AMBIGUOUS: 3,
    Reason.METHOD_REFUSED: 12,
    Reason.GRPC_UNSUPPORTED: 12,
    Reason.BODY_TOO_LARGE: 8,
    Reason.HEADER_TOO_LARGE: 8,
    Reason.TARGET_TOO_LONG: 8,
    Reason.REQUEST_TIMEOUT: 4,
    Reason.UPSTREAM_TIMEOUT: 4,
    Reason.ISSUER_UNAVAILABLE: 14,
    Reason.OVERLOADED: 14,
    Reason.RULE_BUSY: 14,
    Reason.UPSTREAM_REFUSED: 14,
    Reason.UPSTREAM_BROKEN: 14,
    Reason.INTERNAL_ERROR: 13,
}


@pytest.mark.parametrize("reason", CODES, ids=lambda reason: reason.value)
def test_reasons_have_the_code_that_a_client_acts_on(reason: Reason) -> None:
    assert grpc.status(Answers(Wording()).to(Denial(reason))) == CODES[reason]


@pytest.mark.parametrize("reason", Reason)
def test_every_refusal_is_whole_in_one_head(reason: Reason) -> None:
    answer = Answers(Wording("api")).to(Denial(reason))
    fields = grpc.trailers_only(answer, ID)
    said = dict(fields)
    assert fields[0] == (b":status", b"200")
    assert said[b"content-type"] == b"application/grpc"
    assert b"content-length" not in said
    assert int(said[b"grpc-status"]) in grpc.NAMES
    assert said[b"grpc-message"].startswith(reason.value.encode() + b": ")
    assert said[b"x-request-id"] == ID.encode()
    assert (b"www-authenticate" in said) is shape(reason).challenge
    assert all(name == name.lower() for name, _ in fields)


def test_a_reason_that_is_not_disclosed_is_not_in_the_message() -> None:
    answer = Answers(Wording(disclose=False)).to(Denial(Reason.TOKEN_EXPIRED))
    assert dict(grpc.trailers(answer))[b"grpc-message"] == b"Unauthorized"


@pytest.mark.parametrize("text", ["plain: words", "100 %", "Zürich\n", "\x00\x7f~ "])
def test_messages_are_percent_encoded(text: str) -> None:
    encoded = grpc.message(text)
    assert unquote(encoded.decode("ascii")) == text
    assert all(0x20 <= byte <= 0x7E for byte in encoded)


@pytest.mark.parametrize(("value", "code"), [(b"0", 0), (b"16", 16), (b"x", -1), (b"", -1), (b"1" * 20, -1)])
def test_the_status_that_an_api_says_is_read(value: bytes, code: int) -> None:
    assert grpc.said_status([(b"x", b"y"), (b"grpc-status", value)]) == code


def test_trailers_without_a_status_have_none() -> None:
    assert grpc.said_status([]) == -1
