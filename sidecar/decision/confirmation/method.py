"""What a confirmation method is: one member of `cnf` (RFC 7800 §3), and everything that is to be said of it.

Rules of this package. A method owns its reasons, its scheme, its metadata and the text of its record; whoever writes
a log line, a challenge, a document or an explanation walks `METHODS` and names none of them. A base class and not a
`Protocol`, because compiled code calls a method of a class by its place and one of a protocol by its name.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from sidecar.decision.certificate import Certificate
from sidecar.decision.diagnosis import Diagnosis
from sidecar.decision.failure import Failure
from sidecar.decision.presentation import Presentation
from sidecar.decision.proof import Claim
from sidecar.decision.reason import Reason
from sidecar.decision.request import Presenter, RequestHead

FOREVER: Final = float("inf")


class Confirmed:
    """The evidence that a presenter holds the key that a token is bound to. Treat as immutable."""

    __slots__ = ("claim", "member", "until")

    def __init__(self, member: str, until: float = FOREVER, claim: Claim | None = None) -> None:
        self.member = member
        """The member of `cnf` that was confirmed."""
        self.until = until
        """Until when this holds, in seconds since the epoch."""
        self.claim = claim
        """What must be claimed before anything is permitted, so that no other request can use it again."""

    def __repr__(self) -> str:
        return f"Confirmed({self.member})"


class ConfirmationMethod(ABC):
    """One member of `cnf`: how it looks, how it is confirmed, and how all of it is said."""

    member: str
    """The member's name in `cnf` (IANA registry "JWT Confirmation Methods")."""
    expected: str
    """What a well-formed value is, in words."""
    scheme: str
    """The authentication scheme under which a token with this member is presented."""
    clause: str
    """The RFC and section that asks for the check `cnf.` + member."""
    reasons: Mapping[Reason, str]
    """Why it refuses → what the client may be told."""
    broken: frozenset[Reason] = frozenset()
    """Those of its reasons that are never only reported: what was presented is no proof at all."""
    checks: Sequence[tuple[str, str, str]] = ()
    """Its checks in order, where it has several: name, clause, what is asked for."""

    @abstractmethod
    def is_accepted(self, schemes: Collection[str]) -> bool:
        """Whether an issuer whose tokens may come with `schemes` can bind them so."""

    @abstractmethod
    def parse(self, value: object) -> bytes:
        """The decoded value; raises `Malformed`."""

    @abstractmethod
    def confirm(self, value: bytes, presentation: Presentation) -> Confirmed:
        """The evidence that the presenter holds the key; raises `Denied` when it is not there."""

    @abstractmethod
    def metadata(self, schemes: Collection[str], algorithms: Collection[str]) -> Mapping[str, object]:
        """Members of the protected resource metadata (RFC 9728 §2) that say how tokens are bound, where the policy
        accepts `schemes` and proofs with `algorithms`.
        """

    @abstractmethod
    def record(self, value: bytes | None) -> str:
        """What an access line says of a token with this value, or without the member: JSON members, each with a
        comma behind it.
        """

    @abstractmethod
    def holds(self, value: bytes, presenter: Presenter, failures: Sequence[Failure]) -> bool:
        """Whether a request was bound by this member, as its record tells: who presented it, and what failed."""

    @abstractmethod
    def held(self, line: Mapping[str, object], failed: Collection[str]) -> bool | None:
        """The same, told by the members of an access line and the names of the reasons for which the request failed;
        None when its token has no such member.
        """

    @abstractmethod
    def diagnose(
        self,
        value: object,
        failure: Failure,
        head: RequestHead,
        presenter: Presenter,
        others: Sequence[Certificate],
    ) -> Diagnosis | None:
        """The probable mistake behind `failure`, when a `value` of the unverified token was not confirmed, if one is
        known.

        `others` are certificates for which the right one could have been mistaken.
        """
