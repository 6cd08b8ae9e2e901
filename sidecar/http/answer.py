"""The sidecar's own answers: a denial → status, header fields and body, independent of the wire.

The text comes from `decision.challenge`, which only this module calls. Every place that shows an answer therefore
shows the one that the client gets. Only the request id in it depends on the request.
"""

from typing import Final, NamedTuple

from sidecar.decision import token_error
from sidecar.decision.challenge import DESCRIPTIONS, TITLES, challenges, problem, quoted
from sidecar.decision.denial import NAMES, Denial, Reason, shape
from sidecar.http.message import Field

_KEPT: Final = 512
_ID: Final = "%"
"""Placeholder for the request id in a problem document; the last occurrence counts, as the id is the last member."""


class Wording(NamedTuple):
    """The configured parts of answers to denials."""

    realm: str | None = None
    """The realm (RFC 9110 §11.5)."""
    resource_metadata: str | None = None
    """URL of the metadata (RFC 9728 §5.1)."""
    disclose: bool = True
    """Whether the reason is given to the client."""
    problem_types: str | None = None
    """Base URI: with the reason appended, it is the `type` of a problem (RFC 9457 §3.1.1)."""


class Answer:
    """An answer without the id of the request. Treat as immutable."""

    __slots__ = ("beginning", "closes", "end", "fields", "is_identified", "said", "status", "written")

    def __init__(
        self,
        status: int,
        fields: tuple[Field, ...],
        beginning: bytes,
        end: bytes = b"",
        *,
        closes: bool = False,
        is_identified: bool = False,
        said: str = "",
    ) -> None:
        self.status = status
        """HTTP status code."""
        self.fields = fields
        """Name and value, in order; without those that depend on the wire, the time or the request id."""
        self.beginning = beginning
        """The body up to the request id."""
        self.end = end
        """The body after the request id."""
        self.closes = closes
        """Whether the connection must be closed, because the data after this request cannot be trusted."""
        self.is_identified = is_identified
        """Whether the request id is part of the body and of `X-Request-Id`."""
        self.said = said
        """The answer in one line, for a wire without space for more."""
        self.written: dict[tuple[bytes, int], tuple[bytes, bytes, bytes, bytes]] = {}
        """The serialised answer of a wire, by the values that it depends on."""

    def body(self, request_id: str) -> bytes:
        """The content."""
        return self.beginning + (request_id.encode("ascii") if self.is_identified else b"") + self.end

    def field(self, name: bytes) -> str | None:
        """The value of the field `name`, spelled as in `fields`; None if there is none."""
        return next((value.decode("latin-1") for key, value in self.fields if key == name), None)

    @property
    def challenge(self) -> str | None:
        """The challenges (RFC 9110 §11.6.1) as one list; None if there are none."""
        said = [value.decode("latin-1") for name, value in self.fields if name == b"WWW-Authenticate"]
        return ", ".join(said) if said else None


class Answers:
    """The answers under one configuration; caches a bounded number of them."""

    def __init__(self, wording: Wording) -> None:
        self._wording = wording
        self._made: dict[tuple[object, ...], Answer] = {}

    def to(self, denial: Denial) -> Answer:
        """Problem details (RFC 9457), and the challenge if there is one (RFC 6750 §3)."""
        key = (
            denial.reason,
            denial.scope,
            denial.acr_values,
            denial.max_age,
            denial.retry_after,
            denial.schemes,
            denial.nonce,
        )
        try:
            return self._made[key]
        except KeyError:
            if len(self._made) >= _KEPT:
                self._made.clear()
            answer = self._made[key] = _answer(denial, self._wording)
            return answer


def _answer(denial: Denial, wording: Wording) -> Answer:
    if denial.reason in token_error.CODES:
        return _token_answer(denial, wording)
    said_of = problem(denial.reason, _ID, disclose=wording.disclose, types=wording.problem_types)
    beginning, _, end = said_of.rpartition(_ID.encode("ascii"))
    assert end == b'"}'  # noqa: S101 — the request id is the last member
    fields = [(b"Content-Type", b"application/problem+json"), (b"Cache-Control", b"no-store")]
    said = challenges(denial, wording.realm, wording.resource_metadata, disclose=wording.disclose)
    fields += [(b"WWW-Authenticate", one.encode("latin-1", "replace")) for one in said]
    if denial.nonce is not None:
        fields.append((b"DPoP-Nonce", denial.nonce.encode("ascii")))
    row = shape(denial.reason)
    if row.status == 503:
        fields.append((b"Retry-After", b"%d" % (denial.retry_after or 1)))
    return Answer(
        row.status,
        tuple(fields),
        beginning,
        end,
        closes=row.closes,
        is_identified=True,
        said=_one_line(denial.reason, disclose=wording.disclose),
    )


def _token_answer(denial: Denial, wording: Wording) -> Answer:
    """RFC 6749 §5.2: every JSON answer has `Cache-Control: no-store` and `Pragma: no-cache` (§5.1)."""
    text = token_error.body(denial.reason, _ID, disclose=wording.disclose)
    beginning, _, end = text.rpartition(_ID.encode("ascii"))
    fields = [
        (b"Content-Type", b"application/json"),
        (b"Cache-Control", b"no-store"),
        (b"Pragma", b"no-cache"),
    ]
    if token_error.is_challenged(denial):
        realm = f"Basic realm={quoted(wording.realm or 'client')}"  # RFC 7617 §2: the realm is required
        fields.append((b"WWW-Authenticate", realm.encode("latin-1")))
    line = _one_line(denial.reason, disclose=wording.disclose)
    return Answer(token_error.status(denial), tuple(fields), beginning, end, is_identified=True, said=line)


def _one_line(reason: Reason, *, disclose: bool) -> str:
    """The disclosable reason of a refusal, in one line."""
    return f"{NAMES[reason]}: {DESCRIPTIONS[reason]}" if disclose else TITLES[shape(reason).status]


def document(body: bytes) -> Answer:
    """A JSON document of the sidecar's own."""
    return Answer(200, ((b"Content-Type", b"application/json"),), body)
