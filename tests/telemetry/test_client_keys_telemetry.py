"""What is reported of the certificates that clients publish: bounded, however many clients there are."""

import json
from pathlib import Path

from sidecar.telemetry.client_keys_telemetry import ClientKeysTelemetry
from sidecar.telemetry.configuration import Format
from sidecar.telemetry.issuer_observer import Introspected, KeySkipped, KeysRefreshed
from sidecar.telemetry.journal import Journal
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.sink import LineSink

CLIENTS = 10_000


class Reports:
    """A telemetry whose lines can be read, and whose clock stands still until told otherwise."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "lines"
        self._sink = LineSink(path=self._file)
        self.metrics = Metrics()
        self.now = 100.0
        journal = Journal(self._sink, Format.JSON)
        self.telemetry = ClientKeysTelemetry(self.metrics, journal, lambda: 1.0, lambda: self.now)

    def lines(self) -> list[dict[str, object]]:
        """All of them; there are no more afterwards."""
        self._sink.close(20)
        return [json.loads(line) for line in self._file.read_text().splitlines()]

    def fetched(self, number: int, result: str = "success") -> None:
        url = f"https://client-{number}.example/jwks"
        self.telemetry.keys_refreshed(
            KeysRefreshed(url, result, "" if result == "success" else "refused", 0.01, 1)
        )


def test_ten_thousand_clients_make_no_more_series_than_one(tmp_path: Path) -> None:
    reports = Reports(tmp_path)
    for number in range(CLIENTS):
        reports.fetched(number)
        reports.fetched(number, "connect")
    counts = reports.metrics.counter("sidecar_client_keys_refresh_total")
    assert counts == {("success",): CLIENTS, ("connect",): CLIENTS}


def test_a_storm_of_failures_has_a_few_lines_that_name_their_url_and_a_sum(tmp_path: Path) -> None:
    reports = Reports(tmp_path)
    for number in range(CLIENTS):
        reports.fetched(number, "tls")
    reports.now += 11.0
    reports.fetched(0, "tls")
    *told, summed, again = reports.lines()
    assert [line["url"] for line in told] == [f"https://client-{n}.example/jwks" for n in range(5)]
    assert {(line["event"], line["phase"], line["detail"]) for line in told} == {
        ("client keys not fetched", "tls", "refused")
    }
    assert (summed["event"], summed["count"]) == ("lines suppressed", CLIENTS - 5)
    assert again["url"] == "https://client-0.example/jwks"


def test_a_recovery_is_told_once_and_a_success_after_a_success_not_at_all(tmp_path: Path) -> None:
    reports = Reports(tmp_path)
    for result in ("success", "dns", "success", "success"):
        reports.fetched(1, result)
    assert [line["event"] for line in reports.lines()] == ["client keys not fetched", "client keys fetched"]


def test_a_skipped_key_and_an_incident_name_the_url(tmp_path: Path) -> None:
    reports = Reports(tmp_path)
    url = "https://client-1.example/jwks"
    reports.telemetry.key_skipped(KeySkipped(url, "key 2", "x5c", "key 2: no certificate (`x5c`)"))
    reports.telemetry.issuer_incident(url, "insecure_http", "plain")
    reports.telemetry.introspected(Introspected(url, "active", "", 0.1))
    skipped, incident = reports.lines()
    assert (skipped["event"], skipped["url"], skipped["key"]) == ("client key skipped", url, "key 2")
    assert (incident["name"], incident["url"]) == ("insecure_http", url)
    assert reports.metrics.counter("sidecar_incidents_total")[("insecure_http",)] == 1
