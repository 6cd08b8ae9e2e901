"""Responses → fields of HTTP/2 towards the client (RFC 9113 §8): those of the API, and the sidecar's own answers."""

from sidecar.http.answer import Answer
from sidecar.http.message import Field, Response
from sidecar.http.response_fields import ResponseFields
from sidecar.proxy.client.http1_writer import date


def _lines(kept: list[bytes]) -> list[Field]:
    """RFC 9113 §8.2.1: names in lower case, and no space around a value."""
    return [(kept[at].lower(), kept[at + 2].strip(b" \t")) for at in range(0, len(kept), 4)]


def response_head(head: Response, fields: ResponseFields) -> list[Field]:
    """The head of a final response."""
    if head.status == 204:
        fields.drop((b"content-length",))  # as in HTTP/1.1 (RFC 9110 §8.6)
    pairs: list[Field] = [(b":status", b"%d" % head.status)]
    pairs += _lines(fields.kept)
    if not fields.has_date:
        pairs.append((b"date", date()))
    return pairs


def interim_head(head: Response, fields: ResponseFields) -> list[Field]:
    """A 1xx response (RFC 9110 §15.2)."""
    pairs: list[Field] = [(b":status", b"%d" % head.status)]
    pairs += _lines(fields.kept)
    return pairs


def own_answer(answer: Answer, request_id: str, body: bytes) -> list[Field]:
    """The head of an answer with this content."""
    pairs: list[Field] = [(b":status", b"%d" % answer.status), (b"date", date())]
    pairs += [(name.lower(), value) for name, value in answer.fields]
    pairs.append((b"content-length", b"%d" % len(body)))
    if answer.is_identified:
        pairs.append((b"x-request-id", request_id.encode("ascii")))
    return pairs
