"""A stream ends when the authority under which it began does: its token's or its certificate's."""

import asyncio
import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError

from tests.real.upstreams import Upstream
from tests.support.mint import SigningKey, claims_set
from tests.support.pki import Identity, Pki, Profile, utc_now
from tests.support.processes import eventually
from tests.support.sidecar import Sidecar, issuer, policy
from tests.support.tls_client import Truncated, client_context

pytestmark = pytest.mark.real

SOON = dt.timedelta(seconds=5)
"""Time enough to begin the stream, also on a busy machine: a token's last second may be cut short by rounding."""


@dataclass(frozen=True, slots=True)
class Presenter:
    """A client whose authority ends soon, and what the record then says."""

    identity: Identity
    token: str
    cause: str


@pytest.fixture(params=["token_expired", "certificate_expired"])
def presenter(request: pytest.FixtureRequest, pki: Pki, signing_key: SigningKey) -> Presenter:
    end = utc_now() + SOON
    if request.param == "token_expired":
        token = signing_key.sign(claims_set(pki.client, exp=int(end.timestamp())))
        return Presenter(pki.client, token, request.param)
    identity = pki.client_authority.issue(Profile("short", not_after=end))
    return Presenter(identity, signing_key.token(identity), request.param)


@pytest.fixture(scope="module")
def sidecars(
    tmp_path_factory: pytest.TempPathFactory,
    pki: Pki,
    signing_key: SigningKey,
    node_upstream: Upstream,
    websocket_upstream: Upstream,
) -> Iterator[dict[str, Sidecar]]:
    """One in front of Node, one in front of the WebSocket server; no clock skew is allowed for."""
    document = policy(issuers=[issuer(clock_skew="0s")])
    made = {
        upstream.name: Sidecar(
            tmp_path_factory.mktemp(upstream.name),
            pki,
            upstream.url,
            policy_document=document,
            keys=[signing_key],
        )
        for upstream in (node_upstream, websocket_upstream)
    }
    with made["node"], made["websockets"]:
        yield made


def ended_by(sidecar: Sidecar) -> set[str]:
    return {str(record.get("ended_by")) for record in sidecar.access_log()}


def test_websocket_gets_a_close_frame_with_the_reason(
    sidecars: dict[str, Sidecar], pki: Pki, presenter: Presenter
) -> None:
    sidecar = sidecars["websockets"]
    context = client_context(presenter.identity, pki.server_authority.certificate)
    headers = {"Authorization": f"Bearer {presenter.token}"}
    address = f"wss://localhost:{sidecar.port}/echo"

    async def converse() -> ConnectionClosedError:
        async with connect(address, ssl=context, additional_headers=headers, proxy=None) as connection:
            await connection.send("hello")
            assert await connection.recv() == "hello"
            with pytest.raises(ConnectionClosedError) as closed:
                await connection.recv()
            return closed.value

    closed = asyncio.run(converse())
    assert closed.rcvd is not None
    assert closed.rcvd.code == 1008
    assert closed.rcvd.reason
    eventually(lambda: presenter.cause in ended_by(sidecar))


def test_event_stream_is_cut_so_that_the_client_sees_it(
    sidecars: dict[str, Sidecar], presenter: Presenter
) -> None:
    sidecar = sidecars["node"]
    with sidecar.connect(presenter.identity) as wire, pytest.raises((Truncated, ConnectionResetError)):
        wire.request(target="/accounts/1?gated", token=presenter.token)
    eventually(lambda: presenter.cause in ended_by(sidecar))
