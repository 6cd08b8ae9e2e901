"""The admin server: what it tells, and from whom it keeps it."""

import http.client
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.decision.denial import Denial, Failure, Reason
from sidecar.issuer.configuration import HttpSettings
from sidecar.process.endpoints.admin.decisions import steps
from sidecar.process.endpoints.admin.redaction import HIDDEN, shown
from tests.process.world import events, fast, figures, generation, sidecar
from tests.support.mint import SigningKey
from tests.support.pki import Pki
from tests.support.processes import eventually
from tests.support.recorder import Recorder
from tests.support.records import RULE, denial, permit, record, token
from tests.support.sidecar import Sidecar, policy

REPORTING = policy(
    rules=[
        {"name": "public", "match": {"path": "/public/**"}, "public": True},
        {"name": "accounts", "match": {"path": "/accounts/**"}, "require": {"scopes": ["accounts:read"]}},
        {
            "name": "payments",
            "match": {"path": "/payments/**"},
            "require": {"scopes": ["payments:write"]},
            "report_only": {"until": "2999-01-31"},
        },
    ]
)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory, pki: Pki, signing_key: SigningKey) -> Iterator[Sidecar]:
    folder = tmp_path_factory.mktemp("admin")
    with sidecar(folder, pki, signing_key, policy_document=REPORTING) as (running, _):
        with running.connect(pki.client) as wire:
            good, other = signing_key.token(pki.client), signing_key.token(pki.other_client)
            assert wire.request("GET", "/accounts/1?secret=1", token=good).status == 200
            assert wire.request("GET", "/accounts/2", token=other).status == 401
            assert wire.request("POST", "/payments/1", token=good).status == 200
            assert wire.request("GET", "/elsewhere", token=good).status == 403
        yield running


def ask(
    one: Sidecar, path: str, method: str = "GET", body: object = None, **headers: str
) -> tuple[int, http.client.HTTPMessage, str]:
    """A request to the admin server; a header's underscores become hyphens, a Host may be set."""
    connection = http.client.HTTPConnection("127.0.0.1", one.admin_port, timeout=60)
    sent = {**one.admin_headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
    payload = None if body is None else json.dumps(body)
    if payload is not None:
        sent.setdefault("Content-Type", "application/json")
    try:
        connection.request(method, path, payload, sent)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        connection.close()


def document(one: Sidecar, path: str, **headers: str) -> Any:
    status, _, body = ask(one, path, **headers)
    assert status == 200
    return json.loads(body)


def test_decisions_come_with_their_explanation_steps(one: Sidecar) -> None:
    entries = document(one, "/decisions")["entries"][
        :4
    ]  # those of the fixture: other tests may have come before
    assert [entry["outcome"] for entry in entries] == ["permit", "deny", "report", "deny"]
    refused = entries[1]
    failed = [step for step in refused["steps"] if step["verdict"] == "failed"]
    assert [(step["check"], step["clause"]) for step in failed] == [("cnf.x5t#S256", "RFC 8705 §3")]
    assert failed[0]["expected"] != failed[0]["presented"]
    assert {step["verdict"] for step in entries[3]["steps"][1:]} == {"not reached"}
    assert all("secret" not in json.dumps(entry) for entry in entries)


def test_decisions_after_a_cursor_are_only_the_new_ones(one: Sidecar) -> None:
    first = document(one, "/decisions")
    assert document(one, f"/decisions?after={first['cursor']}")["entries"] == []
    with one.connect() as wire:
        wire.request("GET", "/public/later")
    (entry,) = document(one, f"/decisions?after={first['cursor']}")["entries"]
    assert entry["path"] == "/public/later"


def test_decisions_are_streamed_as_they_come(one: Sidecar) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", one.admin_port, timeout=60)
    connection.request("GET", "/decisions", headers={"Accept": "text/event-stream", **one.admin_headers})
    answer = connection.getresponse()
    assert answer.headers["Content-Type"] == "text/event-stream"
    with one.connect() as wire:
        wire.request("GET", "/public/streamed")
    paths: list[str] = []
    while "/public/streamed" not in paths:
        line = answer.readline().decode()
        if line.startswith("data: "):
            paths += [entry["path"] for entry in json.loads(line.removeprefix("data: "))["entries"]]
    connection.close()
    assert paths.count("/public/streamed") == 1


def test_state_tells_issuers_certificates_and_configuration(one: Sidecar) -> None:
    state = document(one, "/state")
    assert state["ready"] is True
    assert state["configuration"]["generation"] == generation(one)
    assert [(issuer["keys"], issuer["last_error"]) for issuer in state["issuers"]] == [(1, None)]
    assert state["certificates"][0]["subject"] == "CN=localhost"
    assert ["payments", "report", "scope_insufficient", 1] in state["counts"]["requests"]


def test_state_tells_how_long_the_decision_and_the_api_took(one: Sidecar) -> None:
    """The same counts as the histograms that are scraped, bucket by bucket."""
    rows = document(one, "/state")["counts"]["durations"]
    for name in ["decision", "upstream"]:
        buckets = [(bound, count) for what, bound, count in rows if what == name]
        scraped = figures(one)[(f"sidecar_{name}_duration_seconds_count",)]
        assert sum(count for _, count in buckets) == scraped > 0
        assert buckets[-1][0] is None
        bounds = [bound for bound, _ in buckets[:-1]]
        assert bounds == sorted(bounds)


def test_configuration_is_shown_without_secrets(one: Sidecar) -> None:
    shown_configuration = document(one, "/config")
    assert [rule["name"] for rule in shown_configuration["policy"]["rules"]] == [
        "public",
        "accounts",
        "payments",
    ]
    text = json.dumps(shown_configuration)
    assert "PRIVATE KEY" not in text
    assert "tls.key" in text


def test_explain_decides_with_the_running_policy_and_names_the_mistake(
    one: Sidecar, pki: Pki, signing_key: SigningKey
) -> None:
    before = figures(one).get(("sidecar_requests_total", "accounts", "deny", "binding_mismatch"))
    pem = pki.client.pem.decode()
    question = {
        "token": signing_key.token(pki.server),
        "certificate": pem,
        "method": "GET",
        "url": "/accounts/1",
    }
    status, _, body = ask(one, "/explain", "POST", question)
    answer = json.loads(body)
    assert (status, answer["permit"], answer["reason"]) == (200, False, "binding_mismatch")
    assert answer["diagnosis"]["mistake"]
    assert question["token"] not in body
    _, _, body = ask(one, "/explain", "POST", {**question, "token": signing_key.token(pki.client)})
    assert json.loads(body)["permit"] is True
    assert figures(one).get(("sidecar_requests_total", "accounts", "deny", "binding_mismatch")) == before


@pytest.mark.parametrize(
    ("question", "complaint"),
    [
        ({"certificate": "nonsense"}, "certificate: no PEM certificate"),
        ({"url": "gopher://x"}, "neither a URL nor a path"),
        ({"headers": "X-A: b"}, "headers: expected a list"),
        ({"headers": ["X-A"]}, "headers: not 'Name: value'"),
        ({"listener": "nowhere"}, "listener: one of"),
        ({"token": 7}, "expected text"),
        ({"token": "x" * 70000}, "at most"),
    ],
)
def test_explain_says_what_is_wrong_with_the_question(
    one: Sidecar, question: dict[str, object], complaint: str
) -> None:
    status, _, body = ask(one, "/explain", "POST", question)
    assert status == 400
    assert complaint in json.loads(body)["error"]


def test_explain_refuses_what_cannot_be_read_as_the_data_plane_does(one: Sidecar) -> None:
    status, _, body = ask(one, "/explain", "POST", {"url": "no-slash"})
    answer = json.loads(body)
    assert (status, answer["status"], answer["reason"]) == (200, 400, "request_malformed")
    assert [step["check"] for step in answer["steps"] if step["verdict"] == "failed"] == ["request"]
    status, _, body = ask(
        one, "/explain", "POST", {"url": "/public/x", "headers": ["Connection: authorization"]}
    )
    assert json.loads(body)["reason"] == "request_malformed"


@pytest.mark.parametrize(
    "token", ["", "x", "a.b.c", "\r\nX: y", "é", "Bearer a b", "eyJhbGciOiJub25lIn0.e30.", "Basic Zm9v"]
)
def test_explain_answers_about_any_token(one: Sidecar, token: str) -> None:
    status, _, body = ask(one, "/explain", "POST", {"token": token, "url": "/accounts/1"})
    assert status == 200
    assert json.loads(body)["permit"] is False


def test_log_level_is_shown_and_changed(one: Sidecar) -> None:
    assert document(one, "/log-level") == {"level": "info"}
    try:
        status, _, body = ask(one, "/log-level", "POST", {"level": "debug"})
        assert (status, json.loads(body)) == (200, {"level": "debug"})
        assert document(one, "/log-level") == {"level": "debug"}
        assert ask(one, "/log-level", "POST", {"level": "loud"})[0] == 400
    finally:
        ask(one, "/log-level", "POST", {"level": "info"})
    eventually(lambda: [line["now"] for line in events(one, "log level changed")] == ["debug", "info"])


def test_reload_may_be_asked_for(one: Sidecar) -> None:
    before = document(one, "/state")["configuration"]["generation"]
    assert ask(one, "/reload", "POST", {})[0] == 202
    eventually(lambda: document(one, "/state")["configuration"]["generation"] > before)
    assert document(one, "/state")["configuration"]["trigger"] == "admin"


# --- from whom it keeps it


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:1", "169.254.1.1", "[::2]", "", "a@b"],
)
@pytest.mark.parametrize("path", ["/", "/decisions", "/state", "/clients", "/config"])
def test_name_that_is_not_local_is_refused(one: Sidecar, host: str, path: str) -> None:
    """DNS rebinding: a page of another site whose name was made to point here."""
    status, _, body = ask(one, path, Host=host)
    assert (status, body) == (403, "this server answers to localhost only\n")


@pytest.mark.parametrize("host", ["localhost:12345", "127.0.0.1", "[::1]:9901", "LOCALHOST"])
def test_local_names_are_answered_whatever_port_was_forwarded(one: Sidecar, host: str) -> None:
    assert ask(one, "/state", Host=host)[0] == 200


@pytest.mark.parametrize("path", ["/log-level", "/reload", "/explain"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Content_Type": "text/plain"},
        {"Content_Type": "application/x-www-form-urlencoded"},
    ],
)
def test_page_of_another_origin_can_post_nothing(one: Sidecar, path: str, headers: dict[str, str]) -> None:
    assert ask(one, path, "POST", {"level": "debug"}, **headers)[0] == 403
    assert document(one, "/log-level") == {"level": "info"}


@pytest.mark.parametrize("path", ["/reload", "/explain"])
def test_get_changes_nothing(one: Sidecar, path: str) -> None:
    assert ask(one, path)[0] == 405


@pytest.mark.parametrize(
    "path", ["/", "/admin.js", "/admin.css", "/icon.svg", "/state", "/clients", "/nowhere", "/decisions"]
)
def test_every_answer_forbids_what_a_page_might_be_tricked_into(one: Sidecar, path: str) -> None:
    _, headers, _ = ask(one, path)
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize("path", ["/explain", "/log-level"])
@pytest.mark.parametrize("deep", ['{"token":' + "[" * 3000 + "]" * 3000 + "}", "[" * 3000, '{"a":' * 3000])
def test_brackets_nested_by_the_thousand_are_refused_like_any_other_nonsense(
    one: Sidecar, path: str, deep: str
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", one.admin_port, timeout=60)
    connection.request("POST", path, deep, {"Content-Type": "application/json", **one.admin_headers})
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["error"]) == (400, "the body is nested too deep")
    connection.close()


def test_body_that_is_no_json_object_is_refused(one: Sidecar) -> None:
    assert ask(one, "/explain", "POST", [1, 2])[0] == 400
    assert ask(one, "/explain", "POST", "x" * 300_000)[0] == 413


PRIVATE = ["/decisions", "/state", "/clients", "/config", "/log-level", "/nowhere"]


@pytest.mark.parametrize("path", PRIVATE)
@pytest.mark.parametrize(
    "presented", ["", "Bearer ", "Bearer wrong", "Basic {token}", "{token}", "Bearer {token}x"]
)
def test_nothing_is_told_without_the_token_of_this_start(one: Sidecar, path: str, presented: str) -> None:
    """A neighbour in the Pod reaches loopback, and so does what an API can be made to fetch."""
    token = one.admin_headers["Authorization"].removeprefix("Bearer ")
    status, headers, body = ask(one, path, Authorization=presented.format(token=token))
    assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")
    assert body == "this needs the token of this start: `sidecar admin-url` prints the link\n"
    assert token not in body


@pytest.mark.parametrize("path", ["/log-level", "/reload", "/explain"])
def test_no_order_is_taken_without_the_token(one: Sidecar, path: str) -> None:
    assert ask(one, path, "POST", {"level": "debug"}, Authorization="Bearer x")[0] == 401
    assert document(one, "/log-level") == {"level": "info"}


@pytest.mark.parametrize("path", ["/", "/admin.js", "/admin.css", "/icon.svg"])
def test_page_itself_holds_nothing_and_needs_no_token(one: Sidecar, path: str) -> None:
    assert ask(one, path, Authorization="")[0] == 200


def test_token_is_new_at_each_start_readable_to_its_owner_alone_and_gone_at_the_end(
    tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> None:
    one = Sidecar(tmp_path, pki, "http://127.0.0.1:9", keys=[signing_key])
    file = tmp_path / "admin-token"
    file.write_text("left behind by a crash, or put there by somebody else\n")
    file.chmod(0o666)
    with file.open() as held_open:
        tokens = set()
        for _ in range(2):
            one.start_unready()
            assert (stat.S_IMODE(file.stat().st_mode), file.stat().st_uid) == (0o600, os.geteuid())
            tokens.add(file.read_text())
            assert ask(one, "/state")[0] == 200
            assert one.stop() == 0
            assert not file.exists()
        assert len(tokens) == 2
        assert tokens.isdisjoint({held_open.read()})


def test_token_that_cannot_be_kept_ends_the_start_with_one_line(
    tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> None:
    service = {"admin": {"token_file": "nowhere/admin-token"}}
    one = Sidecar(tmp_path, pki, "http://127.0.0.1:9", keys=[signing_key], service=service)
    assert one.spawn().wait() == 1
    (line,) = one.log.read_text().splitlines()
    assert line == (
        f"sidecar: admin.token_file: cannot write {tmp_path}/nowhere/admin-token: no such file or directory; "
        "name a place that can be written"
    )


@pytest.fixture(scope="module")
def on_a_socket(
    tmp_path_factory: pytest.TempPathFactory, pki: Pki, signing_key: SigningKey
) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("socket")
    with Recorder() as upstream:
        path = folder / "admin.sock"
        service = fast({"admin": {"address": f"unix://{path}", "token_file": None}})
        with Sidecar(folder, pki, upstream.url, keys=[signing_key], service=service):
            yield path


ASK_BY_SOCKET = """
import os, socket, sys
if account := int(sys.argv[2]):
    os.setgroups([])
    os.setgid(account)
    os.setuid(account)
client = socket.socket(socket.AF_UNIX)
client.connect(sys.argv[1])
client.sendall(b"GET /log-level HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n")
answer = b""
while chunk := client.recv(4096): answer += chunk
print(answer.split(None, 2)[1].decode())
"""


def asked_by(path: Path, uid: int) -> str:
    done = subprocess.run(
        [sys.executable, "-c", ASK_BY_SOCKET, str(path), str(uid)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_unix_socket_answers_to_the_account_of_the_sidecar(on_a_socket: Path) -> None:
    assert asked_by(on_a_socket, 0) == "200", "whoever runs this test runs the sidecar, too"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_unix_socket_answers_to_no_other_account(on_a_socket: Path) -> None:
    for folder in (on_a_socket.parent, *on_a_socket.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o001)
    on_a_socket.chmod(0o777)
    assert asked_by(on_a_socket, 65534) == "403"


# --- pure parts


def test_steps_of_a_denial_pass_up_to_the_failure_and_stop_there() -> None:
    verdicts = {
        step["check"]: step["verdict"]
        for step in steps(record(denial(Reason.TOKEN_EXPIRED, _failure("exp"))))
    }
    assert verdicts["credentials"] == verdicts["signature"] == "passed"
    assert verdicts["exp"] == "failed"
    assert verdicts["aud"] == verdicts["cnf"] == "not reached"


def test_steps_of_collected_failures_name_each_of_them() -> None:
    refused = Denial(
        Reason.BINDING_MISMATCH, (_failure("cnf.x5t#S256"), _failure("claims.tenant")), RULE.name, token()
    )
    verdicts = {step["check"]: step["verdict"] for step in steps(record(refused))}
    assert verdicts["cnf.x5t#S256"] == verdicts["claims.tenant"] == "failed"
    assert verdicts["scope"] == verdicts["aud"] == "passed"


def test_upstream_failure_is_the_last_step() -> None:
    last = list(steps(record(permit(), reason=Reason.UPSTREAM_BROKEN, detail="closed in the body")))[-1]
    assert (last["check"], last["verdict"], last["presented"]) == ("upstream", "failed", "closed in the body")


def _failure(check: str) -> Failure:
    return Failure(check, Reason.TOKEN_EXPIRED, "expected", "presented")


def test_secrets_and_credentials_in_urls_are_not_shown() -> None:
    settings = shown(HttpSettings(proxy="http://user:hunter2@proxy:3128", private_key_file=Path("k.pem")))
    assert settings["proxy"] == "http://proxy:3128"
    assert settings["private_key_file"] == "k.pem"
    assert shown({"client_secret": "hunter2", "password": "x"}) == {
        "client_secret": HIDDEN,
        "password": HIDDEN,
    }
    assert shown(b"key material") == HIDDEN
