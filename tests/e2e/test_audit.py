"""`logging.audit: required`: while the log cannot be written no request gets to the API, and none is lost from it."""

import json
import signal
from pathlib import Path

from tests.process.world import figures, get, sidecar
from tests.support.mint import SigningKey
from tests.support.pki import Pki
from tests.support.processes import eventually

MOST = 2000
"""Requests that fill the buffer for certain."""


def test_a_full_disk_stops_what_cannot_be_recorded_and_loses_nothing(
    tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> None:
    log = tmp_path / "audit.log"
    log.symlink_to("/dev/full")
    logging = {
        "logging": {"format": "json", "file": str(log), "audit": "required", "buffered_bytes": "64KiB"}
    }
    with sidecar(tmp_path, pki, signing_key, logging) as (one, upstream):
        token, served = signing_key.token(pki.client), 0
        with one.connect(pki.client) as wire:
            for _ in range(500):  # denials fill their half and no more
                assert wire.request("GET", "/accounts/1").status == 401
            while (answer := wire.request("GET", "/accounts/1", token=token)).status == 200:
                served += 1
                assert served < MOST
            assert (answer.status, answer.json()["reason"]) == (503, "audit_unavailable")
            assert served > 10
            assert len(upstream.seen) == served
            told = figures(one)
            assert told[("sidecar_requests_total", "accounts", "fail", "audit_unavailable")] == 1
            assert told[("sidecar_log_buffered_bytes",)] > 32 << 10
            assert told[("sidecar_log_lines_dropped_total",)] > 0
            assert get(f"{one.health_url}/livez")[0] == 200
            log.unlink()
            one.process.signal(signal.SIGHUP)
            eventually(lambda: wire.request("GET", "/accounts/1", token=token).status == 200)
    permitted = [line for line in map(json.loads, log.read_text().splitlines()) if line.get("status") == 200]
    assert len(permitted) == len(upstream.seen) == served + 1
