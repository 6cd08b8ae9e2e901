"""What a rule's `match` says, before it is compiled (`decision.matching`)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RequestMatch:
    """What a rule's `match` says. Empty means any."""

    methods: frozenset[str] = frozenset()
    path: str = "/**"
    """Template: segments, `{name}` for one segment or its beginning, `*` for one segment, `**` for the rest."""
    hosts: frozenset[str] = frozenset()
    """Lower case, without port; `*.example.com` for one or more labels."""
    query_present: frozenset[str] = frozenset()
    query_absent: frozenset[str] = frozenset()
    listeners: frozenset[str] = frozenset()
    ignore_case: bool = False
    """Path and query keys are compared without case, as the API behind compares them."""
    patterns: tuple[tuple[int, str], ...] = ()
    """Position of a segment that `path` leaves open, and what it must be, as a `Glob` of parts between dots."""
    is_grpc: bool = False
    """The path is that of calls of gRPC, and the method theirs."""
