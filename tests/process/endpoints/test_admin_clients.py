"""Whom to call before the switch: what the admin endpoint tells of each client, with one worker and with two."""

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect, sync_playwright

from sidecar.command.cli import main
from sidecar.telemetry.adoption import UNKNOWN
from tests.process.world import fast, generation, get, sidecar
from tests.support.debian import program
from tests.support.mint import SigningKey
from tests.support.pki import Identity, Pki
from tests.support.processes import eventually
from tests.support.proofs import Prover
from tests.support.recorder import Recorder
from tests.support.sidecar import Sidecar, issuer, policy

ORIGIN = "https://api.example.com"
PROVER = Prover.create()
SERVICE = {"protected_resource": {"resource": ORIGIN, "origins": [ORIGIN]}}
POLICY = policy(
    issuers=[issuer(binding="required", schemes=["Bearer", "DPoP"])],
    rules=[
        {"name": "public", "match": {"path": "/public/**"}, "public": True},
        {"name": "open", "match": {"path": "/open/**"}, "binding": "not_required"},
        {"name": "accounts", "match": {"path": "/accounts/**"}, "require": {"scopes": ["accounts:read"]}},
        {"name": "payments", "match": {"path": "/payments/**"}, "report_only": {"until": "2999-01-31"}},
    ],
)
COUNTS = ("bound", "by_key", "unbound", "mismatched", "would_deny", "denied")


@pytest.fixture(params=[1, 2], ids=["alone", "crew"])
def one(
    request: pytest.FixtureRequest, tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> Iterator[Sidecar]:
    service = {**SERVICE, "workers": request.param}
    with sidecar(tmp_path, pki, signing_key, service, policy_document=POLICY) as (running, _):
        yield running


def ask(one: Sidecar) -> dict[str, Any]:
    status, body = get(f"{one.admin_url}/clients", **one.admin_headers)
    assert status == 200
    found: dict[str, Any] = json.loads(body)
    return found


def clients(one: Sidecar) -> dict[str, dict[str, Any]]:
    return {row["client"]: row for row in ask(one)["clients"]}


def counts(row: dict[str, Any]) -> dict[str, int]:
    """Those that are not 0."""
    return {name: row[name] for name in COUNTS if row[name]}


def visit(
    one: Sidecar, path: str, status: int, token: str | None = None, identity: Identity | None = None
) -> None:
    """On a connection of its own: the kernel spreads them over the workers."""
    with one.connect(identity) as wire:
        assert wire.request("GET", path, token=token).status == status


def visit_with_a_proof(one: Sidecar, path: str, token: str) -> int:
    """How often the supervisor's verdict came too late, as it may on a busy machine, before one came in time."""
    reasons: list[str] = []

    def is_served() -> bool:
        proof = PROVER.proof(token, url=ORIGIN + path)
        with one.connect() as wire:
            answer = wire.request("GET", path, [("Authorization", f"DPoP {token}"), ("DPoP", proof)])
        reasons.extend([] if answer.status == 200 else [answer.json()["reason"]])
        return answer.status == 200

    eventually(is_served, what="a verdict in time")
    assert set(reasons) <= {"replay_unknown"}
    return len(reasons)


def traffic(one: Sidecar, pki: Pki, key: SigningKey) -> int:
    """Four requests of each client; how many there were besides, as `visit_with_a_proof` tells."""
    late = 0
    for _ in range(4):
        visit(one, "/accounts/1", 200, key.token(pki.client, client_id="ready"), pki.client)
        visit(one, "/payments/1", 200, key.token(client_id="batch"), pki.client)
        visit(one, "/payments/1", 200, key.token(pki.other_client, client_id="confused"), pki.client)
        visit(one, "/payments/1", 200, key.token(pki.client, client_id="forgetful"))
        visit(one, "/accounts/1", 401, key.token(pki.other_client, client_id="thief"), pki.client)
        visit(one, "/accounts/1", 403, key.token(pki.client, client_id="poor", scope=""), pki.client)
        visit(one, "/open/1", 200, key.token(client_id="bearer"))
        late += visit_with_a_proof(one, "/accounts/1", key.token(cnf=PROVER.cnf, client_id="wallet"))
        visit(one, "/public/1", 200)
        visit(one, "/accounts/1", 401, None, pki.client)
        visit(one, "/payments/1", 401, key.token(pki.client, client_id="late", exp=1), pki.client)
    return late


EXPECTED = {
    "batch": {"unbound": 4, "would_deny": 4},
    "confused": {"mismatched": 4, "would_deny": 4},
    "forgetful": {"mismatched": 4, "would_deny": 4},
    "CN=client-1": {"denied": 4},
    "late": {"bound": 4, "denied": 4},
    "poor": {"bound": 4, "denied": 4},
    "thief": {"mismatched": 4, "denied": 4},
    "bearer": {"unbound": 4},
    "ready": {"bound": 4},
    "wallet": {"bound": 4, "by_key": 4},
    UNKNOWN: {},
}


def test_every_client_is_told_with_what_its_requests_were_as_the_report_tells_it_of_the_log(
    one: Sidecar, pki: Pki, signing_key: SigningKey, capsys: pytest.CaptureFixture[str]
) -> None:
    late = traffic(one, pki, signing_key)
    eventually(lambda: len(one.access_log()) == 4 * len(EXPECTED) + late)
    found = ask(one)
    wallet = {"bound": 4 + late, "by_key": 4 + late} | ({"denied": late} if late else {})
    assert {row["client"]: counts(row) for row in found["clients"]} == {**EXPECTED, "wallet": wallet}
    assert [row["would_deny"] for row in found["clients"]][:4] == [4, 4, 4, 0], "who would break comes first"
    by_name = {row["client"]: row for row in found["clients"]}
    assert (by_name["batch"]["reasons"], by_name["batch"]["rules"]) == (
        {"binding_missing": 4},
        {"payments": 4},
    )
    assert by_name["poor"]["reasons"] == {"scope_insufficient": 4}
    assert (by_name["ready"]["reasons"], by_name["ready"]["last_refused"]) == ({}, "")
    for name in ("ready", "wallet", "bearer", UNKNOWN):  # those that simply passed, too
        latest = max(line["time"] for line in one.access_log() if _named(line) == name)
        assert by_name[name]["last_seen"] == latest
    assert found["since"] < one.output.stat().st_mtime
    assert main(["report", "--format", "json", str(one.output), str(one.log)]) == 0
    assert json.loads(capsys.readouterr().out) == found["clients"]


def _named(line: dict[str, Any]) -> str:
    name: str = line.get("client_id") or line.get("subject") or line.get("certificate_subject") or UNKNOWN
    return name


def test_figures_go_on_when_the_configuration_changes(
    one: Sidecar, pki: Pki, signing_key: SigningKey
) -> None:
    before = ask(one)["since"]
    token = signing_key.token(client_id="batch")
    for _ in range(4):
        visit(one, "/payments/1", 200, token, pki.client)
    was = generation(one)
    one.write_policy({**POLICY, "rules": [{"name": "all", "match": {"path": "/**"}}]})
    eventually(lambda: generation(one) > was)
    for _ in range(4):
        visit(one, "/payments/1", 401, token, pki.client)
    (row,) = ask(one)["clients"]
    assert counts(row) == {"unbound": 8, "would_deny": 4, "denied": 4}
    assert row["rules"] == {"payments": 4, "all": 4}
    assert ask(one)["since"] == before


def test_worker_that_was_started_again_says_since_when_it_counts(
    tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> None:
    with sidecar(tmp_path, pki, signing_key, {**SERVICE, "workers": 2}, policy_document=POLICY) as (one, _):
        before = ask(one)["since"]
        victim = json.loads(get(f"{one.admin_url}/state", **one.admin_headers)[1])["workers"][0]
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: ask(one)["since"] > before)
        visit(one, "/open/1", 200, signing_key.token(client_id="later"))
        assert counts(clients(one)["later"]) == {"unbound": 1}


@pytest.mark.timeout(300)  # it may have to install Chromium
def test_page_says_so_when_no_client_has_come(tmp_path: Path, pki: Pki, signing_key: SigningKey) -> None:
    with Recorder() as upstream, sync_playwright() as playwright:
        one = Sidecar(tmp_path, pki, upstream.url, keys=[signing_key], service=fast(None))
        chromium = playwright.chromium.launch(
            executable_path=program("chromium", "chromium"), args=["--no-sandbox"]
        )
        with one:
            page = chromium.new_page()
            page.goto(one.admin_link)
            expect(page.locator("#adoption-note")).to_have_text(re.compile("^Since .* UTC: no request yet.$"))
            expect(page.locator("#adoption tr")).to_have_count(0)
        chromium.close()
