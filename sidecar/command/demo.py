"""`sidecar demo`: the main job, on loopback, to look at and to play with; also in front of an API of one's own."""

import argparse
import asyncio
import shlex
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidecar.command.terminal import GREEN, RED, invocation, painted
from sidecar.demo.grpc_api import METHOD, SERVICE
from sidecar.demo.scenarios import Outcome, Scenario, play, scenarios, scenarios_of_any_api
from sidecar.demo.upstream import DemoFailed, reach
from sidecar.demo.world import World

_WIDTH = 50


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--check",
        action="store_true",
        help="exit after the scenarios, with 0 only if every answer was as promised",
    )
    parser.add_argument(
        "--upstream",
        metavar="URL",
        help="a running API: http://127.0.0.1:8080 (default: the demo starts one)",
    )
    parser.add_argument(
        "--path",
        type=_path,
        help="the path to request from that API (default: /), or from the demo's (/accounts/42)",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        help="the folder for keys, certificates and configuration, which is kept (default: a new temporary one)",
    )
    parser.add_argument("--port", type=_port, metavar="N", help="port of the sidecar (default: a free one)")
    parser.add_argument(
        "--issuer-port", type=_port, default=0, metavar="N", help="port of the issuer (default: a free one)"
    )


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: give a number from 1 to 65535")
    return int(text)


def _path(text: str) -> str:
    if not text.startswith("/") or not text.isascii() or not text.isprintable() or " " in text:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not the path of a URL: it starts with / and has no spaces"
        )
    return text


def execute(arguments: argparse.Namespace) -> int:
    """Play the demo; returns the exit code."""
    if arguments.folder is not None:
        arguments.folder.mkdir(parents=True, exist_ok=True)
        return _demo(arguments.folder.resolve(), arguments)
    if not arguments.check:
        return _demo(Path(tempfile.mkdtemp(prefix="sidecar-demo-")), arguments)
    with tempfile.TemporaryDirectory(prefix="sidecar-demo-") as folder:
        return _demo(Path(folder), arguments)


def _demo(folder: Path, arguments: argparse.Namespace) -> int:
    given: dict[str, Any] = {} if arguments.port is None else {"port": arguments.port}
    world = World(folder, arguments.upstream, issuer_port=arguments.issuer_port, **given)
    path = arguments.path or ("/accounts/42" if world.upstream is None else "/")
    return asyncio.run(_shown(world, path, stay=not arguments.check))


async def _shown(world: World, path: str, *, stay: bool) -> int:
    parts = (
        "issuer, API and sidecar" if world.upstream is None else f"issuer and sidecar for {world.upstream}"
    )
    try:
        if world.upstream is not None:
            await reach(world.upstream, path)
        print(f"Starting {parts} on loopback; the configuration is in {world.folder} …", flush=True)
        await world.start()
        if world.upstream is None:
            kept = await _play_all(world, scenarios(world))
        else:
            kept = await _play_all(world, scenarios_of_any_api(world, path))
        if stay and kept:
            _print_invitation(world, path)
            await _interrupted()
    except DemoFailed as failure:
        print(f"sidecar demo: {failure}", file=sys.stderr)
        return 1
    finally:
        await world.stop()
    return 0 if kept else 1


async def _play_all(world: World, played: list[Scenario]) -> bool:
    print(f"\n  {'attempt':{_WIDTH}}{'expected':28}received")
    outcomes = []
    for scenario in played:
        outcome = await play(world, scenario)
        _print_row(outcome)
        outcomes.append(outcome)
    count = sum(outcome.kept for outcome in outcomes)
    print(f"\n{count} of {len(outcomes)} as expected.")
    return count == len(outcomes)


def _print_row(outcome: Outcome) -> None:
    mark = painted("✓", GREEN, sys.stdout) if outcome.kept else painted("✗", RED, sys.stdout)
    scenario = outcome.scenario
    print(f"{mark} {scenario.title:{_WIDTH}}{scenario.promised:28}{outcome.came}", flush=True)


# --- what can be tried from another terminal


@dataclass(frozen=True, slots=True)
class _Files:
    """The demo's files, as a shell in any folder names them."""

    folder: Path

    def __getitem__(self, name: str) -> str:
        return shlex.quote(str(self.folder / name))


def _print_invitation(world: World, path: str) -> None:
    (world.folder / "token.txt").touch(mode=0o600)
    (world.folder / "token.txt").write_text(world.issuer.token(world.rightful) + "\n")
    file, url = _Files(world.folder), shlex.quote(f"https://localhost:{world.port}{path}")
    curl = f"curl --cacert {file['tls/authority.crt']}"
    ask = f'{curl} -H "Authorization: Bearer $(cat {file["token.txt"]})"'
    rightful = f"--cert {file['tls/client.crt']} --key {file['tls/client.key']}"
    thief = f"--cert {file['tls/thief.crt']} --key {file['tls/thief.key']}"
    explain = f"{invocation()} explain --token @{file['token.txt']} --certificate {file['tls/thief.crt']}"
    grpc = f"\n  # and why in gRPC?\n  {explain} --config {file['grpc.yaml']} --grpc {SERVICE}/{METHOD}"
    grpc = grpc if world.grpc_port else ""
    print(
        f"""
Everything keeps running. Try it from another terminal, in any folder; the token is in {world.folder / "token.txt"}

  # the rightful client
  {ask} {rightful} {url}
  # the thief
  {ask} {thief} {url}
  # why?
  {explain} --config {file["sidecar.yaml"]} --url {url}
  # another token from the issuer: bound to the certificate that you use here, valid for an hour
  {curl} {rightful} -d grant_type=client_credentials -d scope=accounts:read {world.issuer.url}/token{grpc}

  configuration: {world.folder / "sidecar.yaml"}, {world.folder / "policy.yaml"}; change them as you like
  audit records: {world.log}
  dashboard:     http://127.0.0.1:{world.admin_port}/#token={(world.folder / "admin-token").read_text().strip()}
  metrics:       http://127.0.0.1:{world.health_port}/metrics

Ctrl-C ends it.""",
        flush=True,
    )


async def _interrupted() -> None:
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, done.set)
    await done.wait()
