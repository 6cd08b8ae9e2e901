"""The end of report-only is told in the log before it comes, and when it has."""

import json
from pathlib import Path

import pytest

from sidecar.decision.matching import RequestMatch
from sidecar.decision.policy import IssuerPolicy, Policy, ReportOnly, Rule
from sidecar.process.watches.enforcement import SOON, EnforcementWatch
from sidecar.telemetry.configuration import Format
from sidecar.telemetry.journal import Journal
from sidecar.telemetry.sink import LineSink

END = 1801353600  # 2027-01-31T00:00:00Z
DAY = 86400


class Calendar:
    """A watch whose clock is set by hand, and the lines that it wrote."""

    def __init__(self, folder: Path) -> None:
        issuer = IssuerPolicy(
            "https://as.example.com", frozenset({"a"}), report_only=ReportOnly(END + 400 * DAY)
        )
        rule = Rule("legacy", RequestMatch(), report_only=ReportOnly(END))
        enforced = Rule("modern", RequestMatch())
        self.policy = Policy({issuer.issuer: issuer}, (rule, enforced))
        self.now = float(END - 100 * DAY)
        self._file = folder / "log"
        self._journal = Journal(LineSink(path=folder / "unused"), Format.JSON)
        self._journal.sink.close(20)
        self.watch = EnforcementWatch(lambda: self.policy, self._journal, lambda: self.now)

    def told_at(self, now: float) -> list[tuple[str, str]]:
        """What a look at `now` writes: event and rule."""
        self.now = now
        before = len(self._lines())
        self._journal.sink = LineSink(path=self._file)
        self.watch.look()
        self._journal.sink.close(20)
        return [(line["event"], line["rule"]) for line in self._lines()[before:]]

    def _lines(self) -> list[dict[str, str]]:
        text = self._file.read_text() if self._file.exists() else ""
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def calendar(tmp_path: Path) -> Calendar:
    return Calendar(tmp_path)


def test_report_only_is_told_once_a_day_from_two_weeks_before(calendar: Calendar) -> None:
    assert calendar.told_at(END - SOON - 1) == []
    assert calendar.told_at(END - SOON) == [("report only ends soon", "legacy")]
    assert calendar.told_at(END - SOON + 3600) == []
    assert calendar.told_at(END - SOON + DAY) == [("report only ends soon", "legacy")]


def test_report_only_that_has_ended_is_told_once(calendar: Calendar) -> None:
    assert calendar.told_at(END - 1) == [("report only ends soon", "legacy")]
    assert calendar.told_at(END) == [("report only has ended: enforcing", "legacy")]
    assert calendar.told_at(END + DAY) == []


def test_report_only_that_a_reload_moves_is_told_anew(calendar: Calendar) -> None:
    calendar.told_at(END)
    later = Rule("legacy", RequestMatch(), report_only=ReportOnly(END + DAY))
    calendar.policy = Policy({}, (later,))
    assert calendar.told_at(END) == [("report only ends soon", "legacy")]


def test_report_only_is_a_metric_from_the_start(calendar: Calendar) -> None:
    found = {sample.labels: sample.value for sample in calendar.watch.samples()}
    assert found == {
        ("rule", "legacy"): END,
        ("issuer", "https://as.example.com"): END + 400 * DAY,
    }
