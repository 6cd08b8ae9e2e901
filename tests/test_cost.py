"""What a request costs, without a clock: the calls that the sidecar's own code makes for one request.

The same on every machine, so it can gate a change where a time could not. A number here is lowered when a change brings
less, and raised only by a commit that says what the calls buy. `make bench` says what they take.
"""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from types import CodeType, FrameType

import pytest

import sidecar
from sidecar.decision.replay import ReplayMemory
from sidecar.http.certificate_field import CertificateFormat
from sidecar.proxy.configuration import ToldCertificateSettings, TrustedProxy
from tests.support.measured import REQUESTS, World
from tests.support.measured_http2 import GrpcWorld, Http2World
from tests.support.mint import SigningKey
from tests.support.pki import Pki
from tests.support.proofs import Prover

PACKAGE = str(Path(sidecar.__file__).parent)
MOST_CALLS = {"permitted": 216, "denied": 183}
"""Calls of Python functions and of C functions from the sidecar's code, for one request with a known token on a
connection that is kept alive, access log and metrics on, twenty rules."""

MOST_CALLS_OF_HTTP2 = {Http2World: 330, GrpcWorld: 606}
"""The same over HTTP/2, one request at a time: to an API that speaks HTTP/1.1, and a unary call of gRPC to one that
speaks HTTP/2. Of eight at once each takes fewer, because what is said goes out together."""
ROUNDS = 3
MOST_BY_PROOF = 305
"""The same with a DPoP proof, made for the request by a client whose header is known, and claimed in memory.
One of them, `str.strip`, spares two functions of Python in `json`, which are not counted here.
"""
MOST_BY_HEADER = 1.1
"""Calls for a request whose certificate comes in a field that is known already, to those where it came by TLS."""


def calls(of: Callable[[], None]) -> Counter[str]:
    """Calls made by code of the package while `of` runs, by the name of the function that makes them."""
    counted: Counter[str] = Counter()

    def profile(frame: FrameType, event: str, _argument: object) -> None:
        code: CodeType = frame.f_code
        if event in ("call", "c_call") and code.co_filename.startswith(PACKAGE):
            counted[f"{Path(code.co_filename).name}:{code.co_name}"] += 1

    sys.setprofile(profile)
    try:
        of()
    finally:
        sys.setprofile(None)
    return counted


async def _calls_of(world: World) -> Counter[str]:
    await world.begin()
    for _ in range(3):
        world.one()
    # What comes once a second (a moment is written out anew) falls into some rounds: the cheapest has none.
    rounds = [calls(world.many) for _ in range(ROUNDS)]
    world.server.close()
    return min(rounds, key=Counter.total)


@pytest.mark.parametrize("kind", MOST_CALLS)
def test_a_request_costs_no_more_calls_than_it_did(
    kind: str, pki: Pki, signing_key: SigningKey, tmp_path: Path
) -> None:
    bound_to = pki.client if kind == "permitted" else pki.other_client
    world = World(pki, signing_key, tmp_path, bound_to)

    counted = asyncio.run(_calls_of(world))
    assert bool(world.upstreams) is (kind == "permitted")
    each = sum(counted.values()) / REQUESTS
    dearest = ", ".join(f"{name} {count / REQUESTS:.1f}" for name, count in counted.most_common(12))
    print(f"{kind}: {each:.1f} calls a request; {dearest}")
    assert each <= MOST_CALLS[kind], dearest
    # A number far above what is needed guards nothing.
    assert each >= MOST_CALLS[kind] * 0.9, f"{each:.1f}: lower the number"


@pytest.mark.parametrize("world", MOST_CALLS_OF_HTTP2)
def test_a_request_over_http2_costs_no_more_calls_than_it_did(
    world: type[Http2World], pki: Pki, signing_key: SigningKey, tmp_path: Path
) -> None:
    most = MOST_CALLS_OF_HTTP2[world]
    counted = asyncio.run(_calls_of(world(pki, signing_key, tmp_path, pki.client)))
    each = sum(counted.values()) / REQUESTS
    dearest = ", ".join(f"{name} {count / REQUESTS:.1f}" for name, count in counted.most_common(12))
    print(f"{world.__name__}: {each:.1f} calls a request; {dearest}")
    assert each <= most, dearest
    assert each >= most * 0.9, f"{each:.1f}: lower the number"


def test_a_request_with_a_proof_costs_no_more_calls_than_it_did(
    pki: Pki, signing_key: SigningKey, tmp_path: Path
) -> None:
    """RFC 9449: beside the verification of the signature, which is C, a proof is to be read, held against the request
    and claimed. `make bench-instructions KIND=dpop` says what all of it takes."""
    world = World(
        pki,
        signing_key,
        tmp_path,
        pki.client,
        prover=Prover.create(),
        proofs=(ROUNDS + 1) * REQUESTS,
        replay=ReplayMemory(b"key", time.monotonic),
    )
    counted = asyncio.run(_calls_of(world))
    assert world.upstreams
    each = sum(counted.values()) / REQUESTS
    dearest = ", ".join(f"{name} {count / REQUESTS:.1f}" for name, count in counted.most_common(12))
    print(f"with a proof: {each:.1f} calls a request; {dearest}")
    assert each <= MOST_BY_PROOF, dearest
    assert each >= MOST_BY_PROOF * 0.9, f"{each:.1f}: lower the number"


def test_known_field_costs_little_more_than_a_certificate_by_tls(
    pki: Pki, signing_key: SigningKey, tmp_path: Path
) -> None:
    """RFC 9440: the parse is paid once per certificate, on the same kind of listener."""
    near = TrustedProxy(network=ip_network("127.0.0.0/8"))
    told = ToldCertificateSettings(CertificateFormat.RFC9440, "Client-Cert", "Client-Cert-Chain", (near,))
    by_tls, by_header = (
        asyncio.run(_calls_of(World(pki, signing_key, tmp_path, pki.client, told=one)))
        for one in (None, told)
    )
    ratio = by_header.total() / by_tls.total()
    print(
        f"{by_tls.total() / REQUESTS:.1f} calls by TLS, {by_header.total() / REQUESTS:.1f} by header: {ratio:.3f}"
    )
    assert ratio <= MOST_BY_HEADER
