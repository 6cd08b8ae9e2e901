"""Where our engine and libnghttp2 differ, and why ours is right or allowed."""

from collections.abc import Callable
from dataclasses import dataclass

from sidecar.http import intake
from sidecar.http.fields import FieldRules, RequestFields
from sidecar.http.http2_request import read_request
from sidecar.http.message import Fault, Field
from sidecar.proxy.http2.events import (
    CANCEL,
    COMPRESSION_ERROR,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    NO_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
)
from sidecar.proxy.http2.frames import FRAME_MOST
from tests.differential.engine_cases import HAS_PRIORITY, PADDED
from tests.differential.engine_run import Difference, Said
from tests.support.http2_frames import (
    DATA,
    GOAWAY,
    HEADERS,
    PING,
    PRIORITY,
    PUSH,
    SETTINGS,
    WINDOW_UPDATE,
)

_RULES = FieldRules(())
_EXTENSIONS = (0x0A, 0x0C, 0x10)
"""ALTSVC, ORIGIN, PRIORITY_UPDATE."""


@dataclass(frozen=True, slots=True)
class Row:
    """A kind of difference."""

    why: str
    applies: Callable[[Difference], bool]
    seed: int = -1
    """A case where it does."""
    goes_on: bool = False
    """Both engines are in the same state behind it."""


def _broke(said: tuple[Said, ...], code: int) -> bool:
    """The connection has ended with this error."""
    return (0, "ended", code) in said


def _refused(said: tuple[Said, ...], stream: int, code: int) -> bool:
    return (stream, "sent reset", code) in said and (stream, "closed", code) in said


TABLE: list[Row] = [
    Row(
        "PING with ACK that was not asked for: it is no round trip of ours, so `pong` is not called (RFC 9113 §6.7)",
        lambda one: (
            one.kind == PING and _more_of_theirs(one) == {(0, "pong", None)} and not _more_of_ours(one)
        ),
        goes_on=True,
        seed=23,
    ),
    Row(
        "WINDOW_UPDATE of 0 on a stream: RFC 9113 §6.9 makes it an error of the stream, libnghttp2 of the connection",
        lambda one: (
            one.kind == WINDOW_UPDATE
            and _refused(one.ours, one.stream, PROTOCOL_ERROR)
            and _broke(one.theirs, PROTOCOL_ERROR)
        ),
        seed=26,
    ),
    Row(
        "a window of a stream beyond 2^31-1: RFC 9113 §6.9.1 resets the stream, libnghttp2 ends the connection",
        lambda one: (
            one.kind == WINDOW_UPDATE
            and _refused(one.ours, one.stream, FLOW_CONTROL_ERROR)
            and _broke(one.theirs, FLOW_CONTROL_ERROR)
        ),
        seed=10,
    ),
    Row(
        "GOAWAY whose last stream is none that we open, or rises: RFC 9113 §6.8 names no error for it",
        lambda one: (
            one.kind == GOAWAY and _broke(one.theirs, PROTOCOL_ERROR) and (0, "goaway") in _whats(one)
        ),
        seed=65,
    ),
    Row(
        "frames that we do not know are ignored whatever they hold (RFC 9113 §5.5): PRIORITY_UPDATE, ALTSVC, ORIGIN",
        lambda one: one.kind in _EXTENSIONS and not one.ours and _is_over(one.theirs),
        seed=51,
    ),
    Row(
        "SETTINGS_ENABLE_CONNECT_PROTOCOL is not known to us and ignored (RFC 9113 §6.5.2)",
        lambda one: one.kind == SETTINGS and _broke(one.theirs, PROTOCOL_ERROR) and 8 in _settings(one),
        seed=117,
    ),
    Row(
        "a setting twice in one frame: processed in their order (RFC 9113 §6.5.3); libnghttp2 heeds the last alone",
        lambda one: (
            one.kind == SETTINGS and len(set(_settings(one))) < len(_settings(one)) and _is_over(one.ours)
        ),
        seed=106,
    ),
    Row(
        "Content-Length in 1xx or 204: no server may send it (RFC 9110 §8.6), no recipient has to refuse it",
        lambda one: one.kind == HEADERS and _has_length_in_204(one),
        seed=29,
    ),
    Row(
        "content before a head: an error of the stream (RFC 9113 §8.1.1); of the connection to libnghttp2, or none",
        lambda one: (
            one.kind == DATA
            and not one.case.is_server
            and _refused(one.ours, one.stream, PROTOCOL_ERROR)
            and (_broke(one.theirs, PROTOCOL_ERROR) or not one.payload)
        ),
        seed=25,
    ),
    Row(
        "PRIORITY of another length than 5 is an error of the stream (RFC 9113 §6.3), of the connection to libnghttp2",
        lambda one: (
            one.kind == PRIORITY
            and _refused(one.ours, one.stream, FRAME_SIZE_ERROR)
            and _broke(one.theirs, FRAME_SIZE_ERROR)
        ),
        seed=137,
    ),
    Row(
        "content beyond the window of a stream: an error of either (RFC 9113 §6.9), of the connection to libnghttp2",
        lambda one: (
            one.kind == DATA
            and _refused(one.ours, one.stream, FLOW_CONTROL_ERROR)
            and _broke(one.theirs, FLOW_CONTROL_ERROR)
        ),
        seed=1822,
    ),
    Row(
        "the end after GOAWAY of the peer is no error of ours, whatever its code, which `goaway` has reported",
        lambda one: (
            [said for said in one.ours if said[1] != "ended"]
            == [said for said in one.theirs if said[1] != "ended"]
            and (0, "ended", NO_ERROR) in one.ours
            and _is_over(one.theirs)
        ),
        seed=76,
    ),
    Row(
        "targets and authorities are read by `sidecar/http/http2_request.py`, which refuses it, with a record",
        lambda one: one.kind == HEADERS and _is_refused(one.theirs) and _is_refused_later(one),
        seed=1860,
    ),
    Row(
        "Content-Length or Host in trailers: readers of `sidecar/http` refuse it in a request, drop it from a response",
        lambda one: one.kind == HEADERS and _is_refused(one.theirs) and _has_framing_in_trailers(one),
        seed=639,
    ),
    Row(
        "what has no content needs no window: the end of a stream (RFC 9113 §6.9.1), trailers",
        lambda one: (
            not _more_of_theirs(one)
            and {what for _, what, _ in _more_of_ours(one)} <= {"sent ends", "closed", "sent head"}
        ),
        seed=376,
    ),
    Row(
        "content that comes in pieces before its excess over Content-Length is seen; both refuse it",
        lambda one: (
            one.kind == DATA and one.case.cuts > 1 and _is_refused(one.theirs) and _is_refused(one.ours)
        ),
        seed=616,
    ),
    Row(
        "nothing is reported of a stream that was reset, not even the rest of the frame; libnghttp2 does",
        lambda one: one.kind == DATA and one.case.cuts > 1 and _has_reset(one.ours),
        seed=1566,
    ),
    Row(
        "padding as long as the frame, or longer, is an error of the connection (RFC 9113 §6.1), whatever the stream",
        lambda one: one.kind == DATA and _is_over(one.ours) and _has_too_much_padding(one),
        seed=2485,
    ),
    Row(
        "PUSH_PROMISE after SETTINGS_ENABLE_PUSH of 0 is an error of the connection (RFC 9113 §8.4)",
        lambda one: one.kind == PUSH and not one.case.is_server and _broke(one.ours, PROTOCOL_ERROR),
        seed=253,
    ),
    Row(
        "PRIORITY of stream 0 is an error of the connection (RFC 9113 §6.3); libnghttp2 does not look at it",
        lambda one: (
            one.kind == PRIORITY and not one.stream and _broke(one.ours, PROTOCOL_ERROR) and not one.theirs
        ),
        seed=2365,
    ),
    Row(
        "fields of twice the limit end the connection, also where libnghttp2 has refused the stream or skips them",
        lambda one: one.kind == HEADERS and len(one.frame) > 500 and (0, "failed", None) in one.ours,
        seed=2391,
    ),
    Row(
        "CONTINUATION beyond SETTINGS_MAX_FRAME_SIZE (RFC 9113 §4.2): libnghttp2 does not look at its length",
        lambda one: (
            one.kind == HEADERS and _broke(one.ours, FRAME_SIZE_ERROR) and len(one.frame) > FRAME_MOST
        ),
        seed=1285,
    ),
    Row(
        "a block begins with at most two table size updates (RFC 7541 §4.2)",
        lambda one: one.kind == HEADERS and _broke(one.ours, COMPRESSION_ERROR) and _has_updates(one),
        seed=20536,
    ),
    Row(
        "a stream that depends on itself: RFC 7540 §5.3.1 makes it an error of the stream",
        lambda one: one.kind == HEADERS and _is_refused(one.ours) and _depends_on_itself(one),
        seed=177,
    ),
    Row(
        "a stream above SETTINGS_MAX_CONCURRENT_STREAMS: an error of either (RFC 9113 §5.1.2); of the stream to us",
        lambda one: (
            one.kind == HEADERS
            and _refused(one.ours, one.stream, REFUSED_STREAM)
            and _broke(one.theirs, PROTOCOL_ERROR)
        ),
        seed=22566,
    ),
    Row(
        "two faults at once: which is said is free, and libnghttp2 begins with a field block before its end",
        lambda one: _is_over(one.ours) and any(what in ("ended", "failed") for _, what, _ in one.theirs),
        seed=2,
    ),
]


def _is_over(said: tuple[Said, ...]) -> bool:
    return any(what == "failed" or (what == "ended" and value != 0) for _, what, value in said)


def _is_refused(said: tuple[Said, ...]) -> bool:
    return {("sent reset", PROTOCOL_ERROR), ("closed", PROTOCOL_ERROR)} <= {
        (what, value) for _, what, value in said
    }


def _has_reset(said: tuple[Said, ...]) -> bool:
    return any(what == "sent reset" and value in (NO_ERROR, CANCEL) for _, what, value in said)


def _more_of_ours(one: Difference) -> set[Said]:
    return set(one.ours) - set(one.theirs)


def _more_of_theirs(one: Difference) -> set[Said]:
    return set(one.theirs) - set(one.ours)


def _heads(one: Difference) -> list[tuple[Field, ...]]:
    """The heads that ours reported."""
    return [value for _, what, value in one.ours if what in ("head", "interim") and isinstance(value, tuple)]


def _is_refused_later(one: Difference) -> bool:
    heads = _heads(one)
    if not heads:
        return False
    read = read_request(heads[0], ends=False, target_bytes=1024, header_bytes=4096, headers=50)
    return isinstance(intake.request_head(read, RequestFields(), _RULES), Fault)


def _has_framing_in_trailers(one: Difference) -> bool:
    found = [value for _, what, value in one.ours if what == "trailers" and isinstance(value, tuple)]
    return any(name in (b"content-length", b"host") for fields in found for name, _ in fields)


def _has_length_in_204(one: Difference) -> bool:
    return any(
        (head[0][1] == b"204" or head[0][1][:1] == b"1")
        and any(name == b"content-length" for name, _ in head)
        for head in _heads(one)
    )


def _has_too_much_padding(one: Difference) -> bool:
    return one.flags & PADDED != 0 and (not one.payload or one.payload[0] >= len(one.payload))


def _depends_on_itself(one: Difference) -> bool:
    priority = one.payload[1:5] if one.flags & PADDED else one.payload[:4]
    return one.flags & HAS_PRIORITY != 0 and int.from_bytes(priority) & 0x7FFFFFFF == one.stream


def _has_updates(one: Difference) -> bool:
    """More than two table size updates before anything else."""
    frames, fields = one.frame, b""
    while frames:
        end = 9 + int.from_bytes(frames[:3])
        fields += frames[9:end]
        frames = frames[end:]
    begin = (1 if one.flags & PADDED else 0) + (5 if one.flags & HAS_PRIORITY else 0)
    updates = fields[begin : begin + 3]
    return len(updates) == 3 and all(byte & 0xE0 == 0x20 for byte in updates)


def _settings(one: Difference) -> list[int]:
    """The names of the settings."""
    return [int.from_bytes(one.payload[at : at + 2]) for at in range(0, len(one.payload), 6)]


def _whats(one: Difference) -> set[tuple[int, str]]:
    return {(stream, what) for stream, what, _ in one.ours}


def explanation_of(one: Difference) -> Row | None:
    """The row that applies."""
    return next((row for row in TABLE if row.applies(one)), None)
