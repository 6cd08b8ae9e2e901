"""The clients of an authorization server: how each authenticates, by which names, until when, and who would be
refused. From the members that access lines of its endpoints have.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

NAMES: Final = 8
"""Names that are kept of one client."""
MOST: Final = 100_000
"""Number of clients that are counted separately."""
_REFUSED: Final = "client_certificate_mismatch"


@dataclass(slots=True)
class ReportedClient:
    """What the endpoints saw of one client."""

    client_id: str
    method: str
    """As it is registered."""
    names: dict[str, None] = field(default_factory=dict)
    """What of its certificates is registered and, of those that were refused, what they had instead."""
    certificate_end: str = ""
    """End of the certificate that it showed last; RFC 3339."""
    authenticated: int = 0
    would_deny: int = 0
    denied: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    issued: dict[str, int] = field(default_factory=dict)
    """Verdicts about its tokens."""
    last_seen: str = ""

    def add(self, record: Mapping[str, Any]) -> None:
        """One request."""
        self.method = _text(record, "client_method")
        moment, outcome = _text(record, "time"), _text(record, "outcome")
        for name in _names(record):
            if len(self.names) < NAMES:
                self.names[name] = None
        if moment >= self.last_seen:
            self.last_seen = moment
            self.certificate_end = _text(record, "certificate_not_after") or self.certificate_end
        self.authenticated += bool(_text(record, "client_matched"))
        self.would_deny += outcome == "report"
        self.denied += outcome == "deny"
        if outcome in {"report", "deny"}:
            reason = _text(record, "reason")
            self.reasons[reason] = self.reasons.get(reason, 0) + 1
        issued = _text(record, "issued_token")
        if issued:
            self.issued[issued] = self.issued.get(issued, 0) + 1

    def row(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "client_id": self.client_id,
            "method": self.method,
            "names": list(self.names),
            "certificate_end": self.certificate_end,
            "authenticated": self.authenticated,
            "would_deny": self.would_deny,
            "denied": self.denied,
            "reasons": self.reasons,
            "issued_tokens": self.issued,
            "last_seen": self.last_seen,
        }

    def cells(self) -> tuple[str, ...]:
        """For the table, in the order of `HEAD`."""
        numbers = (str(self.authenticated), str(self.would_deny), str(self.denied))
        names = ", ".join(self.names) or "-"
        return (
            self.client_id, self.method, *numbers, _counted(self.issued), self.certificate_end or "-",
            _counted(self.reasons), names,
        )  # fmt: skip


HEAD: Final = (
    "client_id", "method", "authenticated", "would deny", "denied", "tokens", "certificate ends", "reasons", "names",
)  # fmt: skip
NUMBERS: Final = range(2, 5)
"""Columns of numbers."""


class ClientReport:
    """All of them."""

    def __init__(self) -> None:
        self._clients: dict[str, ReportedClient] = {}

    def add(self, record: Mapping[str, Any]) -> None:
        """One access line; of another request it says nothing."""
        client_id = _text(record, "client_id")
        if not client_id or not _text(record, "client_method"):
            return
        if client_id not in self._clients and len(self._clients) >= MOST:
            return
        self._clients.setdefault(client_id, ReportedClient(client_id, "")).add(record)

    def ordered(self) -> list[ReportedClient]:
        """The most urgent first: who would be refused, who is refused, whose certificate ends first."""
        return sorted(
            self._clients.values(),
            key=lambda one: (-one.would_deny, -one.denied, one.certificate_end or "~", one.client_id),
        )


def _names(record: Mapping[str, Any]) -> Iterator[str]:
    matched = _text(record, "client_matched")
    if matched:
        yield matched
    failures = record.get("failures")
    for one in failures if isinstance(failures, list) else ():
        if isinstance(one, dict) and one.get("reason") == _REFUSED:
            kind = _text(one, "check").rpartition(".")[2]
            yield f"{kind}={_text(one, 'presented')} (refused)"


def _counted(numbers: Mapping[str, int]) -> str:
    return (
        ", ".join(f"{name} {number}" for name, number in sorted(numbers.items(), key=lambda one: -one[1]))
        or "-"
    )


def _text(record: Mapping[str, Any], key: str) -> str:
    value = record.get(key)
    return value if isinstance(value, str) else ""
