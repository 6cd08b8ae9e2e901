"""The trace of a request: continued from `traceparent` or begun here (W3C Trace Context, level 1)."""

import os
import re
from collections.abc import Callable
from typing import Final, NamedTuple

from sidecar.telemetry.record import AuditRecord

# §3.2: version "ff" is invalid, as are ids of zeros; a higher version is read like this one (§4.3).
_TRACEPARENT: Final = re.compile(
    rb"(?:00|(?!00|ff)[0-9a-f]{2}(?=.{53}(?:-|$)))-"
    rb"(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?P<more>-.*)?"
)


_ZEROS: Final = ["0" * (32 - size) for size in range(32)]
"""By the length of a request id: the zeros before it in a trace id."""


class Parent(NamedTuple):
    """The caller's `traceparent`."""

    trace_id: str
    span_id: str
    sampled: bool


def parse(value: bytes) -> Parent | None:
    """The caller's trace; None if it is missing or malformed (then §3.2.2.3 begins a new one)."""
    found = _TRACEPARENT.fullmatch(value)
    if found is None or (found["more"] is not None and value.startswith(b"00")):
        return None
    trace, span, flags = found[1], found[2], found[3]
    return Parent(trace.decode("ascii"), span.decode("ascii"), bool(int(flags, 16) & 1))


class TraceIds:
    """Sets the trace fields of each request. If the sidecar exports no spans, a received `traceparent` is forwarded
    unchanged.
    """

    def __init__(self, *, has_spans: bool = False, sampled: Callable[[str], bool] | None = None) -> None:
        """`sampled` decides by trace id whether a trace that begins here is recorded."""
        self._has_spans = has_spans
        self._sampled = sampled

    def place(self, traceparent: bytes, record: AuditRecord) -> None:
        """Fill the record's `trace_id`, `span_id`, `parent_id`, `sampled` and `traceparent`; its id is one of ours."""
        record.has_plain_ids = True
        parent = parse(traceparent) if traceparent else None
        if parent is not None:
            record.trace_id = parent.trace_id
            if not self._has_spans:
                record.traceparent = traceparent
                return
            record.parent_id, record.sampled = parent.span_id, parent.sampled
        else:
            own = record.request_id
            if self._has_spans:
                record.trace_id = os.urandom(16).hex()
            else:
                size = len(own)
                record.trace_id = _ZEROS[size] + own if size < 32 else own
            record.sampled = self._sampled is not None and self._sampled(record.trace_id)
        span = os.urandom(8).hex() if self._has_spans else record.trace_id[-16:]
        record.span_id = span
        trace, flags = record.trace_id.encode("ascii"), b"01" if record.sampled else b"00"
        parent_id = span.encode("ascii") if self._has_spans else trace[-16:]
        record.traceparent = b"00-%b-%b-%b" % (trace, parent_id, flags)


UNTRACED: Final = TraceIds()
"""For a data plane that exports no spans."""
