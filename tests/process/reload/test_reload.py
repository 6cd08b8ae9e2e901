"""Reload: every way a file changes, every way a change is bad, and nothing that is open is disturbed."""

import json
import os
import signal
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.process.world import checks, events, fast, figures, generation, get, sidecar
from tests.support.mint import SigningKey
from tests.support.pki import Identity, Pki, certificate_der
from tests.support.processes import eventually
from tests.support.recorder import Recorder
from tests.support.sidecar import Document, Sidecar, listener, policy


class World:
    """A running sidecar; what it counts and says from now on."""

    def __init__(self, one: Sidecar, upstream: Recorder) -> None:
        self.one, self.upstream = one, upstream
        self._before = figures(one)
        eventually(lambda: bool(events(one, "started")))
        self._lines = len(one.records())

    def reloads(self, result: str) -> float:
        key = ("sidecar_configuration_reload_total", result)
        return figures(self.one).get(key, 0) - self._before.get(key, 0)

    @property
    def generation(self) -> int:
        """1 for the configuration that was in force when this began."""
        key = ("sidecar_configuration_generation",)
        return int(figures(self.one)[key] - self._before[key]) + 1

    def told(self, event: str, count: int = 1) -> list[dict[str, Any]]:
        """At least `count` lines about `event`, waited for."""
        eventually(lambda: len(self.so_far(event)) >= count, what=f"{count} lines {event!r}")
        return self.so_far(event)

    def so_far(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.one.records()[self._lines :] if line.get("event") == event]


OPEN_RULE = {"name": "open", "match": {"path": "/open/**"}, "public": True}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, pki: Pki, signing_key: SigningKey) -> Iterator[World]:
    """One process for all tests that leave it as they found it."""
    with sidecar(tmp_path_factory.mktemp("reload"), pki, signing_key) as (one, upstream):
        yield World(one, upstream)


@pytest.fixture
def world(shared: World, pki: Pki, signing_key: SigningKey) -> Iterator[World]:
    """The shared process under its first configuration; figures and lines count from here on."""
    one, upstream = shared.one, shared.upstream
    yield World(one, upstream)
    before = World(one, upstream)
    one.process.signal(signal.SIGSTOP)  # it sees all of this as one change, however long it takes
    for file in (one.folder / "policies").iterdir():
        file.unlink()
    one.write_policy(policy())
    with (one.folder / "policies" / "policy.yaml").open("a") as appended:
        appended.write(f"# {os.urandom(8).hex()}\n")  # so that it is a change, whatever the test left
    one.write_keys(signing_key)
    pki.server.write(one.folder / "tls", "tls").private_key.chmod(0o600)
    one.write_service({**one.service_document(upstream.url), **fast(None)})
    one.process.signal(signal.SIGCONT)
    eventually(lambda: before.reloads("success") > 0 and figures(one)[("sidecar_configuration_stale",)] == 0)
    eventually(lambda: status(one) == 401)
    upstream.clear()


def opened(*more: Document) -> dict[str, object]:
    """A policy in which /open is public."""
    return policy(rules=[OPEN_RULE, *more])


def status(one: Sidecar, target: str = "/open/x") -> int:
    with one.connect() as wire:
        return wire.request("GET", target).status


def served_certificate(one: Sidecar) -> bytes:
    with one.connect() as wire:
        found = wire.secure.getpeercert(binary_form=True)
        assert found is not None
        return found


def rewrite(file: Path, text: str) -> None:
    file.write_text(text)


def rename_over(file: Path, text: str) -> None:
    temporary = file.with_suffix(".swp")
    temporary.touch(mode=0o600)
    temporary.write_text(text)
    temporary.chmod(file.stat().st_mode)
    temporary.rename(file)


def remove_and_create(file: Path, text: str) -> None:
    file.unlink()
    file.write_text(text)


@pytest.mark.parametrize("change", [rewrite, rename_over, remove_and_create])
def test_changed_policy_is_in_force_soon_and_its_generation_in_every_record(
    world: World, change: Callable[[Path, str], None]
) -> None:
    one = world.one
    assert status(one) == 401
    one.write_policy(opened(), "next.txt")
    change(one.folder / "policies" / "policy.yaml", (one.folder / "policies" / "next.txt").read_text())
    eventually(lambda: status(one) == 200)

    def generations() -> list[int]:
        return [line["generation"] for line in world.told("request")]

    eventually(lambda: generations()[0] < generations()[-1] <= generation(one))
    assert generations() == sorted(generations())
    assert world.told("configuration reloaded")[0]["trigger"] == "file change"


def test_policy_file_that_appears_counts(world: World) -> None:
    one = world.one
    one.write_policy({"rules": [OPEN_RULE]}, "added.yaml")
    eventually(lambda: status(one) == 200)


def test_swapped_data_link_brings_the_new_certificate_to_new_handshakes_only(
    tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> None:
    first, second = pki.server_authority.server(), pki.server_authority.server()
    volume = tmp_path / "secret"
    mount(volume, first, "..2026_01")
    service = {
        "listeners": [listener(0)],
        "health": {"address": "127.0.0.1:0"},
    }
    with Recorder() as upstream:
        one = Sidecar(tmp_path, pki, upstream.url, keys=[signing_key])
        service["listeners"] = [
            listener(
                one.port,
                certificate_file="secret/tls.crt",
                private_key_file="secret/tls.key",
            )
        ]
        del service["health"]
        one.write_service(
            {**one.service_document(upstream.url), **service, "process": {"watch_interval": "100ms"}}
        )
        with one, one.connect() as before:
            assert served_certificate(one) == certificate_der(first.certificate)
            mount(volume, second, "..2026_02")
            eventually(lambda: served_certificate(one) == certificate_der(second.certificate))
            assert before.request("GET", "/public/x").status == 200, "an open connection is not disturbed"
            expiry = ("sidecar_certificate_not_after_seconds", str(tmp_path / "secret" / "tls.crt"))
            assert figures(one)[expiry] == int(second.certificate.not_valid_after_utc.timestamp())
        assert events(one, "configuration refused") == []


def mount(volume: Path, identity: Identity, name: str) -> None:
    """What the kubelet does: a new folder, and the link `..data` swapped to it."""
    folder = volume / name
    folder.mkdir(parents=True)
    files = identity.write(folder, "tls")
    assert (files.certificate.name, files.private_key.name) == ("tls.crt", "tls.key")
    (volume / "..data_tmp").symlink_to(name)
    (volume / "..data_tmp").rename(volume / "..data")
    for file in ("tls.crt", "tls.key"):
        if not (volume / file).is_symlink():
            (volume / file).symlink_to(Path("..data") / file)


def test_sighup_reloads_where_files_are_not_watched(
    tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> None:
    with sidecar(tmp_path, pki, signing_key, {"process": {"watch_files": False}}) as (one, _):
        one.write_policy(opened())
        one.process.signal(signal.SIGHUP)
        eventually(lambda: status(one) == 200)
        eventually(lambda: bool(events(one, "configuration reloaded")))
        assert [line["trigger"] for line in events(one, "configuration reloaded")] == ["SIGHUP"]


def test_storm_of_sighup_is_a_few_reloads(world: World) -> None:
    one = world.one
    for _ in range(300):
        one.process.signal(signal.SIGHUP)
    one.write_policy(opened())
    one.process.signal(signal.SIGHUP)
    eventually(lambda: status(one) == 200)
    assert 1 <= world.reloads("success") < 20


BROKEN_YAML = "rules: [\n  - name: {"


@pytest.mark.parametrize("text", [BROKEN_YAML, ""])
def test_broken_policy_keeps_the_old_one_and_says_so_once(world: World, text: str) -> None:
    one = world.one
    file = one.folder / "policies" / "policy.yaml"
    good = file.read_text()
    rename_over(file, text)
    eventually(lambda: world.reloads("failure") == 1)
    assert world.generation == 1
    assert figures(one)[("sidecar_configuration_stale",)] == 1
    assert status(one, "/public/x") == 200
    (line,) = world.told("configuration refused")
    assert line["level"] == "error"
    assert line["generation_kept"] == generation(one)
    assert all("policy.yaml" in problem for problem in line["problems"])
    rename_over(file, good)
    eventually(lambda: world.generation == 2)
    assert figures(one)[("sidecar_configuration_stale",)] == 0


def test_policy_file_that_vanishes_keeps_the_old_policy(world: World) -> None:
    one = world.one
    file = one.folder / "policies" / "policy.yaml"
    good = file.read_text()
    file.unlink()
    eventually(lambda: world.reloads("failure") == 1)
    assert status(one, "/public/x") == 200
    file.write_text(good)
    eventually(lambda: world.generation == 2)


def test_truncated_certificate_keeps_the_old_one(world: World, pki: Pki) -> None:
    one = world.one
    file = one.folder / "tls" / "tls.crt"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    eventually(lambda: world.reloads("failure") == 1)
    assert served_certificate(one) == certificate_der(pki.server.certificate)
    assert checks(one)["serving"][0]


def test_expired_certificate_is_not_taken_for_a_valid_one(world: World, pki: Pki) -> None:
    one = world.one
    pki.server_authority.expired().write(one.folder / "tls", "tls")
    # Certificate and key are two files: if a reload falls between them, there are two refusals.
    assert all("has expired" in json.dumps(line["problems"]) for line in world.told("configuration refused"))
    assert served_certificate(one) == certificate_der(pki.server.certificate)
    assert checks(one)["serving"][0]


def test_key_without_its_certificate_is_waited_for(world: World, pki: Pki) -> None:
    one = world.one
    renewed = pki.server_authority.server()
    rename_over(one.folder / "tls" / "tls.key", renewed.key_pem.decode())
    eventually(lambda: world.reloads("waiting") == 1)
    assert served_certificate(one) == certificate_der(pki.server.certificate)
    rename_over(one.folder / "tls" / "tls.crt", renewed.pem.decode())
    eventually(lambda: served_certificate(one) == certificate_der(renewed.certificate))
    assert world.so_far("configuration refused") == []
    assert world.reloads("failure") == 0


def test_new_key_of_an_issuer_counts_at_once(
    world: World, pki: Pki, signing_key: SigningKey, signing_keys: Callable[[str], SigningKey]
) -> None:
    one = world.one
    other = signing_keys("PS256")
    with one.connect(pki.client) as wire:
        assert wire.request("GET", "/accounts/1", token=other.token(pki.client)).status == 401
        one.write_keys(signing_key, other)
        eventually(lambda: wire.request("GET", "/accounts/1", token=other.token(pki.client)).status == 200)


def test_key_that_left_the_set_takes_its_verified_tokens_with_it(
    world: World, pki: Pki, signing_key: SigningKey, signing_keys: Callable[[str], SigningKey]
) -> None:
    one = world.one
    token = signing_key.token(pki.client)
    with one.connect(pki.client) as wire:
        assert wire.request("GET", "/accounts/1", token=token).status == 200
        one.write_keys(signing_keys("PS256"))
        eventually(lambda: wire.request("GET", "/accounts/1", token=token).status == 401)


def test_changed_upstream_is_used_by_open_connections(world: World, pki: Pki) -> None:
    one = world.one
    with Recorder() as other, one.connect() as wire:
        assert wire.request("GET", "/public/before").status == 200
        document = one.service_document(other.url)
        one.write_service({**document, "process": {"watch_interval": "100ms"}})
        eventually(lambda: world.generation == 2)
        assert wire.request("GET", "/public/after").status == 200
        assert [request.target for request in other.seen] == ["/public/after"]


def test_what_needs_a_restart_says_so_and_the_rest_is_taken(world: World) -> None:
    one, upstream = world.one, world.upstream
    document = one.service_document(upstream.url)
    document["listeners"][0]["name"] = "renamed"
    document["workers"] = 2
    one.write_policy(opened())
    one.write_service({**document, "process": {"watch_interval": "100ms"}})
    eventually(lambda: status(one) == 200)
    notes = " / ".join(line["note"] for line in world.told("restart needed", 3))
    assert "listener renamed opens then" in notes
    assert f"listener 127.0.0.1:{one.port} stays open until then" in notes
    assert "`workers`" in notes


def test_client_authority_that_changed_decides_about_new_handshakes(
    tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> None:
    with Recorder() as upstream:
        one = Sidecar(tmp_path, pki, upstream.url, keys=[signing_key])
        document = one.service_document(upstream.url)
        document["listeners"] = [listener(one.port, trust="ca", at_handshake="required")]
        one.write_service({**document, "process": {"watch_interval": "100ms"}})
        with one:
            assert accepted(one, pki.client)
            assert not accepted(one, pki.stranger)
            with one.connect(pki.client) as before:
                (tmp_path / "tls" / "client-ca.crt").write_bytes(pki.server_authority.pem)
                eventually(lambda: not accepted(one, pki.client))
                assert before.request("GET", "/public/x").status == 200


def accepted(one: Sidecar, identity: Identity) -> bool:
    try:
        with one.connect(identity) as wire:
            return wire.request("GET", "/public/x").status == 200
    except (ssl.SSLError, OSError):
        return False


def test_readable_by_everyone_key_is_refused_in_a_reload_too(world: World, pki: Pki) -> None:
    one = world.one
    key = one.folder / "tls" / "tls.key"
    key.chmod(0o644)
    os.utime(key)
    eventually(lambda: world.reloads("failure") == 1)
    (line,) = world.told("configuration refused")
    assert "readable by everyone" in json.dumps(line["problems"])
    assert status(one, "/public/x") == 200


def test_thousand_rules_are_taken_while_requests_flow(world: World) -> None:
    one = world.one
    rules = [
        {
            "name": f"rule-{number}",
            "match": {"path": f"/r{number}/{{id}}/**"},
            "require": {"scopes": ["a:read"]},
        }
        for number in range(1000)
    ]
    with one.connect() as wire:
        one.write_policy(opened(*rules))
        answers: list[int] = []
        while not answers or world.generation == 1:
            answers.append(wire.request("GET", "/public/x").status)
        assert set(answers) <= {200, 403}
        assert wire.request("GET", "/open/x").status == 200
    lag = {
        key[1]: value
        for key, value in figures(one).items()
        if key[0] == "sidecar_event_loop_lag_seconds_bucket"
    }
    print("event loop lag while 1,000 rules were taken:", lag)
    assert get(f"{one.health_url}/readyz")[0] == 200


def test_certificate_files_are_read_once_per_change(world: World) -> None:
    """A reload that leaves TLS alone keeps the sessions that clients may resume."""
    one = world.one
    with one.connect() as first:
        assert first.request("GET", "/public/x").status == 200
        session, context = first.session, first.secure.context
    one.write_policy(opened())
    eventually(lambda: world.generation == 2)
    with one.connect(session=session, context=context) as again:
        assert again.secure.session_reused
        assert x509.load_der_x509_certificate(served_certificate(one)).serial_number
