"""Counts the requests of each client: which clients are ready for enforcement, and which would be refused.

Theory of operation. While the sidecar runs, a `Client` is counted from the records of requests; `sidecar report`
counts it from log lines. This module defines bound, unbound, mismatched and would deny for both. Others choose the
names, so both keep a limited number of clients and count later ones together. Names from unverified certificates have
a separate limit, so that made-up certificates cannot displace the clients of an issuer.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, Generic, TypeVar

from sidecar.decision.confirmation import KEY, Held, held
from sidecar.decision.denial import NAMES, Reason
from sidecar.decision.permit import Permit
from sidecar.telemetry.access import bounded, timestamp
from sidecar.telemetry.outcome import DENY, FAIL, REPORT, Labels
from sidecar.telemetry.record import AuditRecord

MOST: Final = 2000
"""Maximum number of clients with a verified token that one process counts separately."""
STRANGERS: Final = 200
"""Maximum number of other clients, by their certificates, that it counts separately."""
OTHERS: Final = "(others)"
"""The shared entry for all clients above the limit."""
UNKNOWN: Final = "(unknown)"
"""Clients that have neither a verified token nor a certificate."""
RULES: Final = 20
"""Maximum number of rules counted separately for one client."""

_UNAVAILABLE: Final = Reason.ISSUER_UNAVAILABLE.value
# Module constants, because looking up an enum member through its metaclass costs more.
_BOUND: Final = Held.BOUND
_UNBOUND: Final = Held.UNBOUND
_MISMATCHED: Final = Held.MISMATCHED

Moment = TypeVar("Moment", float, str)
"""Seconds since the epoch, or RFC 3339 in UTC. Values of one kind are comparable."""
Row = dict[str, Any]
"""A client as JSON."""


class Client(Generic[Moment]):
    """The numbers of requests of one client."""

    __slots__ = (
        "bound", "by_key", "client", "denied", "last_refused", "last_seen", "mismatched", "reasons", "rules", "unbound",
        "would_deny",
    )  # fmt: skip

    def __init__(
        self,
        client: str,
        last_seen: Moment,
        last_refused: Moment,
        *,
        bound: int = 0,
        unbound: int = 0,
        mismatched: int = 0,
        would_deny: int = 0,
        denied: int = 0,
        reasons: dict[str, int] | None = None,
        rules: dict[str, int] | None = None,
        by_key: int = 0,
    ) -> None:
        self.client = client
        """`client_id`, else the token's subject, else the certificate's subject."""
        self.last_seen: Moment = last_seen
        """Start of its latest request."""
        self.last_refused: Moment = last_refused
        """Start of its latest request that was refused, or would be."""
        self.bound = bound
        """Requests with a token bound to a key that the presenter proved to possess."""
        self.unbound = unbound
        """Requests with a token that is not bound to a key."""
        self.mismatched = mismatched
        """Requests with a token bound to another key, or without proof of its key."""
        self.would_deny = would_deny
        """Requests permitted only because the policy reports."""
        self.denied = denied
        """Refused requests."""
        self.reasons: dict[str, int] = {} if reasons is None else reasons
        """Reasons for which they were, or would be, refused."""
        self.rules: dict[str, int] = {} if rules is None else rules
        """Rules under which they were, or would be, refused."""
        self.by_key = by_key
        """Requests bound by the key of a DPoP proof (`jkt`), with or without a certificate."""

    def count(
        self,
        at: Moment,
        labels: Labels,
        failed: Sequence[str],
        held: Held | None,
        *,
        by_key: bool,
    ) -> None:
        """Count one request that began `at`: its rule, outcome and reason, and the reasons of the `failed` checks.

        `held` says whether its verified token was bound to its presenter; None without such a token. `by_key`: the
        token names a key. `Telemetry.observe` counts an ordinary permitted request in fewer steps.
        """
        rule, outcome, reason = labels
        if at > self.last_seen:  # noqa: PLR1730 — no call: this runs for each request
            self.last_seen = at
        if held is _BOUND:
            self.bound += 1
            if by_key:
                self.by_key += 1
        elif held is _UNBOUND:
            self.unbound += 1
        elif held is _MISMATCHED:
            self.mismatched += 1
        if outcome == DENY:
            self.denied += 1
        elif outcome == REPORT:
            self.would_deny += 1
        elif outcome == FAIL and failed and reason != _UNAVAILABLE:
            # Permitted, then failed by the API: it will still be refused once the policy enforces.
            self.would_deny += 1
            reason = failed[0]
        else:
            return
        if at > self.last_refused:  # noqa: PLR1730 — as above
            self.last_refused = at
        reasons, rules = self.reasons, self.rules
        reasons[reason] = reasons[reason] + 1 if reason in reasons else 1
        if rule not in rules and len(rules) >= RULES:
            rule = OTHERS
        rules[rule] = rules[rule] + 1 if rule in rules else 1

    def add(self, other: "Client[Moment]") -> None:
        """Add the counts of the same client from elsewhere."""
        self.last_seen = max(self.last_seen, other.last_seen)
        self.last_refused = max(self.last_refused, other.last_refused)
        self.bound += other.bound
        self.by_key += other.by_key
        self.unbound += other.unbound
        self.mismatched += other.mismatched
        self.would_deny += other.would_deny
        self.denied += other.denied
        for ours, theirs in ((self.reasons, other.reasons), (self.rules, other.rules)):
            for name, number in theirs.items():
                ours[name] = ours.get(name, 0) + number

    def row(self) -> Row:
        """For JSON: the most frequent reasons and rules first, times as text, empty if there is none."""
        return {
            "client": self.client,
            "bound": self.bound,
            "by_key": self.by_key,
            "unbound": self.unbound,
            "mismatched": self.mismatched,
            "would_deny": self.would_deny,
            "denied": self.denied,
            "reasons": _by_number(self.reasons),
            "rules": _by_number(self.rules),
            "last_seen": _text(self.last_seen),
            "last_refused": _text(self.last_refused),
        }


def _by_number(numbers: dict[str, int]) -> dict[str, int]:
    return dict(sorted(numbers.items(), key=lambda one: -one[1])) if len(numbers) > 1 else dict(numbers)


def _text(moment: float | str) -> str:
    if isinstance(moment, str):
        return moment
    return timestamp(moment) if moment else ""


class Clients(dict[str, Client[Moment]]):
    """Clients by name. Looking up an unknown name creates the client, or returns `OTHERS` above the limit."""

    def __init__(self, most: int, never: Moment) -> None:
        """`never` is the moment before all others."""
        super().__init__()
        self.most = most
        self._never: Moment = never

    def __missing__(self, name: str) -> Client[Moment]:
        name = bounded(name)
        if name not in self and len(self) >= self.most:
            name = OTHERS
        return self.setdefault(name, Client(name, self._never, self._never))


class Adoption:
    """Counts the requests of this process. The counts survive a reload."""

    def __init__(self, since: float) -> None:
        self.since = since
        """Start of counting, in seconds since the epoch."""
        self.clients: Clients[float] = Clients(MOST, 0.0)
        """Clients named by a verified token."""
        self._strangers: Clients[float] = Clients(STRANGERS, 0.0)

    def count(self, record: AuditRecord, labels: Labels) -> None:
        """Count one finished request."""
        decision, certificate = record.decision, record.presenter.client_certificate
        token = decision.token if decision is not None else None
        name = (token.client_id or token.subject) if token is not None else None
        if record.client is not None:
            name = record.client.client_id
        if name:
            client = self.clients[name]
        else:
            client = self._strangers[(str(certificate.subject) if certificate is not None else "") or UNKNOWN]
        refused = decision.would_deny if isinstance(decision, Permit) else decision
        failures = refused.failures if refused is not None else ()
        bound = held(token.confirmation, record.presenter, failures) if token is not None else None
        failed = [NAMES[one.reason] for one in failures] if labels[1] == FAIL else ()
        by_key = token is not None and KEY in token.confirmation.members
        client.count(record.started, labels, failed, bound, by_key=by_key)

    def rows(self) -> list[Row]:
        """Every client, the most urgent first."""
        return rows([*self.clients.values(), *self._strangers.values()])


def ordered(clients: Iterable[Client[Moment]]) -> list[Client[Moment]]:
    """The most urgent first: clients that would be refused, then refused ones, then those with unbound tokens."""
    return sorted(
        clients, key=lambda one: (-one.would_deny, -one.denied, -one.unbound - one.mismatched, one.client)
    )


def rows(clients: Iterable[Client[Moment]]) -> list[Row]:
    """The clients in order, those with the same name merged."""
    found: dict[str, Client[Moment]] = {}
    for one in clients:
        same = found.setdefault(one.client, one)
        if same is not one:  # a new object, so that reading the counts does not change them
            found[one.client] = _sum(same, one)
    return [one.row() for one in ordered(found.values())]


def _sum(one: Client[Moment], other: Client[Moment]) -> Client[Moment]:
    total = Client(one.client, one.last_seen, one.last_refused)
    total.add(one)
    total.add(other)
    return total
