"""`sidecar test`: plays the cases of case files against a configuration."""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from sidecar.command.service_file import add_config
from sidecar.command.terminal import Progress, takes_colour
from sidecar.http import grpc
from sidecar.rehearsal.trial import junit
from sidecar.rehearsal.trial.certificate import authority
from sidecar.rehearsal.trial.played_issuers import PlayedIssuers
from sidecar.rehearsal.trial.result import CaseMistake, Result, table
from sidecar.rehearsal.trial.run import Stage, differences
from sidecar.settings import load
from sidecar.settings.cases import PolicyCase, load_cases
from sidecar.settings.problem import sanitize


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_config(parser)
    parser.add_argument("cases", type=Path, nargs="+", metavar="CASES", help="case files")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="also write a JUnit report")


def execute(arguments: argparse.Namespace) -> int:
    """Play all; 0 when every case came as expected."""
    # Keys and certificates of the configuration play no part: the cases bring their own.
    loaded = load(arguments.config, absent_files_pass=True)
    cases = load_cases(arguments.cases)
    world = Stage(loaded, PlayedIssuers(loaded.policy))
    results = asyncio.run(_play(world, cases, time.time()))
    in_colour = takes_colour(sys.stdout)
    print("\n".join(table(results, in_colour=in_colour)))
    if arguments.junit is not None:
        try:
            arguments.junit.write_bytes(junit.render(results))
        except OSError as error:
            print(f"{arguments.junit}: cannot be written: {error.strerror}", file=sys.stderr)
            return 1
    return 0 if all(result.is_good for result in results) else 1


async def _play(world: Stage, cases: Sequence[PolicyCase], now: float) -> list[Result]:
    progress = Progress(sys.stderr)
    try:
        results = []
        for number, case in enumerate(cases, 1):
            progress.tell(f"case {number} of {len(cases)} …")
            results.append(await _result(world, case, now))
        return results
    finally:
        progress.end()


async def _result(world: Stage, case: PolicyCase, now: float) -> Result:
    moment = now if case.at is None else case.at
    request = sanitize(world.line(case))
    started = time.perf_counter()
    try:
        came = await world.play(case, authority(case.certificates, moment), moment)
    except CaseMistake as mistake:
        return Result(
            case.case.name, case.place, request, "", [("case", "one that can be played", str(mistake))]
        )
    verdict = f"{came.status} {came.reason or ''}".rstrip()
    if came.grpc_status:
        verdict += f" (grpc-status {came.grpc_status} {grpc.NAMES[came.grpc_status]})"
    if came.would_deny is not None:
        verdict += f" (would deny: {came.would_deny})"
    return Result(
        name=case.case.name,
        place=case.place,
        request=request,
        verdict=verdict,
        differences=differences(case.case.expect.given(), came),
        failures=came.failures,
        seconds=time.perf_counter() - started,
    )
