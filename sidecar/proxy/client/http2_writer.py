"""Responses → HTTP/2 fields for the client (RFC 9113 §8): responses of the API and the sidecar's own answers."""

from typing import Final

from sidecar.http.answer import Answer
from sidecar.http.message import Field, Response
from sidecar.http.response_fields import ResponseFields
from sidecar.proxy.client.http1_writer import NO_LENGTH, date

_STATUS: Final = [b"%d" % status for status in range(600)]


def _head(status: int, kept: list[Field]) -> list[Field]:
    """The fields are as HTTP/2 has them: they were sorted for it (`sort_response`)."""
    pairs: list[Field] = [(b":status", _STATUS[status] if status < 600 else b"%d" % status)]
    pairs += kept
    return pairs


def response_head(head: Response, fields: ResponseFields) -> list[Field]:
    """The head of a final response."""
    if head.status == 204:
        fields.drop(NO_LENGTH)
    pairs = _head(head.status, fields.kept)
    if not fields.has_date:
        pairs.append((b"date", date()))
    return pairs


def interim_head(head: Response, fields: ResponseFields) -> list[Field]:
    """A 1xx response (RFC 9110 §15.2)."""
    fields.drop(NO_LENGTH)
    return _head(head.status, fields.kept)


def own_answer(answer: Answer, request_id: str, body: bytes) -> list[Field]:
    """The head of an answer with this content."""
    pairs: list[Field] = [(b":status", b"%d" % answer.status), (b"date", date())]
    pairs += [(name.lower(), value) for name, value in answer.fields]
    pairs.append((b"content-length", b"%d" % len(body)))
    if answer.is_identified:
        pairs.append((b"x-request-id", request_id.encode("ascii")))
    return pairs
