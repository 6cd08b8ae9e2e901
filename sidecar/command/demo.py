"""`sidecar demo`: the main job, on loopback, to look at and to play with."""

import argparse
import asyncio
import signal
import sys
import tempfile
from pathlib import Path

from sidecar.demo.scenarios import Outcome, play, scenarios
from sidecar.demo.world import DemoFailed, World

_WIDTH = 50


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--check", action="store_true", help="exit after the scenarios: 0 only if all were kept"
    )
    parser.add_argument("--folder", type=Path, help="where keys and configuration go (default: a new one)")


def execute(arguments: argparse.Namespace) -> int:
    """Play the demo; returns the exit code."""
    if arguments.folder is not None:
        arguments.folder.mkdir(parents=True, exist_ok=True)
        return asyncio.run(_demo(arguments.folder.resolve(), stay=not arguments.check))
    if not arguments.check:
        return asyncio.run(_demo(Path(tempfile.mkdtemp(prefix="sidecar-demo-")), stay=True))
    with tempfile.TemporaryDirectory(prefix="sidecar-demo-") as folder:
        return asyncio.run(_demo(Path(folder), stay=False))


async def _demo(folder: Path, *, stay: bool) -> int:
    world = World(folder)
    print(f"A world on loopback, configured in {folder}: starting issuer, API and sidecar …", flush=True)
    try:
        await world.start()
        kept = await _play_all(world)
        if stay and kept:
            _print_invitation(world)
            await _interrupted()
    except DemoFailed as failure:
        print(failure, file=sys.stderr)
        return 1
    finally:
        await world.stop()
    return 0 if kept else 1


async def _play_all(world: World) -> bool:
    print(f"\n  {'what is tried':{_WIDTH}}{'promised':28}came")
    outcomes = []
    for scenario in scenarios(world):
        outcome = await play(world, scenario)
        _print_row(outcome)
        outcomes.append(outcome)
    count = sum(outcome.kept for outcome in outcomes)
    print(f"\n{count} of {len(outcomes)} promises kept.")
    return count == len(outcomes)


def _print_row(outcome: Outcome) -> None:
    mark, colour = ("✓", "32") if outcome.kept else ("✗", "31")
    if sys.stdout.isatty():
        mark = f"\x1b[{colour}m{mark}\x1b[0m"
    scenario = outcome.scenario
    print(f"{mark} {scenario.title:{_WIDTH}}{scenario.promised:28}{outcome.came}", flush=True)


def _print_invitation(world: World) -> None:
    token = world.folder / "token.txt"
    token.write_text(world.issuer.token(world.rightful) + "\n")
    token.chmod(0o600)
    url, folder = f"https://localhost:{world.port}/accounts/42", world.folder
    base = f'curl --cacert {folder}/tls/authority.crt -H "Authorization: Bearer $(cat {token})"'
    print(
        f"""
It stays up. Try it from another terminal; the token is in {token}

  # the rightful client
  {base} --cert {folder}/tls/client.crt --key {folder}/tls/client.key {url}
  # the thief
  {base} --cert {folder}/tls/thief.crt --key {folder}/tls/thief.key {url}
  # why?
  sidecar explain --config {folder}/sidecar.yaml --token @{token} --certificate {folder}/tls/thief.crt --url {url}

  audit records: {world.log}
  dashboard:     http://127.0.0.1:{world.admin_port}/#token={(folder / "admin-token").read_text().strip()}
  metrics:       http://127.0.0.1:{world.health_port}/metrics

Ctrl-C ends it.""",
        flush=True,
    )


async def _interrupted() -> None:
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, done.set)
    await done.wait()
