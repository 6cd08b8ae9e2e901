"""An API that can be reached past the sidecar is noticed."""

import asyncio
import ipaddress
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sidecar.process.watches import bypass
from sidecar.process.watches.bypass import BypassWatch, Look, look, own_addresses
from sidecar.proxy.configuration import ListenerSettings, UpstreamSettings
from sidecar.settings import BypassSettings, Loaded, load
from sidecar.telemetry.configuration import Format, Level
from sidecar.telemetry.journal import Journal
from tests.support.pki import Pki
from tests.support.processes import free_port
from tests.support.sidecar import Sidecar, policy

ROOT = Path(__file__).parents[3]
OTHERS = ["127.0.0.2", "127.0.0.3"]
"""Stand-ins for a Pod's own addresses: all of 127.0.0.0/8 is on this machine."""


class Lines:
    """A journal's sink that keeps what it is given."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.dropped = 0

    def write(self, line: bytes) -> None:
        self.records.append(json.loads(line))


@asynccontextmanager
async def listening(host: str, port: int = 0) -> AsyncIterator[int]:
    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, host, port)
    async with server:
        yield int(server.sockets[0].getsockname()[1])


def upstream(port: int, host: str = "127.0.0.1", scheme: str = "http") -> UpstreamSettings:
    return UpstreamSettings(scheme=scheme, host=host, port=port)


def looked(at: UpstreamSettings, addresses: Sequence[str] = OTHERS, ours: Sequence[Any] = ()) -> Look:
    return asyncio.run(look(at, ours, addresses))


def test_an_api_on_loopback_only_is_not_bypassable() -> None:
    async def scene() -> Look:
        async with listening("127.0.0.1") as port:
            return await look(upstream(port), (), OTHERS)

    found = asyncio.run(scene())
    assert (found.tried, found.answered, found.is_bypassable) == (tuple(OTHERS), (), False)
    assert str(found) == ""


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "localhost", "LocalHost.", "::1", "[::1]"])
def test_an_api_on_another_address_is_bypassable_and_the_address_is_named(host: str) -> None:
    async def scene() -> Look:
        async with listening("127.0.0.3") as port:
            return await look(upstream(port, host), (), OTHERS)

    found = asyncio.run(scene())
    assert found.answered == ("127.0.0.3",)
    assert str(found) == (
        f"the API answers on 127.0.0.3 port {found.port}, past the sidecar: let it listen on 127.0.0.1 only"
    )


@pytest.mark.parametrize(("host", "scheme"), [("192.0.2.7", "http"), ("api.example", "http"), ("", "unix")])
def test_an_upstream_elsewhere_or_on_a_unix_socket_is_not_tried(host: str, scheme: str) -> None:
    assert looked(upstream(free_port(), host, scheme)).tried == ()


@pytest.mark.parametrize(("host", "tried"), [("127.0.0.2", ("127.0.0.3",)), ("0.0.0.0", ()), ("::", ())])
def test_the_sidecars_own_listener_is_not_mistaken_for_the_api(
    host: str, tried: tuple[str, ...], tmp_path: Path, pki: Pki
) -> None:
    (ours,) = loaded(tmp_path, pki).proxy.listeners
    own: ListenerSettings = replace(ours, host=host, port=upstream(free_port()).port)
    assert looked(upstream(own.port), ours=[own]).tried == tried
    assert looked(upstream(own.port + 1), ours=[own]).tried == tuple(OTHERS)


def loaded(folder: Path, pki: Pki, port: int = 9, **settings: Any) -> Loaded:
    rules = [{"name": "all", "match": {"path": "/**"}, "public": True}]
    document = policy(rules=rules, issuers=[])
    one = Sidecar(folder, pki, f"http://127.0.0.1:{port}", policy_document=document)
    found = load(one.config)
    return replace(found, service=replace(found.service, bypass=BypassSettings(**settings)))


def watch(configuration: Loaded, lines: Lines) -> BypassWatch:
    journal = Journal(lines, Format.JSON, Level.INFO)  # type: ignore[arg-type]  # the sink's writing half
    return BypassWatch(lambda: configuration, journal, lambda: OTHERS)


def test_a_warning_by_default_and_a_reason_not_to_be_ready_when_asked(tmp_path: Path, pki: Pki) -> None:
    async def scene(*, refuse: bool) -> list[tuple[bool, str]]:
        lines = Lines()
        async with listening("127.0.0.2") as port:
            seen = watch(loaded(tmp_path, pki, port, refuse_when_bypassable=refuse), lines)
            before = [(one.ok, one.detail) for one in seen.checks()]
            await seen.look_now()
            return [*before, *((one.ok, one.detail[:27]) for one in seen.checks())]

    assert asyncio.run(scene(refuse=False)) == [(True, ""), (True, "the API answers on 127.0.0.2"[:27])]
    assert asyncio.run(scene(refuse=True)) == [
        (False, "not looked yet"),
        (False, "the API answers on 127.0.0.2"[:27]),
    ]


def test_what_changes_is_logged_once_and_counted(tmp_path: Path, pki: Pki) -> None:
    async def scene() -> tuple[list[str], list[float]]:
        lines, values = Lines(), []
        async with listening("127.0.0.2") as port:
            seen = watch(loaded(tmp_path, pki, port), lines)
            assert list(seen.samples()) == []
            for _ in range(3):
                await seen.look_now()
                values += [sample.value for sample in seen.samples()]
        await seen.look_now()
        values += [sample.value for sample in seen.samples()]
        return [record["event"] for record in lines.records], values

    events, values = asyncio.run(scene())
    assert events == ["upstream is bypassable", "upstream is no longer bypassable"]
    assert values == [1.0, 1.0, 1.0, 0.0]


def test_it_looks_again_by_itself_and_stops_when_switched_off(tmp_path: Path, pki: Pki) -> None:
    async def scene() -> tuple[bool, bool]:
        async with listening("127.0.0.1") as port:
            configuration = loaded(tmp_path, pki, port, interval=0.02)
            current = [configuration]
            journal = Journal(Lines(), Format.JSON, Level.INFO)  # type: ignore[arg-type]  # as above
            seen = BypassWatch(lambda: current[0], journal, lambda: OTHERS)
            running = asyncio.create_task(seen.run())
            async with listening("127.0.0.2", port):
                await until(lambda: seen.last is not None and seen.last.is_bypassable)
            await until(lambda: seen.last is not None and not seen.last.is_bypassable)
            off = BypassSettings(enabled=False, interval=0.02)
            current[0] = replace(configuration, service=replace(configuration.service, bypass=off))
            await until(lambda: seen.last is None)
            running.cancel()
            return bool(list(seen.checks())), bool(list(seen.samples()))

    assert asyncio.run(scene()) == (False, False)


async def until(holds: Any) -> None:
    async with asyncio.timeout(120):
        while not holds():
            await asyncio.sleep(0.01)


def test_own_addresses_are_addresses_that_a_stranger_could_use() -> None:
    for one in own_addresses():
        parsed = ipaddress.ip_address(one)
        assert not parsed.is_loopback
        assert not parsed.is_link_local


FIB_TRIE = """Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 10.1.2.3
        /32 host LOCAL
     |-- 10.1.2.255
        /32 link BROADCAST
     |-- 127.0.0.1
        /32 host LOCAL
Local:
     |-- 10.1.2.3
        /32 host LOCAL
     |-- 169.254.7.7
        /32 host LOCAL
"""
IF_INET6 = """fd000000000000000000000000000002 04 40 00 82     eth0
fe8000000000000000fc00fffe000001 04 40 20 80     eth0
00000000000000000000000000000001 01 80 10 80       lo
"""


def test_own_addresses_come_from_the_kernels_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fib_trie").write_text(FIB_TRIE)
    (tmp_path / "if_inet6").write_text(IF_INET6)
    monkeypatch.setattr(bypass, "_FIB_TRIE", tmp_path / "fib_trie")
    monkeypatch.setattr(bypass, "_IF_INET6", tmp_path / "if_inet6")
    assert own_addresses() == ["10.1.2.3", "fd00::2"]


def test_where_the_kernel_shows_no_tables_the_hosts_own_name_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bypass, "_FIB_TRIE", tmp_path / "none")
    monkeypatch.setattr(bypass, "_IF_INET6", tmp_path / "none")
    monkeypatch.setattr(socket, "gethostname", lambda: "192.0.2.9")
    assert own_addresses() == ["192.0.2.9"]
    monkeypatch.setattr(socket, "gethostname", lambda: "no such host \x00")
    assert own_addresses() == []


@pytest.mark.parametrize(
    ("host", "refuse", "status", "bypassable"),
    [
        ("127.0.0.1", "warn", 200, False),
        ("127.0.0.1", "refuse", 200, False),
        ("0.0.0.0", "warn", 200, True),
        ("0.0.0.0", "refuse", 503, True),
    ],
)
def test_in_a_pods_network_readyz_says_whether_the_api_is_bypassable(
    host: str, refuse: str, status: int, bypassable: bool, tmp_path: Path
) -> None:
    scene = [sys.executable, "-m", "tests.process.watches.bypass_scene", str(tmp_path), host, refuse]
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--net", *scene],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    said = f"the API answers on 10.77.0.1 port {told['port']}, past the sidecar" if bypassable else ""
    assert told["status"] == status
    assert told["check"][0] is (status == 200)
    assert said in told["check"][1]
    assert said in told["body"]
    assert told["metric"] == float(bypassable)
    assert bool(told["events"]) is bypassable
    assert all(addresses == ["10.77.0.1"] for addresses in told["events"])
