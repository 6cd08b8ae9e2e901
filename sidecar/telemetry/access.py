"""One audit record as one line of JSON.

Theory of operation. The constant parts for a connection or for a token are rendered once and kept with the presenter
or the token; a line is then one f-string. Every string that may come from a client, an issuer or a file is escaped by
`encode_basestring_ascii`, so that it cannot end the line.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from json import encoder
from typing import Final

from sidecar.decision.confirmation import METHODS
from sidecar.decision.denial import NAMES, Denial, Failure
from sidecar.decision.permit import Permit
from sidecar.decision.request import Presenter
from sidecar.decision.token import ValidatedToken
from sidecar.telemetry.outcome import REPORT, Labels, denial_of
from sidecar.telemetry.record import AuditRecord, ClientNotes

# The C function if available (CPython), otherwise its Python equivalent.
quoted: Final[Callable[[str], str]] = encoder.encode_basestring_ascii
"""A string as a JSON string, in ASCII only."""

LONGEST: Final = 512
"""Maximum characters of a value that a client chose; the rest is replaced by an ellipsis."""

_KEY: Final = "access line"
_THREE_DIGITS: Final = [f"{number:03d}" for number in range(1000)]
_MILLISECONDS: Final = [f"0.{number:03d}" for number in range(1000)]
_MICROSECONDS: Final = [f"0.000{number:03d}" for number in range(1000)]
_GRPC_STATUS: Final = [f',"grpc_status":{number}' for number in range(17)]
"""By status: what each line of a call has."""
Kind = tuple[Labels, int, str, str]
"""Rule, outcome and reason; status; method; host."""
_KINDS_KEPT: Final = 1024


def timestamp(seconds: float) -> str:
    """RFC 3339, UTC, milliseconds."""
    if not -62135596800 <= seconds < 253402300800:  # outside of the calendar, as in a certificate
        return ""
    second, fraction = divmod(seconds, 1)  # as in `AccessLine.render`: one moment has one text
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{int(fraction * 1000):03d}Z"


def decimal(seconds: float) -> str:
    """Seconds with six decimals, like `.6f`; tables are faster than formatting floats."""
    microseconds = int(seconds * 1e6 + 0.5)
    if 0 <= microseconds < 1000:
        return _MICROSECONDS[microseconds]
    if 0 <= microseconds < 1_000_000:
        return _MILLISECONDS[microseconds // 1000] + _THREE_DIGITS[microseconds % 1000]
    return f"{seconds:.6f}"


def bounded(text: str) -> str:
    """At most `LONGEST` characters of a value that a client chose."""
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"


class AccessLine:
    """Renders records. Caches the time stamp of the current second, since thousands of lines share it."""

    def __init__(self) -> None:
        self._second = -1
        self._stamp = ""
        self._generation = -1
        self._end = ""
        self._kinds: dict[Kind, str] = {}
        self._labels: Labels = ()
        self._status = -1
        self._method = self._host = self._kind_text = ""
        """What the last record had of `Kind`, and its text: the next is often of the same kind, and to compare costs
        less than a look-up by all four.
        """
        self._path = ""
        self._path_text = '""'
        """The last path, and the same quoted."""
        self._notes: ClientNotes | None = None
        self._notes_text = ""
        """The same for the members about a client."""

    def render(self, record: AuditRecord, labels: Labels) -> str:
        """The line, newline included."""
        started = record.started
        second = int(started)
        if second != self._second:
            self._second = second
            self._stamp = f'{{"time":"{timestamp(second)[:20]}'
        presenter, decision = record.presenter, record.decision
        if decision is None:
            token, failures = "", ""
        else:
            refused = denial_of(record)
            validated = decision.token or (refused.token if refused is not None else None)
            token = _token(validated) if validated is not None else ""
            failures = _failures(refused) if refused is not None else ""
        if record.generation != self._generation:
            self._generation = record.generation
            self._end = f',"generation":{record.generation}}}\n'
        connection = presenter.lines.get(_KEY) or _remembered(presenter)
        path = record.path
        path_text = self._path_text if path == self._path else self._quoted(path)
        if (
            labels is self._labels
            and record.status == self._status
            and record.method == self._method
            and record.host == self._host
        ):
            kind = self._kind_text
        else:
            kind = self._kind_of(record, labels)
        request_id, trace_id = record.request_id, record.trace_id
        if not record.has_plain_ids:
            request_id, trace_id = quoted(request_id)[1:-1], quoted(trace_id)[1:-1]
        return (
            f"{self._stamp}{_THREE_DIGITS[int((started - second) * 1000)]}"
            f'{kind}{path_text},"request_id":"{request_id}","trace_id":"{trace_id}",'
            f'{connection}{token}{failures}"duration":{decimal(record.duration)},'
            f'"decision_duration":{decimal(record.decision_seconds)},'
            f'"upstream_duration":{decimal(record.upstream_seconds)},"bytes_in":{record.bytes_in},'
            f'"bytes_out":{record.bytes_out}{self._rare(record)}{self._end}'
        )

    def _quoted(self, path: str) -> str:
        if len(path) > LONGEST:
            return quoted(bounded(path))
        self._path, self._path_text = path, quoted(path)
        return self._path_text

    def _kind_of(self, record: AuditRecord, labels: Labels) -> str:
        key = (labels, record.status, record.method, record.host)
        text = self._kinds.get(key) or self._kind(key)
        if len(record.host) <= LONGEST and len(record.method) <= LONGEST:
            self._labels, self._status, self._kind_text = labels, record.status, text
            self._method, self._host = record.method, record.host
        return text

    def _kind(self, key: Kind) -> str:
        """From the time's end to the name of the path: what most requests of an API have in common, rendered once for
        each combination.
        """
        (rule, outcome, reason), status, method, host = key
        if len(self._kinds) >= _KINDS_KEPT:
            self._kinds.clear()
        rendered = (
            f'Z","event":"request","outcome":"{outcome}","reason":"{reason}","status":{status},'
            f'"rule":{quoted(rule)},"method":{quoted(bounded(method))},"host":{quoted(bounded(host))},"path":'
        )
        if len(host) <= LONGEST:  # a longer one is not a real host name, and must not fill the memory
            self._kinds[key] = rendered
        return rendered

    def _rare(self, record: AuditRecord) -> str:
        """Members that most lines do not have."""
        detail, ended, client, status = record.detail, record.ended_by, record.client, record.grpc_status
        if not detail and not ended and not record.upgraded:
            if client is None:
                return "" if status < 0 else _call(status)
            if status < 0:
                return self._client(client)
        text = f',"detail":{quoted(bounded(detail))}' if detail else ""
        if client is not None:
            text += self._client(client)
        if record.upgraded:
            text += ',"upgraded":true'
        if status >= 0:
            text += _call(status)
        return f'{text},"ended_by":{quoted(ended)}' if ended else text

    def _client(self, notes: ClientNotes) -> str:
        """The members about a client: mostly it is the one of the last record, with the same result."""
        last = self._notes
        if (
            last is None
            or notes.client_id != last.client_id
            or notes.method != last.method
            or notes.matched != last.matched
            or notes.issued != last.issued
            or notes.issued_detail != last.issued_detail
        ):
            self._notes, self._notes_text = notes, _client(notes)
        return self._notes_text


def _call(grpc_status: int) -> str:
    return _GRPC_STATUS[grpc_status] if grpc_status < len(_GRPC_STATUS) else f',"grpc_status":{grpc_status}'


def _remembered(presenter: Presenter) -> str:
    rendered = presenter.lines[_KEY] = connection_members(presenter)
    return rendered


def connection_members(presenter: Presenter) -> str:
    """The members that are the same for every request of a connection."""
    members = (
        f'"peer":{quoted(presenter.peer)},"listener":{quoted(presenter.listener)},'
        f'"protocol":{quoted(presenter.protocol)},'
    )
    if presenter.tls_version:
        members += f'"tls_version":{quoted(presenter.tls_version)},"tls_group":{quoted(bounded(presenter.tls_group))},'
    if presenter.is_told:
        members += f'"certificate_source":"header","certificate_proxy":{quoted(bounded(presenter.proxy))},'
    certificate = presenter.client_certificate
    if certificate is None:
        return members
    return (
        f'{members}"presented_thumbprint":"{certificate.thumbprint_text}",'
        f'"certificate_subject":{quoted(bounded(str(certificate.subject)))},'
        f'"certificate_not_after":"{timestamp(certificate.not_after) or "unreadable"}",'
    )


def _token(token: ValidatedToken) -> str:
    rendered = token.lines.get(_KEY)
    if rendered is None:
        rendered = token.lines[_KEY] = token_members(token)
    return rendered


def token_members(token: ValidatedToken) -> str:
    """The members that are the same for every request with one token; never the token itself."""
    members = token.confirmation.members
    bound_to = "".join(method.record(members.get(name)) for name, method in METHODS.items())
    return (
        f'"issuer":{quoted(bounded(token.issuer))},"subject":{quoted(bounded(token.subject or ""))},'
        f'"client_id":{quoted(bounded(token.client_id or ""))},"jti":{quoted(bounded(token.token_id or ""))},'
        f"{bound_to}"
    )


def _failures(denial: Denial) -> str:
    return f'"failures":[{",".join([_failure(one) for one in denial.failures])}],'


def _failure(failure: Failure) -> str:
    return (
        f'{{"check":{quoted(bounded(failure.check))},"reason":"{NAMES[failure.reason]}",'
        f'"expected":{quoted(bounded(failure.expected))},"presented":{quoted(bounded(failure.presented))}}}'
    )


def _client(notes: ClientNotes) -> str:
    """Members about a request to an authorization server's endpoint."""
    text = f',"client_id":{quoted(bounded(notes.client_id))},"client_method":"{notes.method}"'
    if notes.matched:
        text += f',"client_matched":{quoted(bounded(notes.matched))}'
    if notes.issued:
        text += f',"issued_token":"{notes.issued}"'
    return (
        f'{text},"issued_token_detail":{quoted(bounded(notes.issued_detail))}'
        if notes.issued_detail
        else text
    )


def incomplete(record: AuditRecord, labels: Labels) -> str:
    """A replacement for a line that could not be made: the values set by the data plane only, newline included."""
    return (
        f'{{"time":"{timestamp(record.started)}","event":"request","outcome":"{labels[1]}",'
        f'"reason":"{labels[2]}","status":{record.status},"request_id":{quoted(record.request_id)},'
        f'"duration":{decimal(record.duration)},"incomplete":true,"generation":{record.generation}}}\n'
    )


def readable(record: AuditRecord, labels: Labels) -> str:
    """The line for a terminal, newline included; control characters are displayed as escapes."""
    rule, outcome, reason = labels
    decision = record.decision
    token = decision.token if decision is not None else None
    words = [
        timestamp(record.started)[11:23],
        f"{outcome.upper():6}",
        str(record.status or "---"),
        f"{record.duration * 1000:8.2f}ms",
        f"{visible(bounded(record.method))} {visible(bounded(record.path))}",
        f"rule={visible(rule)}",
    ]
    if labels[1] != "permit":
        words.append(f"reason={reason}")
    if token is not None:
        words.append(f"client={visible(bounded(token.client_id or token.subject or ''))}")
    refused = denial_of(record)
    if refused is not None and (labels[1] == REPORT or not isinstance(decision, Permit)):
        words.extend(
            f"[{visible(one.check)}: expected {visible(bounded(one.expected)) or '-'},"
            f" presented {visible(bounded(one.presented)) or '-'}]"
            for one in refused.failures
        )
    if record.detail:
        words.append(visible(bounded(record.detail)))
    return " ".join((*words, f"peer={record.presenter.peer}", f"id={visible(record.request_id)}")) + "\n"


def visible(text: str) -> str:
    """Text without characters that could move a cursor or begin a line."""
    return text if text.isascii() and text.isprintable() else quoted(text)[1:-1]
