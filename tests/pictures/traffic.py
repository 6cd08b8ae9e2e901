"""What the pictures show: the demo's world with a policy that reports a rule, and clients that pass and fail."""

import asyncio
import math
import random
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from sidecar.demo.client import ask, context
from sidecar.demo.issuer import AUDIENCE
from sidecar.demo.world import World
from sidecar.trust.certification import Identity

POLICY = """\
issuers:
  - issuer: {issuer}
    audience: {audience}
    keys: {{discovery: true}}
    http: {{ca_file: tls/authority.crt}}
    algorithms: [ES256]
    binding: required
rules:
  - {{name: catalogue, match: {{methods: [GET], path: /catalogue/**}}, public: true}}
  - name: payments
    match: {{path: /payments/**}}
    require: {{scopes: [payments:write]}}
    report_only: {{until: 2999-01-31}}
  - {{name: read-accounts, match: {{path: /accounts/**}}, require: {{scopes: [accounts:read]}}}}
"""

STOLEN = "/accounts/42/statement"
"""Asked for by nobody else."""


@dataclass(frozen=True, slots=True)
class Caller:
    """One kind of request, and how often it comes."""

    weight: int
    path: str
    certificate: Identity | None
    token: str | None
    method: str = "GET"


def callers(world: World) -> list[Caller]:
    """Clients as an API has them while a policy is introduced: most are right, some would break."""
    token: Callable[..., str] = world.issuer.token
    me, thief, own = world.rightful, world.thief, world.self_signed
    past = int(time.time()) - 600
    return [
        Caller(40, "/accounts/{}", me, token(me)),
        Caller(14, "/accounts/{}", own, token(own, client_id="web-portal", sub="bob")),
        Caller(12, "/catalogue/{}", None, None),
        Caller(8, "/payments/{}", me, token(me, client_id="shop-7", scope="payments:write"), "POST"),
        Caller(6, "/payments/{}", me, token(None, client_id="legacy-batch", scope="payments:write"), "POST"),
        Caller(4, "/payments/{}", me, token(me), "POST"),
        Caller(6, "/accounts/{}", thief, token(me, client_id="mobile-app")),
        Caller(3, "/accounts/{}", me, token(me, iat=past, exp=past + 300)),
        Caller(2, "/accounts/{}", me, None),
        Caller(2, "/internal/{}", me, token(me)),
    ]


async def send(world: World, seconds: float) -> None:
    """Requests in the same order at each run, in waves, each on a connection of its own."""
    chosen = random.Random(1)  # the same pictures each time
    all_callers = callers(world)
    weights = [caller.weight for caller in all_callers]
    settings: dict[str, ssl.SSLContext] = {}
    trust = partial(context, world.authority)
    started = asyncio.get_running_loop().time()
    async with asyncio.TaskGroup() as group:
        while (passed := asyncio.get_running_loop().time() - started) < seconds:
            (caller,) = chosen.choices(all_callers, weights)
            name = caller.certificate.certificate_file.stem if caller.certificate else ""
            if name not in settings:
                settings[name] = trust(caller.certificate)
            group.create_task(_ask(world.port, settings[name], caller, chosen.randint(1, 999)))
            await asyncio.sleep(1 / (14 + 9 * math.sin(passed / 7)))


async def refused(world: World) -> None:
    """The refusal that the pictures open: a stolen token."""
    stolen = Caller(1, STOLEN, world.thief, world.issuer.token(world.rightful))
    await _ask(world.port, context(world.authority, world.thief), stolen, 42)


async def _ask(port: int, settings: ssl.SSLContext, caller: Caller, number: int) -> None:
    lines = [
        f"{caller.method} {caller.path.format(number)} HTTP/1.1",
        "Host: api.example.com",
        "Connection: close",
    ]
    if caller.method == "POST":
        lines.append("Content-Length: 2")
    if caller.token is not None:
        lines.append(f"Authorization: Bearer {caller.token}")
    await ask(port, settings, "\r\n".join([*lines, "", ""]), 2 if caller.method == "POST" else 0)


def policy(world: World) -> str:
    """The policy that is in force in the pictures."""
    return POLICY.format(issuer=world.issuer.url, audience=AUDIENCE)
