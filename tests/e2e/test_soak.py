"""Everything changes under steady load: certificates, policies, keys, the upstream; then SIGTERM.

A minute of it in the whole lane, a fifth of that otherwise.
"""

import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sidecar.proxy.client.host import IDLE_GRACE
from tests.process.world import fast, figures, generation
from tests.support.issuer import ScriptedIssuer
from tests.support.lanes import WHOLE
from tests.support.mint import AUDIENCE, SigningKey
from tests.support.pki import Identity, Pki, certificate_der
from tests.support.processes import Child, eventually, free_port, is_listening
from tests.support.sidecar import Sidecar, issuer, policy
from tests.support.tls_client import client_context

SECONDS = 60.0 if WHOLE else 12.0
CERTIFICATES, POLICIES, BROKEN, KEYS, RESTARTS = (20, 50, 10, 4, 2) if WHOLE else (4, 10, 2, 1, 2)
CONNECTION = 40
"""Requests on one connection, so that there are new handshakes all the time."""
PAUSE = 0.008
UPSTREAM = frozenset({"upstream_refused", "upstream_broken"})

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]


@dataclass
class Tally:
    """What clients saw."""

    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    refused_by_upstream: int = 0
    certificates: set[bytes] = field(default_factory=set)


@dataclass
class Client:
    """Sends one kind of request over and over and knows what must come back."""

    name: str
    expected: int
    identity: Identity
    token: Callable[[], str]
    path: str = "/accounts/1"

    def run(self, one: Sidecar, tally: Tally, stop: threading.Event) -> None:
        context = client_context(self.identity)
        while not stop.is_set():
            busy_at = time.monotonic()
            try:
                wire = one.connect(context=context)
            except (OSError, ssl.SSLError) as error:
                if not is_listening(one.port):
                    return  # nothing new is accepted any more: the drain
                tally.failed.append(f"{self.name}: handshake: {error!r}")
                continue
            with wire:
                tally.certificates.add(wire.secure.getpeercert(binary_form=True) or b"")
                for _ in range(CONNECTION):
                    time.sleep(PAUSE)
                    sent = time.monotonic()
                    try:
                        answer = wire.request("GET", self.path, token=self.token())
                    except Exception as error:
                        # A busy machine may let a client wait for so long that the drain closes its connection: idle
                        # from an answer on, which may be read late, but came after the request before this one.
                        if is_listening(one.port) or time.monotonic() - busy_at < IDLE_GRACE:
                            tally.failed.append(f"{self.name}: {error!r}")
                        break
                    busy_at = sent
                    self._judge(answer.status, answer.body, tally)
                    if (answer.header("connection") or "").lower() == "close":
                        break

    def _judge(self, status: int, body: bytes, tally: Tally) -> None:
        if status == self.expected:
            tally.answers[self.name, status] += 1
        elif self.expected == 200 and status == 502 and any(reason.encode() in body for reason in UPSTREAM):
            tally.refused_by_upstream += 1
        elif status >= 500:
            tally.failed.append(f"{self.name}: {status} {body[:200]!r}")
        else:
            tally.wrong.append(f"{self.name}: {status} instead of {self.expected}: {body[:200]!r}")


class World:
    """What changes."""

    def __init__(
        self, one: Sidecar, authority: ScriptedIssuer, upstream: int, folder: Path, pki: Pki
    ) -> None:
        self.one, self.authority, self.upstream, self.folder, self.pki = one, authority, upstream, folder, pki
        self.key: SigningKey = SigningKey.create("ES256", "key-0")
        authority.keys[:] = [self.key]
        self.server = pki.server
        self.api = self.start_api()
        self.done: Counter[str] = Counter()

    def start_api(self) -> Child:
        command = [sys.executable, "-m", "tests.support.plain_upstream", self.upstream]
        return Child(command, self.folder / "api.log").wait_ready(lambda: is_listening(self.upstream))

    def restart_api(self) -> None:
        self.api.stop()
        time.sleep(0.3)
        self.api = self.start_api()
        self.done["upstream restarts"] += 1

    def rotate_certificate(self) -> None:
        """Key and certificate one after the other, as two renames: there is a moment when they do not fit."""
        self.server = self.pki.server_authority.server()
        folder = self.one.folder / "tls"
        self.server.write(folder, "next")
        (folder / "next.key").rename(folder / "tls.key")
        (folder / "next.crt").rename(folder / "tls.crt")
        self.done["certificates"] += 1

    def rotate_keys(self) -> None:
        """The new key is published beside the old one, used, and then alone."""
        old, number = self.key, self.done["key rotations"] + 1
        fresh = SigningKey.create("ES256", f"key-{number}")
        self.authority.keys[:] = [old, fresh]
        self.key = fresh
        self.done["key rotations"] += 1

    def change_policy(self, number: int) -> None:
        """Another rule before those that count, or a file that is broken; in force, or refused, before this returns."""
        if number % (POLICIES // BROKEN) == BROKEN % (POLICIES // BROKEN):
            self._break_policy(number)
        else:
            before = generation(self.one)
            self.one.write_policy(rules_of(self.authority, number))
            eventually(lambda: generation(self.one) > before, what="the new policy")
            self.done["policies taken"] += 1

    def _break_policy(self, number: int) -> None:
        key = ("sidecar_configuration_reload_total", "failure")
        before = figures(self.one).get(key, 0)
        texts = ("rules: [", "issuers: 7\n", "", "rules:\n  - nome: x\n", "a: 1\na: 2\n")
        (self.one.folder / "policies" / "policy.yaml").write_text(texts[number % len(texts)])
        eventually(lambda: figures(self.one).get(key, 0) > before, what="the refusal of a broken policy")
        self.done["policies refused"] += 1

    def run(self) -> None:
        """Everything, spread over `SECONDS`, or longer if the machine is slow."""
        began = time.monotonic()
        for number in range(POLICIES):
            if number * CERTIFICATES // POLICIES != (number - 1) * CERTIFICATES // POLICIES:
                self.rotate_certificate()
            if number and number % (POLICIES // (KEYS + 1)) == 0 and self.done["key rotations"] < KEYS:
                self.rotate_keys()
            if number in {POLICIES // 3, 2 * POLICIES // 3}:
                self.restart_api()
            self.change_policy(number)
            time.sleep(max(0.0, began + SECONDS * (number + 1) / POLICIES - time.monotonic()))
        self.one.write_policy(rules_of(self.authority, POLICIES))
        seen = certificate_der(self.server.certificate)
        eventually(lambda: served(self.one) == seen, what="the last certificate")


def served(one: Sidecar) -> bytes:
    with one.connect() as wire:
        return wire.secure.getpeercert(binary_form=True) or b""


def rules_of(authority: ScriptedIssuer, number: int) -> dict[str, object]:
    trusted = issuer(
        issuer=authority.url,
        keys={"jwks_file": None, "jwks_url": authority.jwks_url},
        http={"ca_file": "../tls/issuer-ca.crt"},
    )
    return policy(
        rules=[
            {"name": f"extra-{number}", "match": {"path": f"/extra/{number}/**"}, "public": True},
            {"name": "accounts", "match": {"path": "/accounts/**"}, "require": {"scopes": ["accounts:read"]}},
            {
                "name": "payments",
                "match": {"path": "/payments/**"},
                "require": {"scopes": ["payments:write"]},
            },
        ],
        issuers=[trusted],
    )


@pytest.fixture
def world(tmp_path: Path, pki: Pki) -> Iterator[World]:
    upstream = free_port()
    with ScriptedIssuer(certificate=pki.server) as authority:
        one = Sidecar(
            tmp_path,
            pki,
            f"http://127.0.0.1:{upstream}",
            policy_document=rules_of(authority, 0),
            service=fast({"logging": {"file": "access.log"}}),
        )
        (tmp_path / "tls" / "issuer-ca.crt").write_bytes(pki.server_authority.pem)
        built = World(one, authority, upstream, tmp_path, pki)
        try:
            with one:
                yield built
        finally:
            built.api.stop()


def clients(world: World, pki: Pki) -> list[Client]:
    def token(**claims: Any) -> Callable[[], str]:
        """A token of the issuer's present key, minted anew when that changes and now and then besides."""
        kept: dict[str, tuple[float, str]] = {}

        def current() -> str:
            key = world.key
            at, found = kept.get(key.kid, (0.0, ""))
            if time.monotonic() - at > 5:
                found = key.token(pki.client, iss=world.authority.url, aud=AUDIENCE, **claims)
                kept.clear()
                kept[key.kid] = (time.monotonic(), found)
            return found

        return current

    return [
        *(Client(f"good {number}", 200, pki.client, token(jti=f"good-{number}")) for number in range(3)),
        Client("other certificate", 401, pki.other_client, token()),
        Client("expired", 401, pki.client, token(exp=int(time.time()) - 3600)),
        Client("scope missing", 403, pki.client, token(), "/payments/1"),
        Client("no rule", 403, pki.client, token(), "/nowhere"),
    ]


def test_change_under_load_loses_no_request_and_decides_none_wrongly(world: World, pki: Pki) -> None:
    one, tally, stop = world.one, Tally(), threading.Event()
    threads = [threading.Thread(target=each.run, args=(one, tally, stop)) for each in clients(world, pki)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    try:
        eventually(lambda: sum(tally.answers.values()) > 500, 180, "the load")
        at_start = one.process.memory().now
        world.run()
        at_end, counted = one.process.memory().now, figures(one)
        assert one.stop() == 0, "the drain"
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    took = time.monotonic() - began
    report(tally, world, took, at_start, at_end)
    assert tally.failed == []
    assert tally.wrong == []
    assert took >= SECONDS
    assert world.done["certificates"] >= CERTIFICATES
    assert world.done["policies taken"] + world.done["policies refused"] == POLICIES
    assert world.done["policies refused"] == BROKEN
    assert world.done["key rotations"] == KEYS
    assert world.done["upstream restarts"] == RESTARTS
    assert len(tally.certificates) > CERTIFICATES / 2, "new handshakes got the new certificates"
    assert at_end - at_start < 32 << 20
    assert counted[("sidecar_log_lines_dropped_total",)] == 0
    assert counted.get(("sidecar_incidents_total", "internal_error"), 0) == 0


def report(tally: Tally, world: World, took: float, at_start: int, at_end: int) -> None:
    requests = sum(tally.answers.values()) + tally.refused_by_upstream + len(tally.wrong)
    print(f"\nsoak: {took:.0f} s, {requests} requests, {dict(world.done)}")
    print(
        f"failed requests: {len(tally.failed)} (and {tally.refused_by_upstream} that the upstream itself refused)"
    )
    print(f"wrong decisions: {len(tally.wrong)}; right ones: {dict(tally.answers)}")
    print(f"certificates seen by clients: {len(tally.certificates)}")
    print(f"memory: {at_start / 1e6:.1f} MB at the start, {at_end / 1e6:.1f} MB at the end")
