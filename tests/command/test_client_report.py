"""`sidecar report` about the clients of an authorization server, from lines that the running sidecar wrote."""

import json
from pathlib import Path

import pytest

from sidecar.command.cli import main
from sidecar.command.client_report import MOST, NAMES, ClientReport
from sidecar.decision.client_permit import admitted, tolerated
from sidecar.decision.denial import Denial, Failure, Reason
from sidecar.decision.matching import RequestMatch
from sidecar.decision.policy import Rule
from sidecar.decision.registered_client.method import Otherwise, RegisteredClient
from sidecar.decision.registered_client.registry import UnauthenticatedClient
from sidecar.decision.request import Presenter
from sidecar.telemetry.access import AccessLine, timestamp
from sidecar.telemetry.outcome import outcome_of
from sidecar.telemetry.record import AuditRecord, ClientNotes
from tests.support.pki import Identity, Pki

RULE = Rule("authorization_server.token", RequestMatch())


class Log:
    """A log, written by the code that writes it in earnest."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._access = AccessLine()

    def request(
        self,
        client_id: str,
        presented: Identity | None,
        *,
        matched: str = "",
        shown: str = "",
        reason: Reason | None = None,
        reported: bool = False,
        issued: str = "",
        at: float = 1_800_000_000.0,
    ) -> None:
        record = AuditRecord(
            Presenter(presented.presented if presented else None, "l", "192.0.2.1:1"), at, "id", 1
        )
        notes = record.client = ClientNotes(client_id, "tls_client_auth", matched)
        notes.issued = issued
        if reason is None:
            record.decision = admitted(
                RULE, UnauthenticatedClient(RegisteredClient(client_id, Otherwise()), None)
            )
        else:
            failure = Failure("client_authentication.san_dns", reason, "tpp-1.example", shown)
            denial = Denial(reason, (failure,), RULE.name)
            record.decision = tolerated(RULE, denial) if reported else denial
            record.reason = None if reported else reason
        self.lines.append(self._access.render(record, outcome_of(record)))


@pytest.fixture
def log(pki: Pki) -> Log:
    made = Log()
    made.request("tpp-1", pki.client, matched="san_dns=tpp-1.example", issued="bound")
    made.request("tpp-1", pki.client, matched="san_dns=tpp-1.example", issued="unbound", at=1_800_000_100)
    mismatch = Reason.CLIENT_CERTIFICATE_MISMATCH
    made.request("tpp-2", pki.other_client, shown="tpp-9.example", reason=mismatch, reported=True)
    made.request("tpp-2", None, reason=Reason.CLIENT_CERTIFICATE_MISSING)
    return made


def reported(log: Log, folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    (folder / "access.log").write_text("".join(log.lines))
    assert main(["report", *words, str(folder / "access.log")]) == 0
    return capsys.readouterr().out


def test_each_client_is_shown_with_its_names_and_the_end_of_its_certificate(
    log: Log, pki: Pki, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {
        row["client"]: row["client_authentication"]
        for row in json.loads(reported(log, tmp_path, capsys, "--format", "json"))
    }
    assert rows["tpp-1"] == {
        "client_id": "tpp-1", "method": "tls_client_auth", "names": ["san_dns=tpp-1.example"],
        "certificate_end": timestamp(pki.client.presented.not_after), "authenticated": 2, "would_deny": 0, "denied": 0,
        "reasons": {}, "issued_tokens": {"bound": 1, "unbound": 1}, "last_seen": timestamp(1_800_000_100),
    }  # fmt: skip
    assert (rows["tpp-2"]["would_deny"], rows["tpp-2"]["denied"], rows["tpp-2"]["authenticated"]) == (1, 1, 0)
    assert rows["tpp-2"]["names"] == ["san_dns=tpp-9.example (refused)"]
    assert rows["tpp-2"]["reasons"] == {"client_certificate_mismatch": 1, "client_certificate_missing": 1}


def test_who_would_be_refused_comes_first(
    log: Log, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = reported(log, tmp_path, capsys).partition("clients of the authorization server\n")[2].splitlines()
    assert said[0].split()[:2] == ["client_id", "method"]
    assert [line.split()[0] for line in said[1:]] == ["tpp-2", "tpp-1"]
    assert "bound 1, unbound 1" in said[2]
    assert "client_certificate_mismatch 1" in said[1]


def test_log_of_an_api_has_no_such_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = json.dumps({"event": "request", "client_id": "mobile", "outcome": "permit", "time": "t"})
    (tmp_path / "access.log").write_text(f"{line}\n")
    assert main(["report", str(tmp_path / "access.log")]) == 0
    assert "authorization server" not in capsys.readouterr().out
    assert main(["report", "--format", "json", str(tmp_path / "access.log")]) == 0
    assert "client_authentication" not in json.loads(capsys.readouterr().out)[0]


def test_names_and_clients_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST >= 10_000
    monkeypatch.setattr("sidecar.command.client_report.MOST", 2)
    report = ClientReport()
    for number in range(20):
        report.add(
            {"client_id": "a", "client_method": "other", "client_matched": f"n{number}", "failures": [1]}
        )
    for client_id in ("b", "c"):
        report.add({"client_id": client_id, "client_method": "other", "failures": "x"})
    assert {one.client_id: len(one.names) for one in report.ordered()} == {"a": NAMES, "b": 0}
