"""What a token request costs the sidecar in front of an authorization server, beside an ordinary POST of its size.

`python -m bench.token_requests [seconds] [rounds]`, by default 3 and 5. One process serves them, and they take turns.
All have the same form, and get the same answer: a token response with a JWT that is bound to the client. The ordinary
request has an access token besides, which the sidecar knows. Of a token request the form is read, the client is
authenticated by its certificate (RFC 8705 §2.1), the certificate is handed over in a header field, and the issued token
is audited; of a revocation all of it but the audit.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import yaml

from bench.loads import es256_token
from bench.material import ISSUER
from bench.peers import PEERS, Peer, sidecar
from bench.peers.site import Site
from bench.process import BenchFailed
from bench.statistic import spread
from bench.world import Drive, World

ORDINARY: Final = "an ordinary POST with a token"
TOKEN: Final = "a token request"
REVOCATION: Final = "a revocation request"
_CLIENT: Final = "client.example.com"
_FORM: Final = {
    "grant_type": "client_credentials",
    "client_id": "client",
    "scope": "accounts:read",
    "resource": "https://api.example.com/accounts",
}


def measured(world: World, seconds: float, warmup: float, rounds: int) -> dict[str, list[float]]:
    """Microseconds of processor time a request, of each round, by kind."""
    material = world.material
    form = material.directory / "token-request.form"
    form.write_text(urlencode(_FORM))
    none = material.tokens("none", 1, lambda _: "-")
    timing: dict[str, str | int | float] = {
        "seconds": seconds,
        "warmup": warmup,
        "connections": 32,
        "form": str(form),
    }
    drives = {
        ORDINARY: Drive(es256_token(material), {**timing, "path": "/forms/1"}),
        TOKEN: Drive(none, {**timing, "path": "/token"}),
        REVOCATION: Drive(none, {**timing, "path": "/revoke"}),
    }
    seen: dict[str, list[float]] = {kind: [] for kind in drives}
    running = world.start(_peer())
    try:
        for kind, drive in drives.items():  # the right client, and one that has another certificate
            once = Drive(
                drive.tokens,
                {"connections": 1, "requests": 1, "form": str(form), "path": drive.options["path"]},
            )
            world.drive(running, once)
            expect = 401 if kind == ORDINARY else 400
            world.drive(
                running, Drive(once.tokens, {**once.options, "expect": expect}, other_certificate=True)
            )
        for _ in range(rounds):
            for kind, drive in drives.items():
                seen[kind].append(world.drive(running, drive).cpu_us_per_request)
    finally:
        world.stop(running)
    return seen


def _peer() -> Peer:
    shipped = PEERS["sidecar"]
    return Peer("sidecar-at-tokens", (), shipped.needs, lambda site: sidecar(site, _added(site)))


def _added(site: Site) -> dict[str, Any]:
    client = {"client_id": "client", "method": "tls_client_auth", "san_dns": _CLIENT}
    client["ca_file"] = str(site.material.directory / "ca.pem")
    (site.run / "clients.yaml").write_text(yaml.safe_dump({"clients": [client]}))
    section = {
        "issuer": ISSUER,
        "endpoints": {"token": "/token", "revocation": "/revoke"},
        "client_files": ["clients.yaml"],
        "hand_over": {"header": {"format": "rfc9440"}},
    }
    return {"authorization_server": section}


def main(arguments: Sequence[str]) -> int:
    """Prints a table; 1 when the sidecar did not do the job."""
    seconds = float(arguments[0]) if arguments else 3.0
    rounds = int(arguments[1]) if len(arguments) > 1 else 5
    try:
        with World(Path("build/bench").resolve()) as world:
            seen = measured(world, seconds, seconds * 0.2, rounds)
    except BenchFailed as failed:
        print(f"bench: {failed}", file=sys.stderr)
        return 1
    ordinary = spread(seen[ORDINARY]).middle
    for kind, values in seen.items():
        of = spread(values)
        print(f"{kind:32}{of.middle:7.1f} µs (± {of.percent:.0f} %), {of.middle / ordinary:.2f} ×")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
