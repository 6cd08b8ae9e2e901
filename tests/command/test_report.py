"""`sidecar report`: whom to call before enforcing starts, from lines that the running sidecar wrote."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.command.cli import main
from sidecar.command.report import CLIENTS, Report
from sidecar.decision.denial import Denial, Failure, Reason
from sidecar.decision.matching import RequestMatch
from sidecar.decision.permit import Permit
from sidecar.decision.policy import Rule
from sidecar.decision.request import Presenter
from sidecar.decision.token import UNBOUND, Confirmation, ValidatedToken
from sidecar.telemetry.access import AccessLine
from sidecar.telemetry.adoption import OTHERS
from sidecar.telemetry.outcome import outcome_of
from sidecar.telemetry.record import AuditRecord
from tests.support.pki import Identity, Pki

RULE = Rule("read", RequestMatch(path="/accounts"))


class Log:
    """A log, written by the code that writes it in earnest."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._access = AccessLine()

    def request(
        self,
        client: str,
        bound_to: Identity | None,
        presented: Identity | None,
        *,
        reason: Reason | None = None,
        reported: bool = False,
        failed: bool = False,
        at: float = 1_800_000_000.0,
    ) -> None:
        """One request; `reason` is why it is refused, or would be when it is `reported`."""
        members = {} if bound_to is None else {"x5t#S256": bytes(bound_to.presented.thumbprint)}
        confirmation = Confirmation(members) if members else UNBOUND
        token = ValidatedToken(
            issuer="https://as.example.com", subject="s", client_id=client, audience=(), scope=frozenset(),
            expires_at=0, not_before=None, issued_at=None, confirmation=confirmation, token_id=None, claims={},
        )  # fmt: skip
        presenter = Presenter(presented.presented if presented else None, "l", "192.0.2.1:1")
        record = AuditRecord(presenter, at, "id", 1)
        denial = None if reason is None else Denial(reason, (Failure("check", reason),), "read", token)
        if denial is None or reported:
            record.decision = Permit(RULE, token, (), 0, denial)
            record.reason = Reason.UPSTREAM_REFUSED if failed else None
        else:
            record.decision, record.reason = denial, reason
        self.lines.append(self._access.render(record, outcome_of(record)))


@pytest.fixture
def log(pki: Pki) -> Log:
    """Three clients: one ready, one unbound, one confused about its certificates."""
    log = Log()
    for _ in range(3):
        log.request("ready", pki.client, pki.client)
    log.request("unbound", None, pki.client, reason=Reason.BINDING_MISSING, reported=True, at=1_800_000_100)
    log.request("unbound", None, None, reason=Reason.BINDING_MISSING, reported=True, at=1_800_000_050)
    log.request("confused", pki.client, pki.other_client, reason=Reason.BINDING_MISMATCH, reported=True)
    log.request("confused", pki.client, None, reason=Reason.CERTIFICATE_MISSING)
    log.request("confused", pki.client, pki.client, reason=Reason.SCOPE_INSUFFICIENT)
    return log


def test_each_client_is_counted(log: Log, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_text("".join(log.lines))
    assert main(["report", "--format", "json", str(path)]) == 0
    found = {row.pop("client"): row for row in json.loads(capsys.readouterr().out)}
    assert list(found) == ["unbound", "confused", "ready"]
    assert found["ready"] == {
        "bound": 3, "by_key": 0, "unbound": 0, "mismatched": 0, "would_deny": 0, "denied": 0,
        "reasons": {}, "rules": {}, "last_seen": "2027-01-15T08:00:00.000Z", "last_refused": "",
    }  # fmt: skip
    assert found["unbound"] == {
        "bound": 0, "by_key": 0, "unbound": 2, "mismatched": 0, "would_deny": 2, "denied": 0,
        "reasons": {"binding_missing": 2}, "rules": {"read": 2},
        "last_seen": "2027-01-15T08:01:40.000Z", "last_refused": "2027-01-15T08:01:40.000Z",
    }  # fmt: skip
    assert found["confused"] == {
        "bound": 1, "by_key": 0, "unbound": 0, "mismatched": 2, "would_deny": 1, "denied": 2,
        "reasons": {"binding_mismatch": 1, "certificate_missing": 1, "scope_insufficient": 1},
        "rules": {"read": 3},
        "last_seen": "2027-01-15T08:00:00.000Z", "last_refused": "2027-01-15T08:00:00.000Z",
    }  # fmt: skip


def in_parts(line: str) -> str:
    """As a container runtime takes a long line apart."""
    middle = len(line) // 2
    stamp = "2027-01-15T08:00:00.123456789Z stdout"
    return f"{stamp} P {line[:middle]}\n{stamp} F {line[middle:]}"


PREFIXES: dict[str, Callable[[str], str]] = {
    "kubectl logs --prefix": lambda line: f"[pod/api-7d9c-x/bound-token-sidecar] {line}",
    "kubectl logs --timestamps": lambda line: f"2027-01-15T08:00:00.123456789Z {line}",
    "docker compose": lambda line: f"sidecar-1  | {line}",
    "CRI": lambda line: f"2027-01-15T08:00:00.123456789Z stdout F {line}",
    "CRI, in parts": in_parts,
    "Docker": lambda line: (
        json.dumps({"log": line, "stream": "stdout", "time": "2027-01-15T08:00:00Z"}) + "\n"
    ),
    "journalctl": lambda line: f"Jan 15 08:00:00 host sidecar[17]: {line}",
}


@pytest.mark.parametrize("prefix", PREFIXES.values(), ids=PREFIXES)
def test_lines_are_read_as_they_are_handed_on(log: Log, prefix: Callable[[str], str]) -> None:
    plain, prefixed = Report(), Report()
    for line in log.lines:
        plain.add(line)
        for part in prefix(line).splitlines(keepends=True):
            prefixed.add(part)
    assert [one.row() for one in prefixed.ordered()] == [one.row() for one in plain.ordered()]
    assert (prefixed.lines, prefixed.ignored) == (plain.lines, plain.ignored)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "x" * 600 + '{"event":"request"}',
        '{"log": 7}',
        '{"log": "{"}',
        '{"log": "[]"}',
        "[pod/x] [" * 40,
        "2027-01-15T08:00:00Z stdout P " + "{" * 100_000,
        "2027-01-15T08:00:00Z stdout F " + '{"a":' * 100_000,
    ],
)
def test_lines_of_others_are_passed_over(line: str) -> None:
    report = Report()
    for _ in range(3):
        report.add(line)
    assert (report.lines, report.clients) == (0, {})


def test_the_table_reads_from_standard_input(
    log: Log, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(log.lines)))
    assert main(["report"]) == 0
    head, first, *_ = capsys.readouterr().out.splitlines()
    assert head.split("  ")[0] == "client"
    assert first.split() == [
        "unbound",
        "0",
        "0",
        "2",
        "0",
        "2",
        "0",
        "2027-01-15T08:01:40.000Z",
        "binding_missing",
        "2",
    ]


def test_a_reported_request_counts_even_when_the_api_failed_it(pki: Pki) -> None:
    log = Log()
    log.request("batch", None, None, reason=Reason.BINDING_MISSING, reported=True, failed=True)
    report = Report()
    report.add(log.lines[0])
    (client,) = report.ordered()
    assert '"outcome":"fail"' in log.lines[0]
    assert (client.would_deny, dict(client.reasons)) == (1, {"binding_missing": 1})


def test_other_lines_are_passed_over(log: Log) -> None:
    report = Report()
    for line in ("", "plain text", "[1]", '{"event":"started"}', "[" * 100_000, *log.lines):
        report.add(line)
    assert (report.lines, report.ignored) == (len(log.lines), 5)


def test_a_record_with_members_of_other_types_is_counted_without_a_crash() -> None:
    report = Report()
    report.add(
        '{"event":"request","client_id":7,"outcome":[],"failures":{},"issuer":"x","time":1,"reason":{}}'
    )
    assert [one.client for one in report.ordered()] == ["(unknown)"]


def test_more_clients_than_can_be_told_apart_are_one() -> None:
    report = Report()
    for number in range(CLIENTS + 3):
        report.add(f'{{"event":"request","client_id":"c{number}","outcome":"permit"}}')
    assert len(report.clients) == CLIENTS + 1
    assert OTHERS in report.clients


def test_what_a_client_chose_cannot_move_the_cursor(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = json.dumps({"event": "request", "client_id": "a\x1b[2Jb\nc", "outcome": "permit"})
    monkeypatch.setattr("sys.stdin", io.StringIO(line))
    assert main(["report"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("a?[2Jb?c")


def test_a_log_without_access_lines_is_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "log").write_text("nothing here\n")
    assert main(["report", str(tmp_path / "log")]) == 1
    assert capsys.readouterr().err == "no access lines: is it the sidecar's log, in JSON?\n"
    assert main(["report", str(tmp_path / "none")]) == 1
    assert capsys.readouterr().err == f"{tmp_path}/none: cannot be read: No such file or directory\n"
