"""Which rule fits a request: hosts, methods, path templates, query keys, listener; compiled once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sidecar.decision.request import RequestHead


@dataclass(frozen=True, slots=True)
class RequestMatch:
    """What a rule's `match` says. Empty means any."""

    methods: frozenset[str] = frozenset()
    path: str = "/**"
    """Template: segments, `{name}` for one segment, `*` for one segment, `**` for the rest."""
    hosts: frozenset[str] = frozenset()
    """Lower case, without port; `*.example.com` for one label and more."""
    query_present: frozenset[str] = frozenset()
    query_absent: frozenset[str] = frozenset()
    listeners: frozenset[str] = frozenset()


class Matcher:
    """Finds the first match that fits."""

    def __init__(self, matches: Sequence[RequestMatch]) -> None:
        self._matches = tuple(matches)

    def first(self, head: RequestHead, listener: str = "") -> tuple[int, Mapping[str, str]] | None:
        """Index of the first match that fits and what its template captured, or None."""
        raise NotImplementedError
